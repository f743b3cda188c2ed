"""Where full-batch training of a quadratic stops being stable: momentum, Nesterov, Adam, and stale gradients.

Near a minimum the loss along an eigenvector of the Hessian with eigenvalue s is s x^2 / 2, and training is a
linear recursion in x. It is stable while the product (learning rate times s) stays below a number that the
algorithm alone fixes, its *critical product*: with learning rate lr, a minimum can only be kept if its
sharpness is at most ``critical product / lr``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import scipy

from algobias.errors import BadInput
from algobias.theory._given import fraction, positive, whole
from algobias.theory.random_delay import random_delay_product

_EXACT = 4 * 2.220446049250313e-16
"""Smallest relative tolerance of the root finder."""


@dataclass(frozen=True)
class Algorithm:
    """Gradient descent as far as stability is concerned; PyTorch's conventions.

    With gradient ``g(t) = s x(t - delay)`` (the gradient is ``delay`` updates old), momentum m, rate lr:

    - heavy ball: ``x(t+1) = x(t) + m (x(t) - x(t-1)) - lr g(t)``
    - shifted: ``x(t+1) = x(t) + m (x(t-delay) - x(t-delay-1)) - lr g(t)``, the momentum of the worker that
      computed the gradient, as old as the gradient itself
    - nesterov: ``v = m v + g; x -= lr (g + m v)``, with fresh gradients only.

    Attributes:
        momentum: m, from 0 to below 1.
        nesterov: Look-ahead momentum.
        delay: Age of the gradient in updates; 0 is none.
        shifted: Momentum as old as the gradient.
        random: The age of the gradient is drawn at every update, uniform from 0 to 2 delay; stable then
            means in mean square.

    Raises:
        BadInput: A number out of range; Nesterov momentum with a delay, for which there is no closed form
            here, or shifted and Nesterov at once.

    Example:
        >>> Algorithm(momentum=0.9).critical_product
        3.8
        >>> round(Algorithm(delay=1).critical_product, 12)
        1.0
    """

    momentum: float = 0.0
    nesterov: bool = False
    delay: int = 0
    shifted: bool = False
    random: bool = False

    def __post_init__(self) -> None:
        fraction("momentum", self.momentum)
        whole("delay", self.delay, 0)
        if self.nesterov and self.delay:
            raise BadInput(
                "delay", self.delay, "0 with nesterov momentum (heavy ball or shifted take a delay)"
            )
        if self.nesterov and self.shifted:
            raise BadInput("shifted", True, "false with nesterov momentum")

    @property
    def critical_product(self) -> float:
        """Learning rate times sharpness at which this algorithm stops being stable (no unit).

        - no delay: ``2``; heavy ball (and shifted) ``2 + 2m``; Nesterov ``(2 + 2m) / (1 + 2m)`` (Cohen et
          al., Gradient descent on neural networks typically occurs at the edge of stability, 2021)
        - delay: :func:`delayed_product`, :func:`delayed_heavy_ball_product`, :func:`delayed_shifted_product`
        - random delay: :func:`algobias.theory.random_delay.random_delay_product`.

        It is exact: for every product from above 0 to below it all roots of the characteristic polynomial lie
        inside the unit circle, and at it one lies on the circle (with random delays: the same of the second
        moment's recursion).
        """
        if self.nesterov:
            return (2 + 2 * self.momentum) / (1 + 2 * self.momentum)
        if self.delay == 0:
            return 2 + 2 * self.momentum
        if self.random:
            return random_delay_product(self.delay, self.momentum, self.shifted)
        if self.momentum == 0:
            return delayed_product(self.delay)
        if self.shifted:
            return delayed_shifted_product(self.delay, self.momentum)
        return delayed_heavy_ball_product(self.delay, self.momentum)


def delayed_product(delay: int) -> float:
    """Critical product of gradient descent with stale gradients, ``x(t+1) = x(t) - lr s x(t - delay)``.

    ``lr s = 2 sin(pi / (2 (2 delay + 1)))``, about ``pi / (2 delay + 1)`` for long delays. Source: Giladi,
    Nacson, Hoffer, Soudry, At stability's edge, 2020.

    Args:
        delay: Age of the gradient in updates, at least 0.

    Raises:
        BadInput: A delay that is not a whole number, or below 0.
    """
    return 2 * math.sin(math.pi / (2 * (2 * whole("delay", delay, 0) + 1)))


def delayed_heavy_ball_product(delay: int, momentum: float) -> float:
    """Critical product of heavy ball with stale gradients but fresh momentum.

    ``x(t+1) = x(t) + m (x(t) - x(t-1)) - lr s x(t - delay)``. With ``x(t) = exp(i theta t)`` the phase of the
    characteristic polynomial gives theta in (0, pi],
    ``(delay + 1/2) theta + atan2(m sin theta, 1 - m cos theta) = pi / 2``, and its modulus
    ``lr s = 2 sin(theta / 2) sqrt(1 + m^2 - 2 m cos theta)``. The left side of the phase grows with theta, so
    the root is the only one, and every crossing of the unit circle goes outwards. Source: Giladi et al.,
    2020.

    Args:
        delay: At least 0; at 0 the result is ``2 + 2m``.
        momentum: From 0 to below 1.

    Raises:
        BadInput: A number out of range.
    """
    tau, m = whole("delay", delay, 0), fraction("momentum", momentum)
    if tau == 0:
        return 2 + 2 * m

    def phase(theta: float) -> float:
        turned = math.atan2(m * math.sin(theta), 1 - m * math.cos(theta))
        return (tau + 0.5) * theta + turned - math.pi / 2

    theta = _root(phase, math.pi)
    # 1 + m^2 - 2m cos(theta) without the cancellation at momentum near 1 and small theta.
    modulus = math.hypot(1 - m, 2 * math.sqrt(m) * math.sin(theta / 2))
    return 2 * math.sin(theta / 2) * modulus


def delayed_shifted_product(delay: int, momentum: float) -> float:
    """Critical product of heavy ball whose momentum is as old as its gradient.

    ``x(t+1) = x(t) + m (x(t-delay) - x(t-delay-1)) - lr s x(t-delay)``. On the unit circle theta is the
    smallest root of ``cos((delay + 1/2) theta) = m cos(theta / 2)``, and
    ``lr s = 2 tan(theta / 2) sin((delay + 1) theta)``, about ``arccos(m) sqrt(1 - m^2) / (delay + 1/2)`` for
    long delays: at the same effective rate ``lr / (1 - m)`` more than heavy ball, and more than no momentum:
    ``1 + m`` times as much at a delay of 1, ``(2 / pi) arccos(m) sqrt((1 + m) / (1 - m))`` times at long ones
    (1.25 for m = .9). Source: Giladi et al., 2020.

    Args:
        delay: At least 0; at 0 the result is ``2 + 2m`` (shifted and heavy ball are then the same).
        momentum: From 0 to below 1.

    Raises:
        BadInput: A number out of range.
    """
    tau, m = whole("delay", delay, 0), fraction("momentum", momentum)
    if tau == 0:
        return 2 + 2 * m
    # The smallest root is at most the one without momentum, pi / (2 tau + 1); the ratio of the two cosines
    # falls up to there, so it is the only one.
    theta = _root(lambda t: m * math.cos(t / 2) - math.cos((tau + 0.5) * t), math.pi / (2 * tau + 1))
    return 2 * math.tan(theta / 2) * math.sin((tau + 1) * theta)


def _root(function: object, high: float) -> float:
    """The root in (0, high] of a function that is negative near 0 and not negative at ``high``."""
    # Rounding at the end of the bracket may leave the sign at its root open.
    return float(
        scipy.optimize.brentq(
            function, 0.0, math.nextafter(high, 4.0) * (1 + 1e-12), xtol=1e-300, rtol=_EXACT
        )
    )


def threshold_sharpness(
    lr: float,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    delay: int = 0,
    shifted: bool = False,
    random: bool = False,
) -> float:
    """Largest sharpness (top eigenvalue of the Hessian) at which full-batch training is stable.

    ``critical product / lr``, see :class:`Algorithm`. Unit: that of the Hessian, loss per squared parameter.
    Valid near a minimum, for a constant rate and batches large enough that gradient noise does not matter
    (for SGD see :mod:`algobias.theory.mean_square`).

    Args:
        lr: Learning rate, above 0.
        momentum: From 0 to below 1.
        nesterov: Look-ahead momentum.
        delay: Age of the gradients in updates.
        shifted: Momentum as old as the gradient.
        random: Ages uniform from 0 to 2 delay.

    Raises:
        BadInput: A number out of range, or an impossible combination.

    Example:
        >>> threshold_sharpness(0.1), round(threshold_sharpness(0.1, momentum=0.9), 9)
        (20.0, 38.0)
    """
    return Algorithm(momentum, nesterov, delay, shifted, random).critical_product / positive("lr", lr)


def largest_stable_rate(
    sharpness: float,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    delay: int = 0,
    shifted: bool = False,
    random: bool = False,
) -> float:
    """Largest learning rate at which a minimum of this sharpness is stable: ``critical product / sharpness``.

    The inverse of :func:`threshold_sharpness`, with its conditions.

    Args:
        sharpness: Largest eigenvalue of the Hessian, above 0.
        momentum: From 0 to below 1.
        nesterov: Look-ahead momentum.
        delay: Age of the gradients in updates.
        shifted: Momentum as old as the gradient.
        random: Ages uniform from 0 to 2 delay.

    Raises:
        BadInput: A number out of range, or an impossible combination.

    Example:
        >>> round(largest_stable_rate(4.0, delay=1), 12)
        0.25
    """
    return Algorithm(momentum, nesterov, delay, shifted, random).critical_product / positive(
        "sharpness", sharpness
    )


def matched_rate(lr: float, before: Algorithm, after: Algorithm) -> float:
    """The learning rate with which ``after`` keeps the same minima stable as ``before`` with ``lr``.

    ``lr * after.critical_product / before.critical_product``: the threshold of the sharpness stays where it
    is. For a delay alone this is the rule ``lr(delay) = lr(0) sin(pi / (4 delay + 2))`` of Giladi et al.,
    2020. It says nothing of the gradient noise.

    Args:
        lr: Learning rate of ``before``, above 0.
        before: The baseline's algorithm.
        after: The variant's algorithm.

    Raises:
        BadInput: A rate that is not above 0.

    Example:
        >>> round(matched_rate(0.1, Algorithm(), Algorithm(delay=1)), 12)
        0.05
    """
    return positive("lr", lr) * (after.critical_product / before.critical_product)
