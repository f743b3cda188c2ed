"""Which two-layer ReLU networks gradient descent can keep: the stability norm.

At a minimum with zero residual the Hessian of a network ``f(x) = sum_j a_j relu(w_j . x + b_j) + b_0`` with
squared loss ``1/(2n) sum (f - y)^2`` has ``lambda_max >= 1 + 2 S``, with S the stability norm of its weights.
Gradient descent with learning rate lr is stable only where ``lambda_max <= 2 / lr``, hence only where
``S <= 1/lr - 1/2``: a large learning rate bounds a weighted norm of the second derivative of f.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from algobias.errors import BadInput
from algobias.theory._given import Array, array, positive


@dataclass(frozen=True)
class StabilityNorm:
    """The stability norm of a network on a data set.

    Attributes:
        value: S; units of the curvature of the loss.
        neurons: The share of every neuron, [k]; S is their sum.
    """

    value: float
    neurons: Array

    @property
    def sharpness_bound(self) -> float:
        """``1 + 2 S``: the sharpness is at least this where the residual is zero."""
        return 1 + 2 * self.value

    def slack(self, lr: float) -> float:
        """``1/lr - 1/2 - S``; below 0 the minimum cannot be stable at this learning rate.

        Raises:
            BadInput: A rate that is not above 0.
        """
        return 1 / positive("lr", lr) - 0.5 - self.value


def relu_stability_norm(
    outer: ArrayLike, inner: ArrayLike, biases: ArrayLike, inputs: ArrayLike
) -> StabilityNorm:
    """S of a two-layer ReLU network with any number of inputs.

    ``S = sum_j |a_j| |w_j| min(rho(u_j, c_j), rho(-u_j, -c_j))``, ``u_j = w_j / |w_j|``,
    ``c_j = -b_j / |w_j|``, and over the training inputs X
    ``rho(u, c) = P(u.X > c)^2 E[u.X - c | u.X > c] sqrt(1 + |E[X | u.X > c]|^2)``: a neuron counts where its
    kink cuts through the data, most at their centre. Neurons with no weight count 0. Invariant to rescaling
    ``(a_j, w_j, b_j) -> (a_j / s, s w_j, s b_j)``, s > 0. Sources: Mulayoff, Michaeli, Soudry, The implicit
    bias of minima stability, 2021 (one input); Nacson, Mulayoff, Ongie, Michaeli, Soudry, 2023 (several). The
    bound needs trained biases b_j and b_0. Cost: O(n k d).

    Args:
        outer: a_j, [k].
        inner: w_j, [k, d].
        biases: b_j, [k].
        inputs: X, [n, d].

    Raises:
        BadInput: Shapes that do not fit.

    Example:
        >>> found = relu_stability_norm([2.0], [[1.0]], [0.0], [[-1.0], [1.0]])
        >>> round(found.value, 6)  # P = 1/2, mean distance 1, mean input 1: 2 * sqrt(2) / 4
        0.707107
    """
    x = array("inputs", inputs, "nd")
    w, a, b = array("inner", inner, "kd"), array("outer", outer, "k"), array("biases", biases, "k")
    if w.shape[1] != x.shape[1]:
        raise BadInput("inner", f"{w.shape[1]} columns", f"one for each of the {x.shape[1]} inputs")
    if not len(a) == len(b) == len(w):
        raise BadInput("outer, inner, biases", (len(a), len(w), len(b)), "the same number of neurons")
    before = x @ w.T + b
    shares = np.abs(a) * np.minimum(_rho(before, x), _rho(-before, x))
    return StabilityNorm(float(shares.sum()), shares)


def _rho(before: Array, x: Array) -> Array:
    """|w| rho for every neuron, [k], from what goes into its ReLU, [n, k]."""
    active = before > 0
    share = active.mean(axis=0)
    # P^2 E[d | active] sqrt(1 + |E[X | active]|^2) = mean(d+) sqrt(P^2 + |mean(X 1[active])|^2).
    centre = active.T.astype(float) @ x / len(x)
    reach = np.where(active, before, 0.0).mean(axis=0)
    return np.asarray(reach * np.sqrt(share**2 + (centre**2).sum(axis=1)))


def function_stability_norm(
    outer: ArrayLike, inner: ArrayLike, biases: ArrayLike, inputs: ArrayLike
) -> float:
    """``integral |f''(x)| g(x) dx`` of a network with one input: S as a property of the function alone.

    f is piecewise linear: f'' is ``sum_j a_j |w_j|`` over the neurons with a kink at the same place, and
    ``g = min(g_-, g_+)``, ``g_-(x) = P(X < x)^2 E[x - X | X < x] sqrt(1 + E[X | X < x]^2)``, g_+ its mirror
    image. Neurons whose kinks cancel do not count, so it is at most :func:`relu_stability_norm`, with the
    same bounds. Source: Mulayoff, Michaeli, Soudry, 2021. Cost: O(n k).

    Args:
        outer: a_j, [k].
        inner: w_j, [k].
        biases: b_j, [k].
        inputs: X, [n].

    Raises:
        BadInput: Shapes that do not fit.

    Example:
        >>> function_stability_norm([1.0, -1.0], [1.0, 1.0], [0.0, 0.0], [-1.0, 1.0])
        0.0
    """
    x, w = array("inputs", inputs, "n"), array("inner", inner, "k")
    a, b = array("outer", outer, "k"), array("biases", biases, "k")
    if not len(a) == len(w) == len(b):
        raise BadInput("outer, inner, biases", (len(a), len(w), len(b)), "the same number of neurons")
    bent = w != 0
    kinks, place = np.unique(-b[bent] / w[bent], return_inverse=True)
    jumps = np.bincount(place, weights=(a * np.abs(w))[bent], minlength=len(kinks))
    if not len(kinks):
        return 0.0
    before = x[:, None] - kinks
    weight = np.minimum(_rho(before, x[:, None]), _rho(-before, x[:, None]))
    return float((np.abs(jumps) * weight).sum())
