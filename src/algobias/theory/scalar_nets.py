"""Scalar networks, ``loss = (w_1 w_2 ... w_D - 1)^2 / 2``: the smallest model with minima of every sharpness.

Gradient flow keeps every ``w_i^2 - w_j^2``, so the minimum it reaches, and its sharpness, follow from where
it starts. Gradient descent does not keep them: with two layers it shrinks the imbalance and so prefers
flatter minima. Source: Kreisler, Nacson, Soudry, Carmon, Gradient descent monotonically decreases the
sharpness of gradient flow solutions in scalar networks and beyond, 2023.
"""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import ArrayLike

from algobias.errors import BadInput
from algobias.theory._given import Array, array


def minimum_sharpness(weights: ArrayLike) -> float:
    """Sharpness at a minimum: ``sum_i 1 / w_i^2`` where the product of the weights is 1.

    The Hessian there is the outer product of the gradient of the product, whose entries are ``1 / w_i``. At
    least D; with two layers it is ``a^2 + b^2``.

    Args:
        weights: [D], product 1 (to 1e-6).

    Raises:
        BadInput: Not a minimum.

    Example:
        >>> minimum_sharpness([2.0, 0.5])
        4.25
    """
    w = array("weights", weights, "d")
    if abs(w.prod() - 1) > 1e-6:
        raise BadInput("weights", w.tolist(), "weights whose product is 1")
    return float((1 / w**2).sum())


def gradient_flow_minimum(weights: ArrayLike) -> Array:
    """The minimum that gradient flow reaches: ``w_i^2 + s`` with s such that the product is 1.

    Gradient flow changes every ``w_i^2`` at the same speed and, from weights whose product is above 0, never
    crosses 0, so that signs are kept.

    Args:
        weights: Start, [D], product above 0.

    Raises:
        BadInput: The product is not above 0 (the flow may then end at the saddle).

    Example:
        >>> [round(float(w), 4) for w in gradient_flow_minimum([3.0, 0.2])]
        [3.0117, 0.332]
    """
    w = array("weights", weights, "d")
    if w.prod() <= 0:
        raise BadInput("weights", w.tolist(), "weights whose product is above 0")
    # In terms of the smallest square v after the shift: log v + sum log(gap + v) = 0, where the left side
    # grows with v, is not negative at v = 1, and not positive where log v = -sum log(gap + 1).
    gaps = w**2 - (w**2).min()
    others = np.delete(gaps, int(np.argmin(gaps)))

    def excess(log_least: float) -> float:
        return float(log_least + np.log(others + math.exp(log_least)).sum())

    lowest = -float(np.log1p(others).sum())
    root = (
        0.0 if lowest == 0 else scipy.optimize.brentq(excess, lowest - 1e-12, 1e-12, xtol=1e-300, rtol=1e-15)
    )
    return np.asarray(np.sign(w) * np.sqrt(gaps + math.exp(root)))


def gradient_flow_sharpness(weights: ArrayLike) -> float:
    """Sharpness of the minimum that gradient flow reaches from here.

    With two layers ``sqrt(q^2 + 4)``, ``q = a^2 - b^2``; else by :func:`gradient_flow_minimum`.

    Args:
        weights: [D], product above 0.

    Raises:
        BadInput: The product is not above 0.

    Example:
        >>> round(gradient_flow_sharpness([3.0, 0.2]), 4)
        9.1805
    """
    w = array("weights", weights, "d")
    if len(w) == 2 and w.prod() > 0:
        return math.hypot(float(w[0] ** 2 - w[1] ** 2), 2)
    return minimum_sharpness(gradient_flow_minimum(w))


def imbalance_after(imbalance: float, lr: float, slope: float) -> float:
    """The imbalance ``q = a^2 - b^2`` of two layers after one step of gradient descent: ``q (1 - lr^2 g^2)``.

    Exact; g is the residual ``a b - 1``. It shrinks while ``|lr g| < sqrt(2)``, and with it the sharpness
    ``sqrt(q^2 + 4)`` of the minimum that gradient flow would reach.

    Args:
        imbalance: q before the step.
        lr: Learning rate.
        slope: g before the step.

    Example:
        >>> imbalance_after(8.0, 0.5, 1.0)
        6.0
    """
    return imbalance * (1 - (lr * slope) ** 2)
