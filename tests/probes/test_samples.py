"""Intervals over examples: coverage on planted populations, and what dependence inside sequences does."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import optimize, stats

from algobias.probes.passes.samples import (
    Interval,
    mean_interval,
    quantile,
    quantile_interval,
    share_interval,
    skewed,
)

REPEATS = 1500


def coverage(draw: Callable[[np.random.Generator], Interval | None], truth: float) -> float:
    rng = np.random.default_rng(7)
    found = [draw(rng) for _ in range(REPEATS)]
    assert all(one is not None for one in found)
    return float(np.mean([one.low <= truth <= one.high for one in found if one is not None]))


def clustered(rng: np.random.Generator, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows in clusters of 2 to 9, half of the variance between clusters; marginally standard normal."""
    sizes = rng.integers(2, 10, clusters)
    groups = np.repeat(np.arange(clusters), sizes)
    common = rng.normal(size=clusters)
    return (common[groups] + rng.normal(size=len(groups))) / 2**0.5, groups


def test_mean_of_independent_rows() -> None:
    assert 0.92 <= coverage(lambda rng: mean_interval(rng.normal(3.0, 2.0, 12)), 3.0) <= 0.98
    assert 0.92 <= coverage(lambda rng: mean_interval(rng.exponential(1.0, 100)), 1.0) <= 0.98


def test_mean_of_symmetric_rows_is_students_interval() -> None:
    half = np.random.default_rng(0).normal(size=9)
    values = np.concatenate([1 + half, 1 - half])
    found = mean_interval(values)
    low, high = stats.t.interval(0.95, 17, values.mean(), stats.sem(values))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high))
    assert skewed(values) == ()


def test_mean_of_skewed_rows_is_the_wider_of_students_and_halls_interval() -> None:
    """Hall's bounds solve his cubic, which is inverted here by bisection."""
    values = np.random.default_rng(0).lognormal(sigma=2.5, size=40)
    n, mean, spread = 40, values.mean(), values.std(ddof=1)
    g = n / ((n - 1) * (n - 2)) * ((values - mean) ** 3).sum() / spread**3
    wanted = stats.t.ppf(0.975, n - 1) / math.sqrt(n)

    def hall(z: float) -> float:
        def excess(t: float) -> float:
            return ((1 + g * t / 3) ** 3 - 1) / g + g / (6 * n) - z

        return optimize.brentq(excess, -5, 5, xtol=1e-14)

    found = mean_interval(values)
    assert found is not None
    assert found.high == pytest.approx(mean - spread * hall(-wanted), rel=1e-9)
    assert found.high > mean + spread * wanted
    assert found.low == pytest.approx(mean - spread * wanted, rel=1e-9)
    mirrored = mean_interval(-values)
    assert mirrored is not None
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))
    assert "its upper bound may be too low" in skewed(values)[0]
    assert "its lower bound may be too high" in skewed(-values)[0]


LAWS = {"exponential": 1.0, "lognormal": math.exp(0.5), "squared normal": 1.0}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("n", [16, 150])
def test_means_of_heavy_tailed_rows_are_covered(law: str, n: int) -> None:
    rng = np.random.default_rng(1)
    draw = {
        "exponential": lambda: rng.exponential(size=n),
        "lognormal": lambda: rng.lognormal(size=n),
        "squared normal": lambda: rng.normal(size=n) ** 2,
    }[law]
    found = [mean_interval(draw()) for _ in range(1000)]
    covered = np.mean([one is not None and one.low <= LAWS[law] <= one.high for one in found])
    assert (0.91 if law == "lognormal" else 0.94) <= covered <= 0.985


def test_weights_of_rows_are_repetitions_of_groups() -> None:
    values = np.random.default_rng(0).exponential(size=12)
    weights = np.arange(1.0, 13.0)
    groups = np.repeat(np.arange(12), weights.astype(int))
    repeated = mean_interval(values[groups], groups)
    weighed = mean_interval(values, weights=weights)
    assert repeated is not None
    assert weighed is not None
    assert (weighed.low, weighed.high) == pytest.approx((repeated.low, repeated.high))


