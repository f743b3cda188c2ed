"""Stationary variances by the recursion of second moments and by simulation; noise scale; label noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algobias.errors import BadInput
from algobias.theory.stability import (
    label_noise_penalty,
    label_noise_variance,
    noise_scale,
    stationary_variance,
)


def solved_variance(lr: float, curvature: float, noise: float, momentum: float) -> float:
    """Variance of x from the linear equation for the covariance of (x(t), x(t-1))."""
    step = np.array([[1 + momentum - lr * curvature, -momentum], [1.0, 0.0]])
    kick = np.zeros((2, 2))
    kick[0, 0] = lr**2 * noise
    moments = np.linalg.solve(np.eye(4) - np.kron(step, step), kick.ravel())
    return float(moments[0])


@settings(max_examples=200, deadline=None)
@given(st.floats(0.02, 0.98), st.floats(0.01, 50), st.floats(0.1, 9), st.floats(0, 0.97))
def test_variance_of_sgd_on_a_quadratic(part: float, curvature: float, noise: float, momentum: float) -> None:
    lr = part * (2 + 2 * momentum) / curvature
    exact = solved_variance(lr, curvature, noise, momentum)
    assert stationary_variance(lr, curvature, noise, momentum=momentum) == pytest.approx(exact, rel=1e-7)


def test_variance_in_a_long_simulation() -> None:
    """20,000 independent chains: the relative error of a variance is sqrt(2 / 20,000) = 1 %, checked to 5."""
    lr, curvature, noise, momentum, batch = 0.6, 2.0, 3.0, 0.5, 4
    rng = np.random.default_rng(0)
    now = before = np.zeros(20_000)
    for _ in range(150):
        kick = np.sqrt(noise / batch) * rng.standard_normal(len(now))
        now, before = now + momentum * (now - before) - lr * (curvature * now + kick), now
    expected = stationary_variance(lr, curvature, noise, momentum=momentum, batch=batch)
    assert np.mean(now**2) == pytest.approx(expected, rel=0.05)


def test_variance_diverges_at_the_threshold() -> None:
    near = stationary_variance(3.8 * (1 - 1e-9), 1.0, 1.0, momentum=0.9)
    assert near > 1e6
    for lr in (3.8, 4.0):
        with pytest.raises(BadInput, match="below the threshold"):
            stationary_variance(lr, 1.0, 1.0, momentum=0.9)
    with pytest.raises(BadInput):
        stationary_variance(0.1, 1.0, -1.0)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.01, 100), st.floats(0, 100), st.integers(1, 50), st.integers(1, 500))
def test_noise_scale_is_unbiased(squared: float, trace: float, small: int, more: int) -> None:
    """With the exact expectations of the two squared norms the estimates are the truth."""
    large = small + more
    found = noise_scale(small, large, squared + trace / small, squared + trace / large)
    assert found.gradient_squared == pytest.approx(squared, rel=1e-7, abs=1e-9 * trace)
    assert found.noise_trace == pytest.approx(trace, rel=1e-7, abs=1e-7 * squared * small)


def test_noise_scale_from_gradients() -> None:
    """Means over 4,000 pairs of batches; standard error of either estimate below 3 %."""
    rng = np.random.default_rng(0)
    mean, spread = np.array([1.0, -0.5, 0.2]), np.array([1.0, 2.0, 0.5])
    norms = {
        size: float(
            np.mean(((mean + spread * rng.standard_normal((4000, size, 3))).mean(axis=1) ** 2).sum(axis=1))
        )
        for size in (2, 16)
    }
    found = noise_scale(2, 16, norms[2], norms[16])
    assert found.gradient_squared == pytest.approx((mean**2).sum(), rel=0.12)
    assert found.noise_trace == pytest.approx((spread**2).sum(), rel=0.12)
    assert found.scale == pytest.approx((spread**2).sum() / (mean**2).sum(), rel=0.2)


def test_a_gradient_below_its_noise_has_no_scale() -> None:
    assert noise_scale(1, 4, 4.0, 0.5).scale is None
    for call in (
        lambda: noise_scale(4, 4, 1.0, 1.0),
        lambda: noise_scale(0, 4, 1.0, 1.0),
        lambda: noise_scale(1, 4, -1.0, 1.0),
    ):
        with pytest.raises(BadInput):
            call()


def test_label_noise_penalty() -> None:
    h, lr = np.array([0.5, 1.0, 3.0]), 0.4
    assert label_noise_penalty(h, lr) == pytest.approx(-np.log(np.prod(1 - lr * h / 2)) / (2 * lr), rel=1e-13)
    assert label_noise_penalty(h, 1e-8) == pytest.approx(h.sum() / 4, rel=1e-7)
    for refused in ([5.0], [-1.0]):
        with pytest.raises(BadInput):
            label_noise_penalty(refused, lr)


def test_variance_under_label_noise() -> None:
    """The exact recursion of the variance, iterated to its fixed point."""
    lr, curvature, std = 0.3, 2.5, 0.7
    variance = 0.0
    for _ in range(400):
        variance = (1 - lr * curvature) ** 2 * variance + lr**2 * curvature * std**2
    assert label_noise_variance(lr, curvature, std) == pytest.approx(variance, rel=1e-12)
    tiny = 1e-6
    loss = curvature / 2 * label_noise_variance(tiny, curvature, std)
    assert loss == pytest.approx(tiny * std**2 * label_noise_penalty([curvature], tiny), rel=1e-5)
