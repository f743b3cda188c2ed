"""Critical products against companion matrices: the spectral radius crosses 1 exactly there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algobias.errors import BadInput
from algobias.theory.stability import (
    Algorithm,
    adam_threshold_sharpness,
    batch_sharpness_plateaus,
    delayed_heavy_ball_product,
    delayed_product,
    delayed_shifted_product,
    largest_stable_rate,
    matched_rate,
    threshold_sharpness,
)

DELAYS = [*range(13), 16, 31, 64, 100]
MOMENTA = [0.0, 0.1, 0.5, 0.9, 0.99]


def radius(algorithm: Algorithm, product: float) -> float:
    """Spectral radius of one update of the past positions, written down from the update rule alone."""
    m, tau = algorithm.momentum, algorithm.delay
    if algorithm.nesterov:
        # v' = m v + K x; x' = x - (K x + m v')
        step = [[1 - product - m * product, -m * m], [product, m]]
        return float(np.abs(np.linalg.eigvals(step)).max())
    matrix = np.diag(np.ones(tau + 1), -1)
    matrix[0, 0] += 1
    old = tau if algorithm.shifted else 0
    matrix[0, old] += m
    matrix[0, old + 1] -= m
    matrix[0, tau] -= product
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def crosses(algorithm: Algorithm) -> None:
    product = algorithm.critical_product
    assert abs(radius(algorithm, product) - 1) < 1e-9
    # At a relative distance of 1e-6 the radius has left 1 to the right side, by its slope there.
    assert radius(algorithm, product * (1 - 1e-6)) < 1 < radius(algorithm, product * (1 + 1e-6))


@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("shifted", [False, True])
def test_the_spectral_radius_crosses_one_at_the_critical_product(momentum: float, shifted: bool) -> None:
    for delay in DELAYS:
        crosses(Algorithm(momentum, delay=delay, shifted=shifted))


@pytest.mark.parametrize("momentum", MOMENTA)
def test_nesterov_crosses_one_at_the_critical_product(momentum: float) -> None:
    crosses(Algorithm(momentum, nesterov=True))


@pytest.mark.parametrize("algorithm", [Algorithm(0.9, delay=8), Algorithm(0.5, delay=3, shifted=True)])
def test_everything_below_is_stable_and_everything_above_is_not(algorithm: Algorithm) -> None:
    product = algorithm.critical_product
    assert all(radius(algorithm, product * part) < 1 for part in np.linspace(0.001, 0.999, 60))
    assert all(radius(algorithm, product * part) > 1 for part in np.linspace(1.001, 40, 60))


def bisected(algorithm: Algorithm) -> float:
    """The crossing found from the companion matrix alone."""
    low, high = 1e-4, 4.5
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if radius(algorithm, middle) < 1 else (low, middle)
    return low


@pytest.mark.parametrize(
    "algorithm",
    [
        Algorithm(delay=5),
        Algorithm(0.9, delay=5),
        Algorithm(0.9, delay=12, shifted=True),
        Algorithm(0.5, nesterov=True),
    ],
)
def test_the_crossing_found_without_the_formula_agrees_to_nine_digits(algorithm: Algorithm) -> None:
    assert bisected(algorithm) == pytest.approx(algorithm.critical_product, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 0.995), st.integers(0, 40), st.booleans())
def test_crossing_for_any_momentum_and_delay(momentum: float, delay: int, shifted: bool) -> None:
    crosses(Algorithm(momentum, delay=delay, shifted=shifted))


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 0.99), st.integers(0, 63))
def test_order_of_the_algorithms(momentum: float, delay: int) -> None:
    heavy, shifted = Algorithm(momentum, delay=delay), Algorithm(momentum, delay=delay, shifted=True)
    later = Algorithm(momentum, delay=delay + 1)
    assert later.critical_product < heavy.critical_product
    # Shifted momentum keeps at least as much as fresh momentum, and under a delay both less than none.
    assert shifted.critical_product >= heavy.critical_product * (1 - 1e-12)
    if delay:
        assert shifted.critical_product <= Algorithm(delay=delay).critical_product * (1 + 1e-12)


def test_known_values() -> None:
    for delay, value in {0: 2, 1: 1, 2: 0.618034, 5: 0.284630, 10: 0.149460}.items():
        assert delayed_product(delay) == pytest.approx(value, abs=5e-7)
    assert delayed_shifted_product(1, 0.5) == pytest.approx(0.75, rel=1e-12)
    assert delayed_shifted_product(1, 0.9) == pytest.approx(0.19, rel=1e-12)
    assert delayed_shifted_product(8, 0.9) == pytest.approx(0.024469, abs=5e-7)
    assert delayed_heavy_ball_product(8, 0.9) == pytest.approx(0.013942, abs=5e-7)


def test_limits_for_long_delays() -> None:
    tau, m = 10_000, 0.9
    assert delayed_product(tau) == pytest.approx(math.pi / (2 * tau + 1), rel=1e-6)
    heavy = math.pi * (1 - m) / (2 * tau + 1 + 2 * m / (1 - m))
    assert delayed_heavy_ball_product(tau, m) == pytest.approx(heavy, rel=1e-4)
    shifted = math.acos(m) * math.sqrt(1 - m * m) / (tau + 0.5)
    assert delayed_shifted_product(tau, m) == pytest.approx(shifted, rel=1e-4)


def test_no_momentum_is_one_formula() -> None:
    for delay in DELAYS:
        plain = delayed_product(delay)
        assert delayed_heavy_ball_product(delay, 0) == pytest.approx(plain, rel=1e-13)
        assert delayed_shifted_product(delay, 0) == pytest.approx(plain, rel=1e-13)


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9, 0.99])
def test_adam_with_a_frozen_preconditioner(beta1: float) -> None:
    lr, second_moment = 0.02, np.array([4.0, 0.25, 1.0])
    root = np.random.default_rng(0).standard_normal((3, 3))
    hessian = root @ root.T
    scaling = second_moment**-0.25
    top = np.linalg.eigvalsh(scaling[:, None] * hessian * scaling)[-1]

    def spread(size: float) -> float:
        """Radius of (m, x) -> (beta1 m + (1 - beta1) H x, x - lr m / sqrt(v)), all coordinates at once."""
        scaled = hessian * size
        mean = np.hstack([beta1 * np.eye(3), (1 - beta1) * scaled])
        step = lr / np.sqrt(second_moment)[:, None]
        position = np.hstack([np.zeros((3, 3)), np.eye(3)]) - step * mean
        return float(np.abs(np.linalg.eigvals(np.vstack([mean, position]))).max())

    size = adam_threshold_sharpness(lr, beta1) / top
    assert spread(size) == pytest.approx(1, abs=1e-9)
    assert spread(size * (1 - 1e-5)) < 1 < spread(size * (1 + 1e-5))
    if beta1 == 0.9:
        assert adam_threshold_sharpness(lr, beta1) == pytest.approx(38 / lr)


def test_rate_sharpness_and_matched_rate_are_one_law() -> None:
    options = {"momentum": 0.9, "delay": 4, "shifted": True}
    lr = largest_stable_rate(7.0, **options)
    assert threshold_sharpness(lr, **options) == pytest.approx(7.0, rel=1e-14)
    before, after = Algorithm(0.9), Algorithm(**options)
    matched = matched_rate(0.3, before, after)
    assert threshold_sharpness(matched, **options) == pytest.approx(threshold_sharpness(0.3, momentum=0.9))
    assert matched_rate(0.3, before, before) == 0.3
    rule = 0.3 * math.sin(math.pi / (4 * 6 + 2))
    assert matched_rate(0.3, Algorithm(), Algorithm(delay=6)) == pytest.approx(rule, rel=1e-14)


def test_plateaus_of_batch_sharpness_meet_without_momentum() -> None:
    assert batch_sharpness_plateaus(0.5, 0.0) == (4.0, 4.0)
    assert batch_sharpness_plateaus(0.1, 0.9) == pytest.approx((2.0, 38.0))
    assert batch_sharpness_plateaus(0.1, 0.9)[1] == pytest.approx(threshold_sharpness(0.1, momentum=0.9))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"momentum": 1.0}, "momentum"),
        ({"momentum": -0.1}, "momentum"),
        ({"momentum": float("nan")}, "momentum"),
        ({"delay": -1}, "delay"),
        ({"delay": 1.5}, "delay"),
        ({"delay": True}, "delay"),
        ({"momentum": 0.9, "nesterov": True, "delay": 2}, "delay"),
        ({"momentum": 0.9, "nesterov": True, "shifted": True}, "shifted"),
    ],
)
def test_impossible_algorithms_are_refused(options: dict[str, float], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        threshold_sharpness(0.1, **options)
    assert refused.value.field == field


def test_rates_and_sharpnesses_must_be_positive_numbers() -> None:
    for call in (
        lambda: threshold_sharpness(0),
        lambda: largest_stable_rate(-1),
        lambda: matched_rate(float("inf"), Algorithm(), Algorithm()),
        lambda: adam_threshold_sharpness("fast"),
        lambda: batch_sharpness_plateaus(0.1, 1.0),
    ):
        with pytest.raises(BadInput):
            call()
