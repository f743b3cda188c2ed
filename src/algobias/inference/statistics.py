"""Intervals of the decisions.

Everything a verdict rests on is a difference of means with a Student t-interval: over paired seeds, or
Welch's where two arms have no seeds in common. That a difference is small is also asked of a bound which
allows for skewness (Hall 1992), and no spread is taken to be smaller than the rounding of the metric.
Pure functions of numpy arrays and floats; no state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]


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


QUIET = np.errstate(over="ignore", invalid="ignore")
"""Numbers that are not finite, or leave the range of floats, make an estimate that claims nothing: that is
no matter for a warning of numpy."""

MOST_DF = 1e9
"""Student's t with so many degrees of freedom is the normal distribution."""


class Estimate(NamedTuple):
    """An estimated mean or difference of means.

    Attributes:
        mean: The estimate.
        se: Its standard error.
        df: Degrees of freedom.
        n: Replicates it rests on.
        skew: Skewness of the estimate, third moment over ``se^3``; 0 below three replicates.
    """

    mean: float
    se: float
    df: float
    n: int
    skew: float = 0.0

    def with_error(self, error: float) -> Estimate:
        """The estimate with one more source of error, which is the same for all replicates.

        Variances add up; the degrees of freedom are Welch's and Satterthwaite's, with those of the new error
        unlimited; so do third moments, of which it has none.

        Args:
            error: Its standard error.
        """
        if not error or not self.df >= 1:
            return self
        se = math.hypot(self.se, error)
        share = self.se / se
        df = self.df / share**4 if share > 0 else math.inf
        return Estimate(self.mean, se, min(df, MOST_DF), self.n, self.skew * share**3)

    def over(self, n: int) -> Estimate:
        """What the estimate would be over ``n`` replicates that lie as these do.

        Args:
            n: Replicates, at least as many as there are.
        """
        root = math.sqrt(self.n / n)
        return Estimate(self.mean, self.se * root, self.df + n - self.n, n, self.skew * root)

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

    def upper(self, level: float) -> float:
        """The larger of Student's upper bound and the one corrected for skewness.

        Hall (1992, "On the removal of skewness by transformation", JRSS B 54) transforms the t statistic T
        to ``((1 + A T / 3)^3 - 1) / A + A / 6`` with A the skewness of the estimate, which is monotone and
        nearly free of skewness. Solved for the mean: ``mean - 3 se (cbrt(1 + A z) - 1) / A`` with
        ``z = -t(level, df) - A / 6``. A few seeds that lose much more than the others are seldom among six;
        the correction asks for room for them as soon as the sample leans that way.
        """
        student = self.bounds(level)[1]
        if self.skew == 0 or not self.df >= 1:
            return student
        z = -t_quantile(level, self.df) - self.skew / 6
        hall = self.mean - 3 * self.se * (math.cbrt(1 + self.skew * z) - 1) / self.skew
        return max(student, hall)


@lru_cache(maxsize=4096)
def t_quantile(level: float, df: float) -> float:
    """Upper ``level`` quantile of Student's t with ``df`` degrees of freedom."""
    return -float(stdtrit(df, level))


@lru_cache(maxsize=4096)
def t_reach(coverage: float, df: float) -> float:
    """How many standard errors a two-sided Student's t interval of that coverage reaches on each side."""
    return float(stdtrit(df, 0.5 + coverage / 2))


@QUIET
def paired(differences: Floats, resolution: float = 0.0) -> Estimate:
    """Mean of paired differences, [n], with n - 1 degrees of freedom.

    Args:
        differences: One for each pair.
        resolution: Smallest step r of the metric. Two rounded values differ by their rounding, whose variance
            is ``r^2 / 6``: that of a difference is never taken to be smaller.
    """
    return _mean(differences, resolution**2 / 6)


