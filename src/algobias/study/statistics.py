"""Intervals and error levels of the decisions.

Everything a verdict rests on is a difference of means with a Student t-interval: over paired seeds, or
Welch's where two arms have no seeds in common. Pure functions of numpy arrays and floats; no state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from algobias.study.design import DEFAULT_LOOKS

Floats = NDArray[np.float64]

SIMULATED = 400_000
"""Repeats behind an error level that is not tabulated; its relative standard error is below 1 %."""

MOST_SEEDS = 1000
"""Largest number of seeds that :func:`seeds_needed` considers."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval.

    Attributes:
        mean: Point estimate.
        low: Lower end, -inf where unbounded.
        high: Upper end, inf where unbounded.
        n: Replicates it rests on.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def bounded(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)


class Errors(NamedTuple):
    """Error levels of a schedule of looks.

    Attributes:
        decision: One-sided level of each bound at each look; 5 % over all looks together.
        printed: Level per side of the printed interval at the stopping look; it covers at 95 %
            simultaneously over the looks.
    """

    decision: float
    printed: float


class Estimate(NamedTuple):
    """Mean, its standard error, degrees of freedom and number of replicates."""

    mean: float
    se: float
    df: float
    n: int

    def interval(self, level: float) -> Interval:
        """The t-interval with error ``level`` on each side."""
        low, high = self.bounds(level)
        return Interval(self.mean, low, high, self.n)

    def bounds(self, level: float) -> tuple[float, float]:
        """Lower and upper one-sided t-bounds, each at error ``level``."""
        if self.df < 1:
            return -math.inf, math.inf
        half = t_quantile(level, self.df) * self.se
        return self.mean - half, self.mean + half


@lru_cache(maxsize=4096)
def t_quantile(level: float, df: float) -> float:
    """Upper ``level`` quantile of Student's t with ``df`` degrees of freedom."""
    return -float(stdtrit(df, level))


def paired(differences: Floats) -> Estimate:
    """Mean of paired differences, [n], with n - 1 degrees of freedom."""
    n = len(differences)
    if n == 0:
        return Estimate(math.nan, math.nan, 0, 0)
    mean = float(np.add.reduce(differences)) / n
    if n == 1:
        return Estimate(mean, math.nan, 0, 1)
    off = differences - mean
    return Estimate(mean, math.sqrt(float(off @ off) / (n * (n - 1))), n - 1, n)


def welch(a: Floats, b: Floats) -> Estimate:
    """Difference of the means of two unpaired samples (Welch 1947), ``n`` the smaller of the two sizes.

    ``se^2 = s_a^2 / n_a + s_b^2 / n_b``; degrees of freedom by Welch and Satterthwaite.
    """
    one, two = paired(a), paired(b)
    n = min(one.n, two.n)
    if n < 2:
        return Estimate(one.mean - two.mean, math.nan, 0, n)
    squared = one.se**2 + two.se**2
    bottom = one.se**4 / one.df + two.se**4 / two.df
    df = squared**2 / bottom if bottom > 0 else one.df + two.df
    return Estimate(one.mean - two.mean, math.sqrt(squared), df, n)


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


def fieller(top: Floats, bottom: Floats, level: float) -> Interval:
    """Interval for the ratio of the means of two paired samples (Fieller 1954).

    All ratios r for which ``mean(top) - r mean(bottom)`` is not significantly different from 0:
    ``(x - r y)^2 <= t^2 (s_xx - 2 r s_xy + r^2 s_yy) / n``. Where the denominator is itself not
    significantly different from 0 that set is unbounded and is given as (-inf, inf).

    Args:
        top: Numerators, [n].
        bottom: Denominators, [n].
        level: Error on each side.
    """
    n = len(top)
    x, y = (float(np.add.reduce(v)) / n if n else math.nan for v in (top, bottom))
    if n < 2:
        return Interval(x / y if n and y else math.nan, -math.inf, math.inf, n)
    dx, dy = top - x, bottom - y
    scale = n * (n - 1)
    sxx, sxy, syy = float(dx @ dx) / scale, float(dx @ dy) / scale, float(dy @ dy) / scale
    return fieller_from_moments(x, y, sxx, sxy, syy, n - 1, n, level)


