"""Gradient noise: where SGD settles, how large the noise is, and what label noise prefers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from algobias.errors import BadInput
from algobias.theory._given import array, fraction, number, positive, whole


def stationary_variance(
    lr: float, curvature: float, noise: float, *, momentum: float = 0.0, batch: int = 1
) -> float:
    """Variance of a parameter in which SGD with heavy-ball momentum settles on a quadratic.

    ``Var = lr (noise / B) (1 + m) / (curvature (1 - m) (2 (1 + m) - lr curvature))``; without momentum
    ``lr noise / (B curvature (2 - lr curvature))``. Exact for the recursion
    ``x(t+1) = x(t) + m (x(t) - x(t-1)) - lr (curvature x(t) + e(t))`` with independent e of mean 0 and
    variance noise / B; it exists below the threshold ``lr curvature < 2 + 2m``. Derived by equating second
    moments; the small-rate limit is in Mandt, Hoffman, Blei, Stochastic gradient descent as approximate
    Bayesian inference, 2017.

    Args:
        lr: Learning rate, above 0.
        curvature: Second derivative of the loss, above 0.
        noise: Variance of the gradient of one example.
        momentum: m, from 0 to below 1.
        batch: B, examples drawn independently.

    Raises:
        BadInput: A number out of range, or a learning rate at or above the threshold.

    Example:
        >>> stationary_variance(1.0, 1.0, 1.0)
        1.0
    """
    lr, curvature = positive("lr", lr), positive("curvature", curvature)
    m, sigma = fraction("momentum", momentum), number("noise", noise)
    if sigma < 0:
        raise BadInput("noise", noise, "a variance, at least 0")
    room = 2 * (1 + m) - lr * curvature
    if room <= 0:
        raise BadInput("lr", lr, f"below the threshold {(2 + 2 * m) / curvature:.6g}")
    return lr * sigma / whole("batch", batch, 1) * (1 + m) / (curvature * (1 - m) * room)


@dataclass(frozen=True)
class NoiseScale:
    """What two batch sizes say about the gradient noise.

    Attributes:
        gradient_squared: Unbiased estimate of the squared norm of the full gradient; may be below 0.
        noise_trace: Unbiased estimate of the trace of the covariance of one example's gradient.
    """

    gradient_squared: float
    noise_trace: float

    @property
    def scale(self) -> float | None:
        """Noise trace over squared gradient norm, in examples; None where the gradient is not resolved.

        A ratio of two unbiased estimates is not unbiased: average the two over many batches first.
        """
        return None if self.gradient_squared <= 0 else self.noise_trace / self.gradient_squared


def noise_scale(
    small_batch: int, large_batch: int, small_norm_squared: float, large_norm_squared: float
) -> NoiseScale:
    """Gradient noise from the squared gradient norms of two batch sizes b < B.

    ``E|G_B|^2 = |G|^2 + tr / B``, so ``|G|^2 = (B |G_B|^2 - b |G_b|^2) / (B - b)`` and
    ``tr = (|G_b|^2 - |G_B|^2) / (1/b - 1/B)``: both unbiased for independently drawn examples. Source:
    McCandlish, Kaplan, Amodei et al., An empirical model of large-batch training, 2018.

    Args:
        small_batch: b.
        large_batch: B, above b.
        small_norm_squared: Mean of ``|G_b|^2`` over batches of b.
        large_norm_squared: Mean of ``|G_B|^2`` over batches of B.

    Raises:
        BadInput: Batches that are not in order, a negative squared norm.

    Example:
        >>> noise_scale(1, 4, small_norm_squared=7.0, large_norm_squared=4.0).scale  # |G|^2 = 3, tr = 4
        1.3333333333333333
    """
    b = whole("small_batch", small_batch, 1)
    large = whole("large_batch", large_batch, 1)
    if large <= b:
        raise BadInput("large_batch", large_batch, f"above small_batch, {b}")
    squares = {"small_norm_squared": small_norm_squared, "large_norm_squared": large_norm_squared}
    for field, value in squares.items():
        if number(field, value) < 0:
            raise BadInput(field, value, "a squared norm, at least 0")
    squared = (large * large_norm_squared - b * small_norm_squared) / (large - b)
    trace = (small_norm_squared - large_norm_squared) / (1 / b - 1 / large)
    return NoiseScale(squared, trace)


def label_noise_penalty(eigenvalues: ArrayLike, lr: float) -> float:
    """The regulariser that training with fresh label noise adds to the loss, up to its strength.

    ``R = -1 / (2 lr) sum_i log(1 - lr h_i / 2)`` over the eigenvalues of the Hessian: a quarter of its trace
    for small rates, infinite at the stability threshold ``2 / lr``. SGD with label noise of variance s^2 and
    batch B moves along the minima as if it descended ``loss + (lr s^2 / B) R``. Source: Damian, Ma, Lee,
    Label noise SGD provably prefers flat global minimizers, 2021 (derived there for small rates and squared
    loss).

    Args:
        eigenvalues: h, [k], at least 0.
        lr: Learning rate, above 0.

    Raises:
        BadInput: A negative eigenvalue, one at or above ``2 / lr``, a rate that is not above 0.

    Example:
        >>> round(label_noise_penalty([1.0, 3.0], 1e-9), 6)
        1.0
    """
    h, lr = array("eigenvalues", eigenvalues, "k"), positive("lr", lr)
    if h.min() < 0 or h.max() >= 2 / lr:
        raise BadInput(
            "eigenvalues", float(h.max() if h.min() >= 0 else h.min()), f"from 0 to below {2 / lr:.6g}"
        )
    return float(-np.log1p(-lr * h / 2).sum() / (2 * lr))


def label_noise_variance(lr: float, curvature: float, std: float) -> float:
    """Variance in which a linear model with one parameter settles under fresh label noise.

    ``lr std^2 / (2 - lr curvature)``: exact for ``x <- x - lr a (a x - e)``, ``a^2 = curvature``, labels with
    independent noise e of standard deviation std. The expected training loss it causes, half of
    ``curvature`` times the variance, to first order in lr is lr std^2 times ``curvature / 4``: the penalty of
    :func:`label_noise_penalty`.

    Args:
        lr: Learning rate, above 0.
        curvature: h, above 0.
        std: Standard deviation of the label noise.

    Raises:
        BadInput: A number out of range, or a rate at or above ``2 / curvature``.

    Example:
        >>> label_noise_variance(1.0, 1.0, 0.5)
        0.25
    """
    return stationary_variance(lr, curvature, positive("curvature", curvature) * number("std", std) ** 2)
