"""Intervals that read the examples as a sample: means, quantiles and shares. Plain numpy, no torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from algobias.probes.reading import Interval

Floats = NDArray[np.float64]
Groups = NDArray[np.int64]

LEVEL = 0.95
CLUSTERS_NEEDED = 20
"""Fewer sequences than this say too little about the spread between sequences for a quantile."""

SAMPLED = "the examples are independent draws from the population of examples"
CLUSTERED = "the sequences are independent draws; tokens of one sequence may depend on each other"


def mean_interval(values: Floats, groups: Groups | None = None) -> Interval | None:
    """t-interval of the mean of a population; None below two independent examples.

    With ``groups``, rows of one group depend on each other: the mean is a ratio of two sums over groups,
    with its linearised standard error (Cochran, Sampling Techniques, 1977).

    Args:
        values: One value for each row, [n].
        groups: The example of each row, [n]; None: each row is one.
    """
    found = _mean(values, groups)
    if found is None:
        return None
    mean, error, count = found
    half = float(stats.t.ppf(0.5 + LEVEL / 2, count - 1)) * error
    return Interval(mean - half, mean + half, LEVEL, SAMPLED if groups is None else CLUSTERED)


def quantile(values: Floats, level: float) -> float:
    """Empirical quantile, linear between order statistics; infinite where it falls beside an infinity."""
    place = level * (len(values) - 1)
    low, high = math.floor(place), math.ceil(place)
    ordered = np.sort(values)
    if low == high or ordered[low] == ordered[high] or np.isinf(ordered[low]):
        return float(ordered[low])
    return float(ordered[low] + (place - low) * (ordered[high] - ordered[low]))


def quantile_interval(values: Floats, level: float, groups: Groups | None = None) -> Interval | None:
    """Interval of a quantile of the population; None where the examples are too few for one.

    Independent rows: between two order statistics, exact by the binomial distribution whatever the
    distribution of the values. Rows in groups: the interval of the share of rows below the quantile, with
    the standard error over groups, mapped through the empirical quantiles (Woodruff, 1952).

    Args:
        values: One value for each row, [n].
        level: Which quantile, in (0, 1).
        groups: The example of each row, [n]; None: each row is one.
    """
    n = len(values)
    if groups is None:
        ordered = np.sort(values)
        tail = (1 - LEVEL) / 2
        low, high = int(stats.binom.ppf(tail, n, level)), int(stats.binom.ppf(1 - tail, n, level)) + 1
        if low < 1 or high > n:
            return None
        return Interval(float(ordered[low - 1]), float(ordered[high - 1]), LEVEL, SAMPLED)
    middle = quantile(values, level)
    found = _mean((values <= middle).astype(np.float64), groups)
    if found is None or found[2] < CLUSTERS_NEEDED:
        return None
    _, error, count = found
    half = float(stats.t.ppf(0.5 + LEVEL / 2, count - 1)) * error
    if level - half <= 0 or level + half >= 1:
        return None
    bounds = quantile(values, level - half), quantile(values, level + half)
    return Interval(*bounds, LEVEL, CLUSTERED)


def share_interval(hits: NDArray[np.bool_], groups: Groups | None = None) -> Interval:
    """Wilson's interval of a share; rows in groups count as as many independent ones as explain the spread.

    Args:
        hits: Whether each row counts, [n], n at least 1.
        groups: The example of each row, [n]; None: each row is one.
    """
    share, count = float(hits.mean()), float(len(hits))
    if groups is not None:
        found = _mean(hits.astype(np.float64), groups)
        count = float(len(np.unique(groups)))
        if found is not None and found[1] > 0:
            count = share * (1 - share) / found[1] ** 2
    z = float(stats.norm.ppf(0.5 + LEVEL / 2))
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    low, high = max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
    return Interval(low, high, LEVEL, SAMPLED if groups is None else CLUSTERED)


def subset(interval: Interval | None, count: int) -> dict[str, Any]:
    """The interval as the fields of a reading, or why there is none."""
    if interval is not None and math.isfinite(interval.low) and math.isfinite(interval.high):
        return {"subset": interval}
    return {"no_interval": f"{count} examples are too few for a 95 % interval"}


def _mean(values: Floats, groups: Groups | None) -> tuple[float, float, int] | None:
    """Mean, its standard error, and the number of independent examples."""
    if groups is None:
        groups = np.arange(len(values))
    _, places = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(places, values), np.bincount(places)
    count = len(sums)
    if count < 2:
        return None
    mean = float(sums.sum() / sizes.sum())
    spread = float(np.square(sums - mean * sizes).sum()) * count / (count - 1)
    return mean, math.sqrt(spread) / float(sizes.sum()), count
