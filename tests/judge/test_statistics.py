"""Intervals and error levels against closed forms, direct solutions and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, stats

from algobias.inference import levels as schedules
from algobias.inference import power
from algobias.inference import statistics as st
from algobias.inference.levels import DEFAULT_LOOKS
from algobias.inference.statistics import Estimate, Interval

D = np.array([1.0, 2.0, 4.0, 5.0])


def test_paired_by_hand() -> None:
    found = st.paired(D)
    # mean 3, squares of deviations 4 + 1 + 1 + 4 = 10, sd^2 = 10/3, se^2 = 10/12
    assert found == Estimate(3.0, pytest.approx(math.sqrt(10 / 12)), 3, 4)
    half = 3.182446305284263 * math.sqrt(10 / 12)  # t table, 97.5 %, 3 degrees of freedom
    assert found.interval(0.025) == Interval(3.0, pytest.approx(3 - half), pytest.approx(3 + half), 4)


def test_too_few_replicates_have_no_bounds() -> None:
    assert st.paired(np.array([2.0])).bounds(0.05) == (-math.inf, math.inf)
    assert st.paired(np.array([])).interval(0.05).n == 0
    assert not st.paired(np.array([2.0])).interval(0.05).bounded


def test_welch_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(1, 1, 7), rng.normal(0, 3, 12)
    oracle = stats.ttest_ind(a, b, equal_var=False)
    found = st.welch(a, b)
    assert found.mean / found.se == pytest.approx(oracle.statistic)
    assert found.df == pytest.approx(oracle.df)
    low, high = oracle.confidence_interval(0.95)
    assert found.interval(0.025) == Interval(found.mean, pytest.approx(low), pytest.approx(high), 7)


def test_welch_of_constants() -> None:
    found = st.welch(np.ones(3), np.zeros(4))
    assert found.interval(0.025) == Interval(1.0, 1.0, 1.0, 3)


def test_error_levels() -> None:
    assert schedules.error_levels((20,)) == (0.05, 0.025)
    assert schedules.error_levels(DEFAULT_LOOKS) == (0.0147, 0.0069)
    assert schedules.error_levels((4, 8)) == schedules.error_levels((4, 8))


def test_the_simulation_finds_the_tabulated_levels() -> None:
    found = schedules.simulate_error_levels(DEFAULT_LOOKS)
    assert found.decision == pytest.approx(0.0147, rel=0.025)
    assert found.printed == pytest.approx(0.0069, rel=0.025)


def test_simulated_levels_err_at_five_percent_on_raw_data() -> None:
    # An independent simulation: all values drawn one by one, scipy's quantiles.
    looks = (3, 5, 8)
    levels = schedules.error_levels(looks)
    x = np.random.default_rng(8).standard_normal((60_000, looks[-1]))
    one_sided = np.zeros(len(x), dtype=bool)
    two_sided = np.zeros(len(x), dtype=bool)
    for n in looks:
        t = x[:, :n].mean(1) / (x[:, :n].std(1, ddof=1) / math.sqrt(n))
        one_sided |= t > stats.t.ppf(1 - levels.decision, n - 1)
        two_sided |= abs(t) > stats.t.ppf(1 - levels.printed, n - 1)
    slack = 4 * math.sqrt(0.05 * 0.95 / len(x))
    assert abs(one_sided.mean() - 0.05) < slack
    assert abs(two_sided.mean() - 0.05) < slack


def test_a_look_of_one_more_seed_can_be_simulated() -> None:
    levels = schedules.error_levels((4, 5))
    assert 0.025 < levels.decision < 0.05
    assert levels.printed < levels.decision


def fieller_direct(x: np.ndarray, y: np.ndarray, level: float) -> tuple[float, float]:
    """Ends of the set of ratios r at which mean(x - r y) is not significant, by bisection."""

    def excess(r: float) -> float:
        d = x - r * y
        n = len(d)
        return abs(d.mean()) / (d.std(ddof=1) / math.sqrt(n)) - stats.t.ppf(1 - level, n - 1)

    center = x.mean() / y.mean()
    ends = []
    for sign in (-1, 1):
        inside, step = center, 0.01
        while excess(center + sign * step) < 0:
            inside, step = center + sign * step, 2 * step
        outside = center + sign * step
        for _ in range(100):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if excess(middle) < 0 else (inside, middle)
        ends.append(inside)
    return ends[0], ends[1]


@pytest.mark.parametrize("seed", range(5))
def test_fieller_against_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.normal(2, 0.3, 9)
    x = 0.7 * y + rng.normal(0, 0.2, 9)
    low, high = fieller_direct(x, y, 0.0069)
    found = st.fieller(x, y, 0.0069)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))
    assert found.mean == pytest.approx(x.mean() / y.mean())


def test_fieller_is_unbounded_where_the_denominator_is_not_clear_of_zero() -> None:
    found = st.fieller(np.array([1.0, 2.0, 3.0]), np.array([-1.0, 2.0, 0.5]), 0.025)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert not found.bounded


def test_fieller_covers() -> None:
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(2000):
        y = rng.normal(1.0, 0.5, 6)
        x = 0.6 * y + rng.normal(0, 0.4, 6)
        found = st.fieller(x, y, 0.025)
        hits += found.low <= 0.6 <= found.high
    assert abs(hits / 2000 - 0.95) < 4 * math.sqrt(0.05 * 0.95 / 2000)


def coverage(narrower: float, repeats: int = 4000) -> float:
    """Coverage of the interval of a mean, scaled around it by a factor."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(repeats):
        found = st.paired(rng.normal(0.3, 1.0, 5)).interval(0.025)
        hits += abs(found.mean - 0.3) <= narrower * (found.high - found.mean)
    return hits / repeats


