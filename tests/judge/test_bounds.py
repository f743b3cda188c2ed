"""One-sided bounds: the larger upper bound counts, and few seeds never show that nothing is lost."""

import math

import numpy as np
import pytest
from scipy.stats import t

from algobias.inference.bounds import FEWEST, Bounds
from algobias.inference.statistics import paired

LEVEL = 0.025


def hall(values: np.ndarray) -> float:
    """Hall's upper bound as the paper writes it, for a paired difference."""
    n, mean, sd = len(values), values.mean(), values.std(ddof=1)
    g = n / ((n - 1) * (n - 2)) * ((values - mean) ** 3).sum() / sd**3
    z = -t.isf(LEVEL, n - 1) / math.sqrt(n) - g / (6 * n)
    return float(mean - sd * 3 * (np.cbrt(1 + g * z) - 1) / g)


def student(values: np.ndarray) -> float:
    """Student's upper bound."""
    return float(values.mean() + t.isf(LEVEL, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_upper_bound_is_the_larger_of_students_and_halls(sign: int) -> None:
    values = sign * np.array([0.0, 0.1, 0.2, 0.1, 0.3, 2.0, 0.2])
    bounds = Bounds.of(paired(values), LEVEL)
    assert bounds.high == pytest.approx(max(hall(values), student(values)))
    assert bounds.low == pytest.approx(2 * values.mean() - student(values))
    assert (hall(values) > student(values)) == (sign == 1), "the laws lean to both sides"


@pytest.mark.parametrize(
    ("bounds", "state"),
    [
        (Bounds(-0.3, 0.9, FEWEST), "absent"),
        (Bounds(0.1, 0.9, FEWEST), "absent"),
        (Bounds(-0.3, 0.9, FEWEST - 1), "unknown"),
        (Bounds(0.1, 1.0, FEWEST - 1), "present"),
        (Bounds(0.1, 1.5, FEWEST), "present"),
        (Bounds(-0.1, 1.5, 20), "unknown"),
        (Bounds(0.0, 1.5, 20), "unknown"),
    ],
)
def test_what_bounds_say_of_a_quantity(bounds: Bounds, state: str) -> None:
    assert bounds.state(tolerance=1.0) == state


def test_a_last_look_of_few_seeds_may_decide() -> None:
    assert Bounds(-0.3, 0.9, 4).state(1.0, fewest=4) == "absent"
