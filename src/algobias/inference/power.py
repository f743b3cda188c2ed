"""How many seeds would decide, at a power of 80 %."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import nctdtr

from algobias.inference.statistics import t_quantile

MOST_SEEDS = 1000
"""Largest number of seeds that :func:`seeds_needed` considers."""


POWER = 0.8
"""Chance with which the seeds of :func:`seeds_needed` decide, if the estimates are right."""


def seeds_needed(
    quantities: Sequence[tuple[float, float]], tolerance: float, level: float, fewest: int = 2
) -> int | None:
    """Smallest number of paired seeds that decide with a chance of 80 %, if the estimates are right.

    Each quantity is to be ``absent`` (upper bound below the tolerance) where its mean is below the
    tolerance, else ``present`` (lower bound above 0). For Gaussian differences the chance to miss one is a
    probability of the noncentral t distribution; the chances to miss any add up to at most 20 %. To be absent
    takes a seed more than Student's bound does, since Hall's is the larger one in some samples. None above
    :data:`MOST_SEEDS`.

    Args:
        quantities: Mean and standard deviation of each.
        tolerance: delta.
        level: One-sided error level of the decision.
        fewest: Seeds below which nothing is absent.
    """

    def miss(n: int) -> float:
        return sum(_missed(n, mean, sd, tolerance, level, fewest) for mean, sd in quantities)

    # More seeds miss less.
    few, many = 1, MOST_SEEDS
    if miss(many) > 1 - POWER:
        return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (middle, many) if miss(middle) > 1 - POWER else (few, middle)
    return many


def _missed(n: int, mean: float, sd: float, tolerance: float, level: float, fewest: int) -> float:
    """Chance that n seeds do not show one quantity to be what its mean says."""
    room, seeds = mean, n
    if mean < tolerance:
        room, seeds = tolerance - mean, n - 1
        if n < fewest:
            return 1.0
    if seeds < 2:
        return 1.0
    if sd == 0:
        return 0.0
    return float(nctdtr(seeds - 1, room * math.sqrt(seeds) / sd, t_quantile(level, seeds - 1)))