def test_interval_covers_and_a_narrower_one_would_be_noticed() -> None:
    slack = 4 * math.sqrt(0.05 * 0.95 / 4000)
    assert abs(coverage(1.0) - 0.95) < slack
    assert abs(coverage(0.8) - 0.95) > slack  # planted fault: a fifth too narrow


def test_sign_flip_by_enumeration() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 4, 5, 9):
        d = rng.normal(0.5, 1, n)
        signs = itertools.product((-1, 1), repeat=n)
        oracle = np.mean(
            [sum(s * x for s, x in zip(sign, d, strict=True)) >= d.sum() - 1e-12 for sign in signs]
        )
        assert st.sign_flip_p(tuple(d)) == pytest.approx(oracle)


def test_sign_flip_at_its_ends() -> None:
    assert st.sign_flip_p((0.1, 0.3, 0.2, 0.4)) == 1 / 16
    assert st.sign_flip_p((0.0,) * 6) == 1.0  # ties count as at least as large
    assert st.sign_flip_p((1.0,) * 41) is None
    assert st.sign_flip_p((1.0,) * 40) == 2.0**-40


def test_sign_flip_ties_survive_rounding() -> None:
    # Accuracies in steps: every pattern with the same sum must count, whatever the order of additions.
    d = (0.1, 0.2, 0.3, -0.1, 0.2)
    exact = [round(x * 10) for x in d]
    flips = itertools.product((-1, 1), repeat=5)
    oracle = np.mean([sum(s * x for s, x in zip(sign, exact, strict=True)) >= sum(exact) for sign in flips])
    assert st.sign_flip_p(d) == oracle


def decided(samples: np.ndarray, mean: float, tolerance: float, level: float) -> np.ndarray:
    """Which samples, [repeats, n], show what their true mean says: absent by both bounds, or present."""
    found = [st.paired(sample) for sample in samples]
    if mean < tolerance:
        return np.array([one.upper(level) < tolerance for one in found])
    return np.array([one.bounds(level)[0] > 0 for one in found])


@pytest.mark.parametrize(
    ("mean", "sd", "level"),
    [
        (0.2, 1.0, 0.0147),
        (1.5, 2.0, 0.0147),
        (-0.5, 4.0, 0.05),
        (0.9, 0.2, 0.0147),
        (0.2, 1.0, 0.05),
        (1.1, 3, 0.05),
    ],
)
def test_seeds_needed_decide_with_a_chance_of_80_percent(mean: float, sd: float, level: float) -> None:
    n = power.seeds_needed([(mean, sd)], 1.0, level)
    assert n is not None
    rng = np.random.default_rng(4)
    shares = [
        float(decided(rng.normal(mean, sd, (4000, size)), mean, 1.0, level).mean()) for size in (n, n - 2)
    ]
    slack = 4 * math.sqrt(0.8 * 0.2 / 4000)
    assert 0.8 - slack <= shares[0] <= 0.85 + slack
    assert shares[1] < 0.8 + slack


def test_seeds_needed_for_several_quantities_decide_all_of_them() -> None:
    parts = [(1.6, 1.5), (0.3, 1.0), (2.0, 2.5)]
    n = power.seeds_needed(parts, 1.0, 0.0147)
    assert n is not None
    rng = np.random.default_rng(5)
    every = [decided(rng.normal(mean, sd, (3000, n)), mean, 1.0, 0.0147) for mean, sd in parts]
    assert np.logical_and.reduce(every).mean() >= 0.8 - 4 * math.sqrt(0.8 * 0.2 / 3000)


def test_seeds_needed_at_its_ends() -> None:
    assert power.seeds_needed([(0.99, 5.0)], 1.0, 0.05) is None
    assert power.seeds_needed([(0.0, 0.0)], 1.0, 0.05, 6) == 6  # nothing is absent over fewer
    assert power.seeds_needed([(5.0, 0.0)], 1.0, 0.05, 6) == 2


def hall_by_bisection(values: np.ndarray, level: float) -> float:
    """Upper bound from Hall's transformation, which is monotone, solved numerically."""
    n, mean, sd = len(values), values.mean(), values.std(ddof=1)
    g = stats.skew(values, bias=False) * 1.0
    wanted = stats.t.ppf(level, n - 1) / math.sqrt(n)

    def phi(t: float) -> float:
        return ((1 + g * t / 3) ** 3 - 1) / g + g / (6 * n)

    return float(mean - sd * optimize.brentq(lambda t: phi(t) - wanted, -1e4, 1e4, xtol=1e-13))


