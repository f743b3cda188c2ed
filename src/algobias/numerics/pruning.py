"""Stochastic pruning of tensors with many small entries, as gradients are: near-lognormal magnitudes."""

from __future__ import annotations

import torch
from torch import Tensor

from algobias.numerics.rules import Draws


def prune(x: Tensor, threshold: Tensor | float, draws: Draws) -> Tensor:
    """Make entries below a threshold zero or as large as it, by chance, so that the expectation is x.

    ``|x| < a`` becomes ``a sign(x)`` with probability ``|x| / a``, else 0; the variance is ``|x| (a - |x|)``.
    Source: Chmiel et al., Neural gradients are near-lognormal, 2021.

    Shapes: ``x`` any, ``threshold`` broadcast to it; ``draws`` is called once, with the shape of ``x``.
    """
    size = x.abs()
    up = (draws(x.shape).to(x.device, x.dtype) * threshold < size).to(x.dtype) * threshold
    return torch.where(size < threshold, torch.copysign(up, x), x)


def lognormal_fit(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of ln |x| over the nonzero entries of each matrix.

    Shapes: ``x`` [..., R, C], both results [..., 1, 1]; 0 and 0 where all entries are zero.
    """
    size = x.abs()
    there = (size > 0).to(x.dtype)
    logs = torch.log(torch.where(size > 0, size, torch.ones_like(size)))
    # Sums in double precision: their order is not always the same for a stack and for each of it.
    count = there.sum((-2, -1), keepdim=True, dtype=torch.float64).clamp(min=1)
    mean = (logs.sum((-2, -1), keepdim=True, dtype=torch.float64) / count).to(x.dtype)
    squares = ((logs - mean).square() * there).sum((-2, -1), keepdim=True, dtype=torch.float64)
    return mean, (squares / count).sqrt().to(x.dtype)


def lognormal_sparsity(threshold: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Share of entries that :func:`prune` makes zero where ln |x| is normal.

    ``S(a) = Phi(z) - (e^(m + s^2 / 2) / a) Phi(z - s)``, z = (ln a - m) / s.

    Shapes: broadcast. Source: as :func:`prune`.
    """
    return _zeroed((threshold.log() - mean) / std, std)


def _zeroed(z: Tensor, std: Tensor) -> Tensor:
    kept: Tensor = torch.exp(std.square() / 2 - z * std + torch.special.log_ndtr(z - std))
    share: Tensor = torch.special.ndtr(z)
    return share - kept


def lognormal_threshold(sparsity: float, mean: Tensor, std: Tensor) -> Tensor:
    """Threshold at which so large a share becomes zero: the root of :func:`lognormal_sparsity`, by bisection.

    Shapes: ``mean`` and ``std`` equal, the result too. Cost: 60 evaluations of the formula, no passes over x.
    """
    width = std.double().clamp(min=1e-6)
    low, high = torch.full_like(width, -40.0), width + 40.0
    for _ in range(60):
        middle = (low + high) / 2
        less = _zeroed(middle, width) < sparsity
        low, high = torch.where(less, middle, low), torch.where(less, high, middle)
    return torch.exp(mean.double() + (low + high) / 2 * width).to(mean.dtype)


def prune_to(x: Tensor, sparsity: float, draws: Draws) -> Tensor:
    """Prune each matrix to a share of zeros, by the lognormal law that fits it; zeros stay so.

    Shapes: ``x`` [..., R, C]. Cost: some ten passes.
    """
    return prune(x, lognormal_threshold(sparsity, *lognormal_fit(x)), draws)