def _mean(values: Floats, least: float) -> Estimate:
    """Mean of a sample whose variance is at least ``least``."""
    n = len(values)
    if n == 0:
        return Estimate(math.nan, math.nan, 0, 0)
    mean = float(np.add.reduce(values)) / n
    if n == 1:
        return Estimate(mean, math.nan, 0, 1)
    off = values - mean
    se = math.sqrt(max(float(off @ off) / (n - 1), least) / n)
    return Estimate(mean, se, n - 1, n, _third_moment(off) / _power(se, 3) if se > 0 and n > 2 else 0.0)


def _power(value: float, exponent: int) -> float:
    """A power of a number that is not negative, inf where it leaves the range of floats."""
    try:
        power: float = value**exponent
    except OverflowError:
        return math.inf
    return power


def _third_moment(off: Floats) -> float:
    """Third central moment of the mean of a sample, ``k3 / n^2``, from its deviations (n > 2)."""
    n = len(off)
    return float(off @ off**2) / ((n - 1) * (n - 2) * n)


@QUIET
def welch(a: Floats, b: Floats, resolution: float = 0.0) -> Estimate:
    """Difference of the means of two unpaired samples (Welch 1947), ``n`` the smaller of the two sizes.

    ``se^2 = s_a^2 / n_a + s_b^2 / n_b``; degrees of freedom by Welch and Satterthwaite; skewness
    ``(k3_a / n_a^2 - k3_b / n_b^2) / se^3`` with k3 the third k-statistics.

    Args:
        a: First sample.
        b: Second sample.
        resolution: Smallest step r of the metric; no variance is taken to be below ``r^2 / 12``.
    """
    one, two = (_mean(sample, resolution**2 / 12) for sample in (a, b))
    n = min(one.n, two.n)
    if n < 2:
        return Estimate(one.mean - two.mean, math.nan, 0, n)
    squared = _power(one.se, 2) + _power(two.se, 2)
    bottom = _power(one.se, 4) / one.df + _power(two.se, 4) / two.df
    df = _power(squared, 2) / bottom if bottom > 0 else one.df + two.df
    se = math.sqrt(squared)
    moments = one.skew * _power(one.se, 3) - two.skew * _power(two.se, 3)
    skew = moments / _power(se, 3) if se > 0 and n > 2 else 0.0
    return Estimate(one.mean - two.mean, se, df, n, skew)


@QUIET
def fieller(
    top: Floats,
    bottom: Floats,
    level: float,
    least: tuple[float, float] = (0.0, 0.0),
    extra: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Interval:
    """Interval for the ratio of the means of two paired samples (Fieller 1954).

    All ratios r for which ``mean(top) - r mean(bottom)`` is not significantly different from 0:
    ``(x - r y)^2 <= t^2 (s_xx - 2 r s_xy + r^2 s_yy) / n``. Where the denominator is itself not
    significantly different from 0 that set is unbounded and is given as (-inf, inf).

    Args:
        top: Numerators, [n].
        bottom: Denominators, [n].
        level: Error on each side.
        least: Variances of one numerator and of one denominator are at least these.
        extra: What errors that all replicates share add to the variance of the mean numerator, to the
            covariance, and to the variance of the mean denominator.
    """
    n = len(top)
    x, y = (float(np.add.reduce(v)) / n if n else math.nan for v in (top, bottom))
    if n < 2:
        return Interval(x / y if n and y else math.nan, -math.inf, math.inf, n)
    dx, dy = top - x, bottom - y
    scale = n * (n - 1)
    sxx, syy = (max(float(d @ d) / scale, floor / n) for d, floor in zip((dx, dy), least, strict=True))
    sxy = float(dx @ dy) / scale
    return fieller_from_moments(x, y, sxx + extra[0], sxy + extra[1], syy + extra[2], n - 1, n, level)


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


@QUIET
def population_interval(baseline: Floats, variant: Floats, level: float, resolution: float = 0.0) -> Interval:
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
        resolution: Smallest step of the metric, as in :func:`paired`.
    """
    difference = np.asarray(baseline, dtype=np.float64) - variant
    seeds = paired(difference.mean(1), resolution)
    items = paired(difference.mean(0))
    return Estimate(seeds.mean, math.hypot(seeds.se, items.se), seeds.df, seeds.n).interval(level)