def fieller_from_moments(
    x: float, y: float, sxx: float, sxy: float, syy: float, df: float, n: int, level: float
) -> Interval:
    """Fieller's interval for x / y from estimates and the covariance matrix of these estimates."""
    ratio = x / y if y else math.nan
    if not df >= 1:
        return Interval(ratio, -math.inf, math.inf, n)
    t2 = t_quantile(level, df) ** 2
    a, b, c = y * y - t2 * syy, x * y - t2 * sxy, x * x - t2 * sxx
    if a <= 0 or y == 0:
        return Interval(ratio, -math.inf, math.inf, n)
    # With a > 0 the ratio itself satisfies the inequality, so the root is real but for rounding.
    root = math.sqrt(max(0.0, b * b - a * c))
    return Interval(ratio, (b - root) / a, (b + root) / a, n)


@lru_cache(maxsize=64)
def sign_flip_p(differences: tuple[float, ...]) -> float | None:
    """Exact one-sided sign-flip p-value: the share of the 2^n sign patterns with at least this mean.

    Needs only that under "no gap" each difference is symmetric around 0. The smallest possible value is
    2^-n, so below 5 seeds it can never be under 5 %. Counted by meeting in the middle, O(n 2^(n/2));
    None above 40 seeds.
    """
    n = len(differences)
    if not 1 <= n <= 40:
        return None
    values = np.asarray(differences)
    left, right = (_signed_sums(half) for half in (values[: n // 2], values[n // 2 :]))
    right.sort()
    # Sums that differ by rounding only count as ties, as they would in exact arithmetic.
    bar = float(values.sum()) - 1e-9 * float(np.abs(values).sum())
    at_least = len(right) - np.searchsorted(right, bar - left, side="left")
    return float(at_least.sum()) / 2.0**n


def _signed_sums(values: Floats) -> Floats:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate((sums + value, sums - value))
    return sums


def seeds_needed(mean: float, sd: float, tolerance: float, level: float) -> int | None:
    """Smallest number of paired seeds at which a quantity with this mean and sd would be decided.

    ``absent`` (upper bound below the tolerance) where the mean is below it, else ``present`` (lower
    bound above 0). None above :data:`MOST_SEEDS`.
    """
    room = tolerance - mean if mean < tolerance else mean
    n = np.arange(2, MOST_SEEDS + 1)
    enough = _half_widths(level) * sd < room
    return int(n[enough.argmax()]) if enough.any() else None


@lru_cache(maxsize=64)
def _half_widths(level: float) -> Floats:
    n = np.arange(2, MOST_SEEDS + 1)
    widths: Floats = -stdtrit(n - 1.0, level) / np.sqrt(n)
    return widths


def population_interval(baseline: Floats, variant: Floats, level: float) -> Interval:
    """Interval of the gap for the population that the test examples were drawn from.

    The ordinary interval is a claim about this test set: only the seed is random. Here the examples are
    random too: ``SE^2 = s_seed^2 / n + s_item^2 / N``, with ``s_seed`` the sd over seeds of the mean
    difference and ``s_item`` the sd over examples of the difference averaged over seeds (Bouthillier et
    al. 2021; Jordan 2023 for the split of the variance). The seed-by-example part is in both terms, so
    the interval errs on the wide side. n - 1 degrees of freedom.

    Args:
        baseline: Test metric of every example, [n, N].
        variant: The same examples and seeds, [n, N].
        level: Error on each side.
    """
    difference = np.asarray(baseline, dtype=np.float64) - variant
    seeds = paired(difference.mean(1))
    items = paired(difference.mean(0))
    return Estimate(seeds.mean, math.hypot(seeds.se, items.se), seeds.df, seeds.n).interval(level)
