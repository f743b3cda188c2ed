"""Diagonal networks: the dual solution against gradient flow, a general solver, and linear programming."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

from algobias.errors import BadInput
from algobias.theory.diagonal import (
    diagonal_solution,
    potential,
    smallest_l1,
    smallest_l2,
    step_size_bound,
)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 9))
Y = X @ np.array([1.0, -0.7, 0, 0, 0, 0, 0, 0, 0])


def flow(u: float, v: float) -> np.ndarray:
    """Gradient flow of ``beta = u_+ v_+ - u_- v_-`` from (u, v) in both pairs, integrated to the end."""
    d = X.shape[1]
    start = np.concatenate([np.full(d, u), np.full(d, v), np.full(d, u), np.full(d, v)])

    def beta(w: np.ndarray) -> np.ndarray:
        return w[:d] * w[d : 2 * d] - w[2 * d : 3 * d] * w[3 * d :]

    def slope(_: float, w: np.ndarray) -> np.ndarray:
        g = X.T @ (X @ beta(w) - Y)
        return np.concatenate([-g * w[d : 2 * d], -g * w[:d], g * w[3 * d :], g * w[2 * d : 3 * d]])

    # The slowest direction moves at about the square of the start.
    end = solve_ivp(slope, (0, 60 / (u * u + v * v)), start, method="LSODA", rtol=1e-10, atol=1e-13)
    return beta(end.y[:, -1])


@pytest.mark.parametrize("alpha", [0.1, 0.5, 3.0])
def test_gradient_flow_ends_at_the_solution(alpha: float) -> None:
    found = diagonal_solution(X, Y, 2 * alpha**2)
    assert np.abs(X @ found.beta - Y).max() < 1e-9
    assert flow(alpha, alpha) == pytest.approx(found.beta, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("u", "v"), [(1.0, 0.01), (0.3, 0.9)])
def test_only_the_sum_of_squares_of_the_start_matters(u: float, v: float) -> None:
    found = diagonal_solution(X, Y, u * u + v * v).beta
    assert flow(u, v) == pytest.approx(found, rel=1e-5, abs=1e-6)
    # Were it the product, or twice the geometric mean, it would show.
    assert np.abs(found - diagonal_solution(X, Y, 2 * u * v).beta).max() > 1e-3


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_the_solution_minimises_the_potential(alpha: float) -> None:
    found = diagonal_solution(X, Y, 2 * alpha**2).beta
    null = np.linalg.svd(X)[2][len(X) :].T
    base = smallest_l2(X, Y)
    general = minimize(lambda z: potential(base + null @ z, alpha), np.zeros(null.shape[1]), tol=1e-13)
    assert base + null @ general.x == pytest.approx(found, abs=2e-5)
    for direction in null.T:
        for size in (-0.1, 0.1):
            assert potential(found + size * direction, alpha) > potential(found, alpha)


def test_the_limits() -> None:
    l1, l2 = smallest_l1(X, Y), smallest_l2(X, Y)
    for solution in (l1, l2):
        assert np.abs(X @ solution - Y).max() < 1e-9
    assert diagonal_solution(X, Y, 1e8).beta == pytest.approx(l2, abs=1e-9)
    sizes = [np.abs(diagonal_solution(X, Y, scale).beta).sum() for scale in (1, 1e-2, 1e-6, 1e-60)]
    assert all(late < early for early, late in itertools.pairwise(sizes))
    assert sizes[-1] == pytest.approx(np.abs(l1).sum(), rel=1e-3)
    assert np.abs(l1).sum() <= np.abs(l2).sum()
    assert np.linalg.norm(l2) <= np.linalg.norm(l1)


def test_the_potential_has_its_two_limits() -> None:
    beta = np.array([0.5, -2.0, 1.0])
    assert potential(beta, 1e3) == pytest.approx((beta**2).sum() / 4e6, rel=1e-6)
    # For small alpha: log(1 / alpha^2) |beta|_1 to leading order.
    assert potential(beta, 1e-100) / np.log(1e200) == pytest.approx(np.abs(beta).sum(), rel=1e-2)


@settings(max_examples=60, deadline=None)
@example(426, 4, 0, 0.0)  # nearly dependent rows: large coefficients that cancel
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(0, 8), st.floats(-8, 4))
def test_every_problem_is_solved(seed: int, n: int, more: int, log_scale: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, n + more))
    y = rng.standard_normal(n) * 10 ** rng.uniform(-3, 3)
    found = diagonal_solution(x, y, 10**log_scale)
    summed = (np.abs(x) @ np.abs(found.beta)).max()
    assert found.residual <= 1e-12 * summed + 1e-9 * np.abs(y).max()
    assert 10**log_scale * np.sinh(x.T @ found.dual) == pytest.approx(found.beta)


def test_weights_multiply_to_alpha_squared_times_the_steps() -> None:
    """``w_+ w_- = alpha^2 prod(1 - 4 lr^2 g^2)``, exactly: the solution drifts only through the product."""
    alpha, lr = 0.3, 0.02
    plus = minus = np.full(X.shape[1], alpha)
    shrunk = np.ones(X.shape[1])
    for _ in range(400):
        g = X.T @ (X @ (plus**2 - minus**2) - Y) / len(Y)
        plus, minus, shrunk = (
            plus * (1 - 2 * lr * g),
            minus * (1 + 2 * lr * g),
            shrunk * (1 - 4 * (lr * g) ** 2),
        )
    assert plus * minus == pytest.approx(alpha**2 * shrunk, rel=1e-11)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_the_step_size_bound_is_necessary(seed: int) -> None:
    """The exact Hessian at zero residual is at least twice the weighted l1 norm."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((6, 4)) + rng.standard_normal(4)
    u, v = rng.standard_normal((2, 4))
    jacobian = np.hstack([x * v, x * u])
    top = np.linalg.eigvalsh(jacobian.T @ jacobian / len(x))[-1]
    assert 2 / top <= step_size_bound(u * v, x.mean(axis=0)) * (1 + 1e-12)


def test_the_step_size_bound_can_be_attained() -> None:
    """One input that is the same for all examples, balanced weights."""
    assert step_size_bound([2.0], [3.0]) == pytest.approx(2 / (9 * (2 + 2)))
    assert step_size_bound([2.0], [0.0]) == np.inf


def test_what_has_no_answer_is_refused() -> None:
    for inputs, targets in ((X.T, np.ones(9)), (np.ones((2, 3)), [1, 2]), (X, [1.0]), (X, [np.nan] * 4)):
        for solve in (smallest_l1, smallest_l2, lambda x, y: diagonal_solution(x, y, 1.0)):
            with pytest.raises(BadInput):
                solve(inputs, targets)
    with pytest.raises(BadInput):
        diagonal_solution(X, Y, 0.0)
    with pytest.raises(BadInput):
        step_size_bound([1.0], [1.0, 2.0])
