"""Diagonal linear networks: from the kernel to the rich regime by the scale of the initial weights alone.

The model is linear in its input, ``f(x) = beta . x``, with every coefficient written as
``beta = w_+^2 - w_-^2``, and both w start at alpha in every coordinate. Of all coefficients that fit the data
exactly, gradient flow on the squared loss ends at the one that minimises (Woodworth et al., Kernel and rich
regimes in overparametrized models, 2020)

    Q(beta) = alpha^2 sum_i q(beta_i / alpha^2),   q(z) = 2 - sqrt(4 + z^2) + z arcsinh(z / 2).

For large alpha that is the smallest Euclidean norm (kernel regime), for alpha towards 0, only slowly, the
smallest l1 norm, which favours sparse coefficients (rich regime).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import linprog

from algobias.errors import BadInput
from algobias.theory._given import Array, array, positive

EPSILON = float(np.finfo(float).eps)


@dataclass(frozen=True)
class DiagonalSolution:
    """The coefficients that gradient flow ends at.

    Attributes:
        beta: [d].
        dual: nu, [n], with ``beta = scale sinh(X^T nu)``.
        residual: Largest ``|X beta - y|`` that is left.
    """

    beta: Array
    dual: Array
    residual: float


def potential(beta: ArrayLike, alpha: float) -> float:
    """Q: what gradient flow from scale alpha minimises among the coefficients that fit.

    ``alpha^2 sum q(beta_i / alpha^2)``, ``q(z) = 2 - sqrt(4 + z^2) + z arcsinh(z / 2)``; about
    ``|beta|_2^2 / (4 alpha^2)`` where alpha^2 is large against beta. Source: Woodworth et al., 2020.

    Args:
        beta: [d].
        alpha: Initial weight, above 0.

    Raises:
        BadInput: Not a vector of numbers, alpha not above 0.

    Example:
        >>> potential([0.0], 1.0), round(potential([2e3], 1e3), 3)
        (0.0, 1.0)
    """
    square = positive("alpha", alpha) ** 2
    z = array("beta", beta, "d") / square
    # 2 - sqrt(4 + z^2) without its cancellation.
    return float(square * np.sum(z * (np.arcsinh(z / 2) - z / (2 + np.hypot(2, z)))))


def diagonal_solution(inputs: ArrayLike, targets: ArrayLike, scale: float) -> DiagonalSolution:
    """Where gradient flow ends: ``beta = scale sinh(X^T nu)`` with nu such that ``X beta = y``.

    scale is ``2 alpha^2`` for ``beta = w_+^2 - w_-^2`` started at alpha, and ``u_0^2 + v_0^2`` for
    ``beta = u_+ v_+ - u_- v_-`` started at (u_0, v_0) in both pairs: the shape of the start does not matter
    (Azulay et al., On the implicit bias of initialization shape, 2021). nu minimises the convex dual
    ``sum_i scale cosh(x_i . nu) - nu . y``; Newton steps limited to 1 in every ``x_i . nu``, below which the
    curvature changes by at most a factor e, so that every step goes down. Cost: O(n^2 d) for each of some
    tens of steps.

    Args:
        inputs: X, [n, d]; the rows must be linearly independent.
        targets: y, [n].
        scale: Above 0.

    Raises:
        BadInput: Shapes that do not fit, dependent rows, a scale not above 0, or one so small that the dual
            is beyond double precision.

    Example:
        >>> found = diagonal_solution([[1.0, 1.0]], [2.0], scale=1e6)
        >>> [round(float(value), 6) for value in found.beta]
        [1.0, 1.0]
    """
    x, y = _problem(inputs, targets)
    scale = positive("scale", scale)
    nu = np.zeros(len(y))
    size = float(np.abs(y).max()) or 1.0
    best = np.inf
    for _ in range(10_000):
        reach = x.T @ nu
        beta = scale * np.sinh(reach)
        residual = x @ beta - y
        worst = float(np.abs(residual).max())
        # Terms that cancel leave rounding errors of their own size behind, in x_i . nu and in X beta.
        terms = np.abs(x) @ (np.abs(beta) * (1.0 + np.abs(x).T @ np.abs(nu)))
        rounding = max(1e-11 * size, 2 * len(y) * EPSILON * float(terms.max()))
        if worst <= 1e-15 * size or (worst < rounding and worst >= best):
            break
        best = min(best, worst)
        step = -_solve((x * (scale * np.cosh(reach))) @ x.T, residual)
        nu = nu + step / max(1.0, float(np.abs(x.T @ step).max()))
    else:
        raise BadInput("scale", scale, "a scale at which the dual can be solved in double precision: larger")
    return DiagonalSolution(scale * np.sinh(x.T @ nu), nu, worst)


def smallest_l1(inputs: ArrayLike, targets: ArrayLike) -> Array:
    """The coefficients of smallest l1 norm that fit exactly (the rich limit), [d], by a linear program.

    Args:
        inputs: X, [n, d]; the rows must be linearly independent.
        targets: y, [n].

    Raises:
        BadInput: Shapes that do not fit, dependent rows.

    Example:
        >>> [float(value) for value in smallest_l1([[1.0, 2.0]], [2.0])]
        [0.0, 1.0]
    """
    x, y = _problem(inputs, targets)
    d = x.shape[1]
    found = linprog(np.ones(2 * d), A_eq=np.hstack([x, -x]), b_eq=y, bounds=(0, None), method="highs")
    return np.asarray(found.x[:d] - found.x[d:])


def smallest_l2(inputs: ArrayLike, targets: ArrayLike) -> Array:
    """The coefficients of smallest Euclidean norm that fit exactly (the kernel limit): ``X^T (X X^T)^-1 y``,
    [d].

    Args:
        inputs: X, [n, d]; the rows must be linearly independent.
        targets: y, [n].

    Raises:
        BadInput: Shapes that do not fit, dependent rows.

    Example:
        >>> [round(float(value), 6) for value in smallest_l2([[1.0, 2.0]], [2.0])]
        [0.4, 0.8]
    """
    x, y = _problem(inputs, targets)
    return np.asarray(x.T @ _solve(x @ x.T, y))


def step_size_bound(beta: ArrayLike, mean_input: ArrayLike) -> float:
    """Largest learning rate at which a minimum of ``beta = u v`` can be stable:
    ``1 / sum_j mu_j^2 |beta_j|``.

    At a zero residual of ``1/(2n) sum (f - y)^2`` the sharpness is at least
    ``sum_j mu_j^2 (u_j^2 + v_j^2) >= 2 sum_j mu_j^2 |beta_j|``, mu the mean input, and gradient descent needs
    a sharpness of at most ``2 / lr``. Source: Nacson, Ravichandran, Srebro, Soudry, Implicit bias of the step
    size in linear diagonal neural networks, 2022. Infinite where the bound is void (centred inputs).

    Args:
        beta: [d].
        mean_input: mu, [d].

    Raises:
        BadInput: Shapes that do not fit.

    Example:
        >>> step_size_bound([2.0, -1.0], [1.0, 0.0])
        0.5
    """
    b, mu = array("beta", beta, "d"), array("mean_input", mean_input, "d")
    if len(b) != len(mu):
        raise BadInput("mean_input", f"{len(mu)} numbers", f"one for each of the {len(b)} coefficients")
    norm = float(np.sum(mu**2 * np.abs(b)))
    return np.inf if norm == 0 else 1 / norm


def _problem(inputs: ArrayLike, targets: ArrayLike) -> tuple[Array, Array]:
    x, y = array("inputs", inputs, "nd"), array("targets", targets, "n")
    if len(x) != len(y):
        raise BadInput("targets", f"{len(y)} numbers", f"one for each of the {len(x)} examples")
    singular = np.linalg.svd(x, compute_uv=False)
    if len(singular) < len(x) or singular[-1] <= 1e-10 * singular[0]:
        shown = f"an array of shape {x.shape}"
        raise BadInput("inputs", shown, "linearly independent rows, at most as many as columns")
    return x, y


def _solve(matrix: Array, right: Array) -> Array:
    try:
        return np.asarray(cho_solve(cho_factor(matrix), right))
    except LinAlgError:
        # At extreme scales the curvature of the dual spans more than double precision: a ridge at rounding
        # level shortens the step in directions that no longer count.
        ridge = EPSILON * np.trace(matrix) * np.eye(len(matrix))
        return np.asarray(cho_solve(cho_factor(matrix + ridge), right))
