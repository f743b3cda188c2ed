"""Error levels of a schedule of looks."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from algobias.inference.statistics import t_quantile

DEFAULT_LOOKS = (4, 6, 9, 13, 20)
"""Seeds at each look, where nothing else is asked for."""

SIMULATED = 400_000
"""Repeats behind an error level that is not tabulated; its relative standard error is below 1 %."""


class Errors(NamedTuple):
    """Error levels of a schedule of looks.

    Attributes:
        decision: One-sided level of each bound at each look; 5 % over all looks together.
        printed: Level per side of the printed interval at the stopping look; it covers at 95 %
            simultaneously over the looks.
    """

    decision: float
    printed: float


@lru_cache(maxsize=256)
def error_levels(looks: tuple[int, ...]) -> Errors:
    """Error levels for a schedule of looks, so that all looks together err at 5 %.

    ``decision`` is the level a at which a running one-sided t-test at every look rejects a true
    hypothesis at any look with probability 5 %; ``printed`` the level at which a two-sided one does. One
    look: 0.05 and 0.025. The default looks: 0.0147 and 0.0069 (fixed). Other schedules: bisection on a
    fixed simulation of exactly that definition; under a second, then remembered.
    """
    if len(looks) == 1:
        return Errors(0.05, 0.025)
    if looks == DEFAULT_LOOKS:
        return Errors(0.0147, 0.0069)
    return simulate_error_levels(looks)


def simulate_error_levels(looks: tuple[int, ...]) -> Errors:
    """The simulation behind :func:`error_levels`, deterministic.

    The t statistics of growing samples are drawn through their sufficient statistics: a block of m
    normal values has a mean and, independent of it, a chi-squared sum of squares with m - 1 degrees of
    freedom, so that the cost does not depend on the number of seeds.
    """
    rng = np.random.default_rng(20)
    t = np.empty((len(looks), SIMULATED), dtype=np.float32)
    total, squares, before = np.zeros(SIMULATED), np.zeros(SIMULATED), 0
    for row, n in enumerate(looks):
        block = n - before
        step = rng.standard_normal(SIMULATED) * math.sqrt(block)
        total += step
        squares += step**2 / block + (rng.chisquare(block - 1, SIMULATED) if block > 1 else 0.0)
        mean = total / n
        t[row] = mean / np.sqrt((squares - n * mean**2) / (n * (n - 1)))
        before = n
    sizes = np.abs(t)
    return Errors(_level_at(t, looks), _level_at(sizes, looks))


def _level_at(t: NDArray[np.float32], looks: tuple[int, ...], overall: float = 0.05) -> float:
    low, high = overall / 10 / len(looks), overall
    for _ in range(14):
        level = math.sqrt(low * high)
        limits = np.array([t_quantile(level, n - 1) for n in looks], dtype=np.float32)
        if float((t > limits[:, None]).any(0).mean()) > overall:
            high = level
        else:
            low = level
    return float(f"{math.sqrt(low * high):.3g}")
