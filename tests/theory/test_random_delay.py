"""Random delays: the closed form against the whole recursion of the second moment, and in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from algobias.errors import BadInput
from algobias.theory.stability import (
    Algorithm,
    largest_stable_rate,
    random_delay_product,
    threshold_sharpness,
)


def updates(product: float, tau: int, m: float, shifted: bool) -> list[np.ndarray]:
    """The matrix of one update of (x(t), x(t-1), ...) for each age."""
    size, lag = max(2 * tau + 1, tau + 2), tau if shifted else 0
    made = []
    for age in range(2 * tau + 1):
        matrix = np.eye(size, k=-1)
        matrix[0, 0] += 1
        matrix[0, lag] += m
        matrix[0, lag + 1] -= m
        matrix[0, age] -= product
        made.append(matrix)
    return made


@pytest.mark.parametrize("tau", [1, 2, 3, 8])
@pytest.mark.parametrize(
    ("m", "shifted"), [(0.0, False), (0.5, False), (0.9, False), (0.5, True), (0.9, True)]
)
def test_the_second_moment_is_neutral_at_the_product_and_stable_below(
    tau: int, m: float, shifted: bool
) -> None:
    product = random_delay_product(tau, m, shifted)

    def radius(scale: float) -> float:
        each = updates(scale * product, tau, m, shifted)
        moment = sum(np.kron(matrix, matrix) for matrix in each) / len(each)
        return float(np.abs(np.linalg.eigvals(moment)).max())

    assert radius(1.0) == pytest.approx(1.0, abs=1e-8)
    assert radius(1.001) > 1
    if tau < 8:
        assert max(radius(scale) for scale in np.linspace(0.05, 0.999, 12)) < 1


def test_known_values() -> None:
    assert random_delay_product(1) == pytest.approx(0.952370661931496, rel=1e-12)
    assert random_delay_product(0, 0.9) == pytest.approx(3.8)
    fixed = Algorithm(delay=1).critical_product
    assert Algorithm(delay=1, random=True).critical_product / fixed == pytest.approx(0.952, abs=5e-4)
    # long delays: ages average out, and what is left is the mean recursion, pi^2 / (4 tau)
    assert random_delay_product(4096) * 4 * 4096 / math.pi**2 == pytest.approx(1, abs=1e-3)
    assert largest_stable_rate(4.0, delay=1, random=True) == pytest.approx(0.952370661931 / 4)
    assert threshold_sharpness(0.1, delay=1, random=True) == pytest.approx(9.52370661931)


def test_simulated_second_moments_shrink_below_and_grow_above() -> None:
    """40,000 runs at tau = 1, over few updates: later a handful of runs carries the whole mean."""
    rng = np.random.default_rng(0)
    for scale, grows in ((0.8, False), (1.2, True)):
        past = np.ones((3, 40_000))
        product = scale * random_delay_product(1)
        for _ in range(60):
            ages = rng.integers(0, 3, past.shape[1])
            new = past[0] - product * past[ages, np.arange(past.shape[1])]
            past = np.stack([new, past[0], past[1]])
        assert (np.mean(past[0] ** 2) > 1) == grows


@pytest.mark.parametrize("wrong", [{"delay": -1}, {"delay": 1.5}, {"delay": 2, "momentum": 1.0}])
def test_numbers_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        random_delay_product(**wrong)  # type: ignore[arg-type]
