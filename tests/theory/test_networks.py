"""ReLU and scalar networks against dense Hessians and actual training."""

from __future__ import annotations

import doctest
import importlib
import itertools
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

import algobias.theory
from algobias.errors import BadInput
from algobias.theory.stability import (
    function_stability_norm,
    gradient_flow_minimum,
    gradient_flow_sharpness,
    imbalance_after,
    minimum_sharpness,
    relu_stability_norm,
)


def network(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    d, k, n = rng.integers(1, 5), rng.integers(1, 8), rng.integers(2, 30)
    x = rng.standard_normal((n, d)) * rng.choice([0.3, 1, 3]) + rng.standard_normal(d)
    return rng.standard_normal(k), rng.standard_normal((k, d)), rng.standard_normal(k), x


def sharpness(a: np.ndarray, w: np.ndarray, b: np.ndarray, x: np.ndarray) -> float:
    """Top eigenvalue of the exact Hessian at zero residual: the mean outer product of output gradients."""

    def output(flat: np.ndarray) -> np.ndarray:
        k, d = w.shape
        outer, inner = flat[:k], flat[k : k + k * d].reshape(k, d)
        bias, last = flat[-k - 1 : -1], flat[-1]
        return np.maximum(x @ inner.T + bias, 0) @ outer + last

    flat = np.concatenate([a, w.ravel(), b, [0.3]])
    # The output is piecewise quadratic: a step inside the piece makes the central difference exact.
    room = np.abs(x @ w.T + b).min() / (2 + np.abs(x).max())
    step = min(1e-4, room / 4)
    jacobian = np.stack(
        [(output(flat + step * e) - output(flat - step * e)) / (2 * step) for e in np.eye(len(flat))], axis=1
    )
    return float(np.linalg.eigvalsh(jacobian.T @ jacobian / len(x))[-1])


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 100_000))
def test_the_stability_norm_bounds_the_sharpness(seed: int) -> None:
    a, w, b, x = network(seed)
    norm = relu_stability_norm(a, w, b, x)
    top = sharpness(a, w, b, x)
    assert top >= norm.sharpness_bound * (1 - 1e-6)
    if w.shape[1] == 1:
        of_function = function_stability_norm(a, w[:, 0], b, x[:, 0])
        assert of_function <= norm.value * (1 + 1e-9)
    # What is stable has slack.
    assert norm.slack(2 / top) >= -1e-6 * top
    assert norm.slack(2 / norm.sharpness_bound) == pytest.approx(0, abs=1e-12 + 1e-12 * norm.value)


def test_the_bound_can_be_nearly_attained() -> None:
    """The sharpness exceeds 1 by less than 1.05 times 2 S here: 5 % more would break the bound."""
    a, w, x = np.array([0.15]), np.array([[0.6]]), np.array([[-0.3], [0.3]])
    excess = sharpness(a, w, np.array([1e-4]), x) - 1
    assert 1 <= excess / (2 * relu_stability_norm(a, w, np.array([0.0]), x).value) < 1.05


def test_the_stability_norm_by_its_definition() -> None:
    a, w, b, x = network(3)

    def rho(v: np.ndarray, c: float) -> float:
        above = x @ v > c
        if not above.any():
            return 0.0
        reach = np.mean((x @ v - c)[above])
        return float(above.mean() ** 2 * reach * np.sqrt(1 + np.sum(x[above].mean(axis=0) ** 2)))

    expected = 0.0
    for outer, inner, bias in zip(a, w, b, strict=True):
        size = np.linalg.norm(inner)
        v, c = inner / size, -bias / size
        expected += abs(outer) * size * min(rho(v, c), rho(-v, -c))
    found = relu_stability_norm(a, w, b, x)
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert found.neurons.sum() == pytest.approx(found.value)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_the_stability_norm_does_not_see_rescaling(seed: int, scale: float) -> None:
    a, w, b, x = network(seed)
    moved = relu_stability_norm(a / scale, w * scale, b * scale, x).value
    assert moved == pytest.approx(relu_stability_norm(a, w, b, x).value, rel=1e-9, abs=1e-12)