def test_mean_of_rows_in_clusters() -> None:
    assert 0.92 <= coverage(lambda rng: mean_interval(*clustered(rng, 40)), 0.0) <= 0.98
    assert coverage(lambda rng: mean_interval(clustered(rng, 40)[0]), 0.0) < 0.85


@pytest.mark.parametrize("level", [0.1, 0.5])
def test_quantile_of_independent_rows(level: float) -> None:
    truth = float(stats.expon.ppf(level))
    share = coverage(lambda rng: quantile_interval(rng.exponential(1.0, 300), level), truth)
    assert 0.92 <= share <= 0.98


@pytest.mark.parametrize("level", [0.1, 0.5])
def test_quantile_of_rows_in_clusters(level: float) -> None:
    truth = float(stats.norm.ppf(level))

    def draw(rng: np.random.Generator) -> Interval | None:
        values, groups = clustered(rng, 100)
        return quantile_interval(values, level, groups)

    assert 0.92 <= coverage(draw, truth) <= 0.98
    assert coverage(lambda rng: quantile_interval(clustered(rng, 100)[0], 0.5), 0.0) < 0.88


def test_order_statistics_are_those_of_the_binomial() -> None:
    values = np.arange(1.0, 101.0)
    found = quantile_interval(values, 0.1)
    assert found is not None
    low, high = int(found.low), int(found.high)
    inside = stats.binom.cdf(high - 1, 100, 0.1) - stats.binom.cdf(low - 1, 100, 0.1)
    assert inside >= 0.95
    for narrower in ((low + 1, high), (low, high - 1)):
        tails = stats.binom.cdf(narrower[0] - 1, 100, 0.1), stats.binom.sf(narrower[1] - 1, 100, 0.1)
        assert max(tails) > 0.025


def test_too_few_rows_have_no_interval() -> None:
    assert quantile_interval(np.arange(35.0), 0.1) is None
    assert quantile_interval(np.arange(36.0), 0.1) is not None
    assert mean_interval(np.ones(1)) is None
    assert mean_interval(np.arange(6.0), np.zeros(6, dtype=np.int64)) is None
    assert quantile_interval(np.arange(60.0), 0.5, np.repeat(np.arange(10), 6)) is None


@pytest.mark.parametrize(("share", "n"), [(0.5, 40), (0.9, 100), (0.98, 300)])
def test_share_of_independent_rows(share: float, n: int) -> None:
    assert 0.92 <= coverage(lambda rng: share_interval(rng.random(n) < share), share) <= 0.98


def test_share_of_rows_in_clusters() -> None:
    def draw(rng: np.random.Generator) -> Interval:
        values, groups = clustered(rng, 60)
        return share_interval(values < 0.5, groups)

    assert 0.92 <= coverage(draw, float(stats.norm.cdf(0.5))) <= 0.98


def test_share_is_wilsons_interval() -> None:
    found = share_interval(np.array([True] * 8 + [False] * 2))
    expected = stats.binomtest(8, 10).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    none = share_interval(np.zeros(20, dtype=bool))
    assert none.low == 0
    assert 0.1 < none.high < 0.2


def test_quantiles_beside_infinities() -> None:
    values = np.array([0.0, 1.0, 2.0, np.inf])
    assert quantile(values, 0.5) == pytest.approx(np.quantile([0.0, 1.0, 2.0, 1e9], 0.5))
    assert quantile(values, 0.9) == np.inf
    assert quantile(-values, 0.1) == -np.inf
    normal = np.random.default_rng(1).normal(size=101)
    for level in (0.013, 0.1, 0.5, 0.77):
        assert quantile(normal, level) == pytest.approx(np.quantile(normal, level))
