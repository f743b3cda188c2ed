"""Gradients whose age is drawn afresh at every update: where the second moment of the weights is stable.

With ages uniform from 0 to 2 tau, independent from update to update, training along an eigenvector of the
Hessian is ``x(t+1) = x(t) + m (x(t-l+1) - x(t-l)) - lr s x(t-d)``, l = 1 for heavy ball and tau + 1 for
shifted momentum. Its mean follows a recursion with gradient ``lr s mean(x(t), ..., x(t-2 tau))``; what the
drawn age adds is noise of variance ``(lr s)^2 (mean of squares - square of the mean)``, uncorrelated in time.
So the second moment is stable if and only if the mean is and the noise does not feed itself:

    (lr s)^2 1/(2 pi) integral |G|^2 (1 - |F|^2) dw < 1

with ``F = mean of z^-k over k = 0 ... 2 tau``, ``G = 1 / ((z - 1)(1 - m z^-l) + lr s F)``, z = exp(i w).
"""

from __future__ import annotations

import math

import numpy as np
import scipy

from algobias.theory._given import Array, fraction, whole

_NODES = 24
"""Gauss-Legendre nodes of a panel."""


def random_delay_product(delay: int, momentum: float = 0.0, shifted: bool = False) -> float:
    """Largest learning rate times sharpness that is stable in mean square with random delays.

    Formula: see the module. At ``delay=1`` without momentum it is .952 of the product of a fixed delay; from
    2 on it is larger than that, towards ``pi^2 / (4 delay)`` for long delays, where the ages average out.

    Args:
        delay: Mean age tau of the gradient, which is uniform from 0 to 2 tau.
        momentum: m, from 0 to below 1.
        shifted: Momentum that is as old as the mean gradient, tau updates.

    Raises:
        BadInput: A number out of range.

    Example:
        >>> round(random_delay_product(1), 4), random_delay_product(0, 0.5)
        (0.9524, 3.0)
    """
    tau, m = whole("delay", delay, 0), fraction("momentum", momentum)
    if tau == 0:
        return 2 + 2 * m
    lag = tau + 1 if shifted else 1
    theta, limit = _mean_limit(tau, m, lag)
    at, weights = _panels(theta)
    # The mean of z^-k is z^-tau times this, which is real.
    window = np.sin((2 * tau + 1) * at / 2) / ((2 * tau + 1) * np.sin(at / 2))
    ahead = 2j * np.sin(at / 2) * np.exp(0.5j * at) * (1 - m * np.exp(-1j * lag * at))
    past = window * np.exp(-1j * tau * at)
    noise = weights * (1 - window**2) / math.pi

    def fed(product: float) -> float:
        return math.log(float(product**2 * (noise / np.abs(ahead + product * past) ** 2).sum()))

    return float(scipy.optimize.brentq(fed, 1e-6 * limit, (1 - 1e-9) * limit, xtol=1e-14 * limit, rtol=1e-13))


def _mean_limit(tau: int, m: float, lag: int) -> tuple[float, float]:
    """The angle and the product at which the mean of the weights leaves the unit circle.

    There ``(tau + 1/2) w + arg(1 - m z^-lag) = pi / 2``, whose left side grows with w, and the product is
    ``2 sin(w / 2) |1 - m z^-lag|`` over the mean of the z^-k.
    """

    def phase(theta: float) -> float:
        turned = math.atan2(m * math.sin(lag * theta), 1 - m * math.cos(lag * theta))
        return (tau + 0.5) * theta + turned - math.pi / 2

    high = math.pi / (2 * tau + 1)
    theta = (
        float(scipy.optimize.brentq(phase, 0.0, high * (1 + 1e-12), xtol=1e-300, rtol=1e-15)) if m else high
    )
    window = math.sin((2 * tau + 1) * theta / 2) / ((2 * tau + 1) * math.sin(theta / 2))
    return theta, 2 * math.sin(theta / 2) * abs(1 - m * np.exp(-1j * lag * theta)) / window


def _panels(theta: float) -> tuple[Array, Array]:
    """Nodes and weights on [0, pi], ever finer towards ``theta``, where the integrand has its peak."""
    steps = 0.5 ** np.arange(1, 45)
    edges = np.concatenate(
        [[0.0], theta * steps[::-1], theta * (1 - steps), [theta], theta * (1 + steps[::-1])]
    )
    outside = np.arange(2, 42) * theta
    more = np.geomspace(41 * theta, math.pi, 40) if outside[-1] < math.pi else np.array([math.pi])
    edges = np.unique(np.concatenate([edges, outside[outside < math.pi], more]))
    points, weights = np.polynomial.legendre.leggauss(_NODES)
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    return (middle + half * points).ravel(), (half * weights).ravel()