def test_the_function_form_integrates_the_second_derivative() -> None:
    rng = np.random.default_rng(4)
    x, a, w, b = (rng.standard_normal(n) for n in (9, 5, 5, 5))
    width = 1e-5

    def slope(at: float) -> float:
        return float(np.sum(a * w * (w * at + b > 0)))

    def weight(at: float) -> float:
        def side(values: np.ndarray, distance: np.ndarray) -> float:
            if not len(values):
                return 0.0
            return (len(values) / 9) ** 2 * distance.mean() * np.sqrt(1 + values.mean() ** 2)

        left, right = x[x < at], x[x > at]
        return float(min(side(left, at - left), side(right, right - at)))

    # Mass of |f''| by the jump of the slope across each kink, weighted by a quadrature of g over it.
    total = 0.0
    for kink in -b / w:
        jump = slope(kink + width) - slope(kink - width)
        total += abs(jump) * quad(weight, kink - width, kink + width)[0] / (2 * width)
    assert function_stability_norm(a, w, b, x) == pytest.approx(total, rel=1e-4)


def test_dead_weights_count_nothing() -> None:
    x = [-1.0, 0.5, 2.0]
    assert function_stability_norm([1.0], [0.0], [1.0], x) == 0
    assert relu_stability_norm([1.0], [[0.0]], [1.0], np.array(x)[:, None]).value == 0
    # A kink to the left of all data bends nothing.
    assert function_stability_norm([1.0], [1.0], [5.0], x) == 0
    with pytest.raises(BadInput):
        relu_stability_norm([1.0], [[0.0, 1.0]], [1.0], np.array(x)[:, None])
    with pytest.raises(BadInput):
        function_stability_norm([1.0, 2.0], [0.0], [1.0], x)


# Scalar networks.


def test_sharpness_of_minima_is_that_of_the_hessian() -> None:
    w = np.array([2.0, 0.5, -0.8, -1.25])
    assert w.prod() == pytest.approx(1)

    def loss(at: np.ndarray) -> float:
        return (at.prod() - 1) ** 2 / 2

    step, eye = 1e-4, np.eye(4)
    hessian = [
        [
            sum(s * t * loss(w + step * (s * i + t * j)) for s in (1, -1) for t in (1, -1)) / (4 * step**2)
            for j in eye
        ]
        for i in eye
    ]
    assert np.linalg.eigvalsh(hessian)[-1] == pytest.approx(minimum_sharpness(w), rel=1e-4)
    with pytest.raises(BadInput):
        minimum_sharpness([1.0, 2.0])


@pytest.mark.parametrize("start", [[3.0, 0.2], [2.0, 0.5, 1.5], [0.3, 0.3, 0.3], [-1.5, -0.1], [1.0, 1.0]])
def test_gradient_flow_ends_where_the_formula_says(start: list[float]) -> None:
    def flow(_: float, w: np.ndarray) -> np.ndarray:
        return -(w.prod() - 1) * w.prod() / w

    end = solve_ivp(flow, (0, 400), start, method="LSODA", rtol=1e-11, atol=1e-12).y[:, -1]
    found = gradient_flow_minimum(start)
    assert found == pytest.approx(end, rel=1e-6)
    assert found.prod() == pytest.approx(1, rel=1e-12)
    assert gradient_flow_sharpness(start) == pytest.approx(minimum_sharpness(found), rel=1e-9)


def test_gradient_flow_from_the_other_side_is_refused() -> None:
    for start in ([1.0, -1.0], [0.0, 1.0]):
        with pytest.raises(BadInput):
            gradient_flow_minimum(start)
        with pytest.raises(BadInput):
            gradient_flow_sharpness(start)


def test_gradient_descent_shrinks_the_imbalance_exactly_so() -> None:
    a, b, lr = 3.0, 0.2, 0.215
    flow = [gradient_flow_sharpness([a, b])]
    for _ in range(3000):
        slope = a * b - 1
        expected = imbalance_after(a * a - b * b, lr, slope)
        a, b = a - lr * slope * b, b - lr * slope * a
        assert a * a - b * b == pytest.approx(expected, rel=1e-12)
        flow.append(gradient_flow_sharpness([a, b]))
    assert flow[0] == pytest.approx(9.1805, abs=5e-5)
    assert all(late <= early * (1 + 1e-12) for early, late in itertools.pairwise(flow))
    # Gradient flow alone would stay below 2 / lr = 9.302; gradient descent ends flatter.
    assert flow[-1] == pytest.approx(8.728, abs=2e-3)
    assert a * a + b * b == pytest.approx(flow[-1], rel=1e-6)


@pytest.mark.parametrize("name", [info.name for info in pkgutil.iter_modules(algobias.theory.__path__)])
def test_docstring_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"algobias.theory.{name}")).failed == 0


def test_public_functions_have_examples() -> None:
    finder = doctest.DocTestFinder()
    for name in ("deterministic", "mean_square", "noise", "relu_stability", "scalar_nets"):
        module = importlib.import_module(f"algobias.theory.{name}")
        assert sum(len(one.examples) for one in finder.find(module)) >= 2, name
