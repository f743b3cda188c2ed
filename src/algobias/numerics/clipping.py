"""Where a tensor is clipped before it is rounded, and estimates of its largest magnitude.

A smaller range has finer steps; what lies beyond it saturates. All of it is for the mean squared error of
tensors of the forward pass: entries that saturate are biased, whatever the rounding.
"""

from __future__ import annotations

import math
from functools import cache

import scipy
import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.numerics.rules import SAWB, Clip


@cache
def aciq_laplace(bits: int) -> float:
    """Best range of a Laplace distribution, in units of its scale b = E |x|.

    The root ``a = W(3 4^bits)`` (Lambert) of the derivative of ``2 b^2 e^(-a/b) + a^2 / (3 4^bits)``, the
    mean squared error of clipping and of rounding to 2^bits levels. Source: Banner, Nahshan and Soudry, Post
    training 4-bit quantization of convolutional networks for rapid-deployment, 2019.
    """
    return float(scipy.special.lambertw(3 * 4.0**bits).real)


@cache
def aciq_normal(bits: int) -> float:
    """Best range of a normal distribution, in units of its standard deviation.

    The minimum over a of ``(1 + a^2) erfc(a / sqrt 2) - sqrt(2 / pi) a e^(-a^2 / 2) + a^2 / (3 4^bits)``.
    Source: as :func:`aciq_laplace`.
    """

    def slope(a: float) -> float:
        outside = a * math.erfc(a / math.sqrt(2)) - math.sqrt(2 / math.pi) * math.exp(-a * a / 2)
        return 2 * (outside + a / (3 * 4.0**bits))

    return float(scipy.optimize.brentq(slope, 0.1, 12.0, xtol=1e-13))


def clip_at(parts: Tensor, clip: Clip, bits: int, percentile: float = 100.0) -> Tensor:
    """Magnitude at which what shares a scale is clipped, along the last dimension, kept as 1.

    - ``aciq``: ``W(3 4^bits) E |x|`` (Laplace); ``aciq_normal``: ``a E |x| sqrt(pi / 2)``. Distances are from
      0, about which the levels are symmetric.
    - ``sawb``: ``c1 sqrt(E x^2) - c2 E |x|``, statistics-aware weight binning (Choi et al., Accurate and
      efficient 2-bit quantized neural networks, 2019), for 2, 3, 4, 5 or 8 bits.
    - ``percentile``: so many percent of the magnitudes are not larger.

    Cost: two to three passes; a percentile sorts.

    Args:
        parts: What shares a scale, along the last dimension.
        clip: Which rule (``max`` is no business of this function).
        bits: Bits of the format.
        percentile: Of ``percentile``.

    Raises:
        BadInput: ``sawb`` for other bits.
    """
    if clip == "percentile":
        size = parts.shape[-1]
        place = min(size - 1, max(0, math.ceil(percentile / 100 * size) - 1))
        return parts.abs().sort(-1).values[..., place : place + 1]
    mean = mean_of(parts.abs())
    if clip == "aciq":
        return aciq_laplace(bits) * mean
    if clip == "aciq_normal":
        return aciq_normal(bits) * math.sqrt(math.pi / 2) * mean
    if bits not in SAWB:
        raise BadInput("sawb", bits, "formats of 2, 3, 4, 5 or 8 bits")
    square, absolute = SAWB[bits]
    return square * mean_of(parts.square()).sqrt() - absolute * mean


def mean_of(values: Tensor) -> Tensor:
    """Mean of the last dimension, kept as 1, from sums of 1024 that are summed in double precision.

    The order of one long sum is not the same for a stack and for each of it, where threads share it.
    """
    size = values.shape[-1]
    even = size - size % 1024
    sums = values[..., :even].reshape(*values.shape[:-1], even // 1024, 1024).sum(-1)
    rest = values[..., even:].sum(-1, keepdim=True, dtype=torch.float64)
    return ((sums.sum(-1, keepdim=True, dtype=torch.float64) + rest) / size).to(values.dtype)


def hindsight(estimate: Tensor, largest: Tensor, keep: float = 0.1) -> Tensor:
    """Next estimate of a tensor's largest magnitude, from the last one and what was then found.

    ``(1 - keep) largest + keep estimate``: hindsight, because a step is scaled by the maxima of earlier ones,
    so that its own need not be known before it is rounded. Entries beyond it saturate. Source: Chmiel et al.,
    Accurate Neural Training with 4-bit Matrix Multiplications at Standard Formats, 2023.

    Shapes: equal. A first estimate is the first maximum.
    """
    return largest + keep * (estimate - largest)


def delayed(history: Tensor) -> Tensor:
    """Estimate a tensor's largest magnitude as the largest of its last maxima (delayed scaling).

    Source: Micikevicius et al., FP8 Formats for Deep Learning, 2022, as Transformer Engine carries it out.

    Shapes: ``history`` [..., H], the last H maxima; the result [...].
    """
    return history.amax(-1)