@pytest.mark.parametrize("sign", [1, -1])
def test_upper_bound_is_the_larger_of_students_and_halls(sign: int) -> None:
    rng = np.random.default_rng(6)
    larger = 0
    for _ in range(40):
        values = sign * rng.lognormal(0, 1, 13)
        found = st.paired(values)
        student, hall = found.bounds(0.0147)[1], hall_by_bisection(values, 0.0147)
        assert found.upper(0.0147) == pytest.approx(max(student, hall), rel=1e-9)
        larger += hall > student
    # A long tail of losses asks for more room, one of gains for none.
    assert larger > 35 if sign > 0 else larger == 0


def test_upper_bound_at_its_ends() -> None:
    assert st.paired(D).upper(0.05) == st.paired(D).bounds(0.05)[1]  # symmetric
    two = st.paired(np.array([0.0, 5.0]))
    assert two.upper(0.05) == two.bounds(0.05)[1]  # no skewness of two values
    assert st.paired(np.ones(5)).upper(0.05) == 1.0
    assert st.paired(np.array([2.0])).upper(0.05) == math.inf


def test_unpaired_upper_bound_by_its_formula() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.lognormal(0, 1, 18), rng.normal(0, 0.5, 16)
    found = st.welch(a, b)
    third = [stats.kstat(x, 3) / len(x) ** 2 for x in (a, b)]
    skew = (third[0] - third[1]) / found.se**3
    assert found.skew == pytest.approx(skew)
    z = -stats.t.ppf(1 - 0.05, found.df) - skew / 6
    bound = found.mean - found.se * 3 * (np.cbrt(1 + skew * z) - 1) / skew
    assert found.upper(0.05) == pytest.approx(max(bound, found.bounds(0.05)[1]))
    assert bound > found.bounds(0.05)[1]


def test_the_skewness_correction_is_needed_on_lognormal_losses() -> None:
    # True mean at the tolerance: how often is the difference said to be below it, over 13 seeds?
    rng = np.random.default_rng(3)
    mean, sd = math.exp(0.5), math.sqrt((math.e - 1) * math.e)
    samples = (rng.lognormal(0, 1, (4000, 13)) - mean) / sd + 1.25
    found = [st.paired(sample) for sample in samples]
    student = np.mean([one.bounds(0.0147)[1] < 1.25 for one in found])
    both = np.mean([one.upper(0.0147) < 1.25 for one in found])
    assert student > 0.07
    assert both < 0.05


def test_variance_is_at_least_that_of_rounding() -> None:
    # Four seeds, all differences one step of the metric: rounding alone has sd r / sqrt(6).
    found = st.paired(np.ones(4), 1.0)
    assert (found.mean, found.se, found.skew) == (1.0, pytest.approx(math.sqrt(1 / 6 / 4)), 0.0)
    assert st.paired(D, 0.5) == st.paired(D)  # the spread is wider than the rounding
    apart = st.welch(np.ones(4), np.zeros(4), 1.0)
    assert apart.se == pytest.approx(found.se)


def test_rounded_differences_are_covered_where_the_sample_shows_no_spread() -> None:
    # 100 test examples, right or wrong: paired differences in steps of one, sd 0.3 before rounding.
    rng = np.random.default_rng(9)
    truth, inside, plain = 0.31, 0, 0
    for _ in range(4000):
        arms = 90 + rng.uniform(-0.5, 0.5) + rng.normal(0, 0.3 / math.sqrt(2), (2, 6))
        differences = np.round(arms[0]) - np.round(arms[1] - truth)
        for resolution in (0.0, 1.0):
            low, high = st.paired(differences, resolution).bounds(0.025)
            inside += resolution > 0 and low <= truth <= high
            plain += resolution == 0 and low <= truth <= high
    slack = 4 * math.sqrt(0.05 * 0.95 / 4000)
    assert inside / 4000 > 0.95 - slack
    assert plain / 4000 < 0.95 - slack


def test_population_interval_by_hand() -> None:
    baseline = np.array([[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0]])
    variant = np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    # differences: seeds 0.5 and 0.5 (sd 0); items (0, 1, 0.5, 0.5): mean 0.5, sd^2 = 0.5 / 3
    found = st.population_interval(baseline, variant, 0.025)
    half = stats.t.ppf(0.975, 1) * math.sqrt(0.5 / 3 / 4)
    assert found == Interval(0.5, pytest.approx(0.5 - half), pytest.approx(0.5 + half), 2)


def test_population_interval_is_wider_than_the_one_for_this_test_set() -> None:
    rng = np.random.default_rng(2)
    easy = rng.uniform(0.5, 1, 400)
    baseline = rng.uniform(size=(6, 400)) < easy
    variant = rng.uniform(size=(6, 400)) < easy - 0.1
    here = st.paired((baseline * 1.0 - variant).mean(1)).interval(0.025)
    everywhere = st.population_interval(baseline * 1.0, variant * 1.0, 0.025)
    assert everywhere.mean == pytest.approx(here.mean)
    assert everywhere.high - everywhere.low > here.high - here.low
