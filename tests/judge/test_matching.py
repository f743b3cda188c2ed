"""The test metric at a level of fit, against a naive reading of each row."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from algobias.judge.arm import FIRST_POINT, Arm, FitScale, Path
from algobias.judge.matching import curve_arm, frontier_arm
from algobias.runs.outcome import Outcome
from scripted import outcome

LOSS = FitScale()


def arm_of(*outcomes: Outcome, to_planned: bool = False, scale: FitScale = LOSS) -> Arm:
    return curve_arm([Path(1.0, one) for one in outcomes], scale, to_planned)


def naive(loss: list[float], test: list[float], level: float) -> float:
    """The rule, one check at a time."""
    for k, value in enumerate(loss):
        if not (math.isfinite(value) and math.isfinite(test[k]) and value <= level):
            continue
        before = k - 1
        if before < 0 or not (math.isfinite(loss[before]) and math.isfinite(test[before])):
            return test[k] if math.log(value) >= math.log(level) - FIRST_POINT else math.nan
        span = math.log(loss[before]) - math.log(value)
        if span <= 0:  # a difference that the logarithm rounds away
            return test[k]
        share = (math.log(loss[before]) - math.log(level)) / span
        return test[before] + share * (test[k] - test[before])
    return math.nan


def test_by_hand() -> None:
    arm = arm_of(outcome([1.0, 0.1, 0.01], [50.0, 80.0, 90.0]))
    assert arm.at_level(math.log(0.1)) == pytest.approx([80.0])
    assert arm.at_level(math.log(math.sqrt(0.1 * 0.01))) == pytest.approx([85.0])
    assert arm.at_level(math.log(0.01)) == pytest.approx([90.0])
    assert np.isnan(arm.at_level(math.log(0.009))).all()


def test_the_first_crossing_counts() -> None:
    arm = arm_of(outcome([1.0, 0.1, 0.5, 0.05], [50.0, 80.0, 10.0, 20.0]))
    assert arm.at_level(math.log(0.1)) == pytest.approx([80.0])


def test_a_row_that_starts_below_the_level() -> None:
    arm = arm_of(outcome([0.1, 0.01], [80.0, 90.0]))
    assert arm.at_level(math.log(0.15)) == pytest.approx([80.0])  # near: its first check stands in
    assert np.isnan(arm.at_level(math.log(0.25))).all()  # far: nothing is known about it
    assert arm.stand_ins(math.log(0.15)) == 1
    assert arm.stand_ins(math.log(0.1)) == 0


numbers = some.floats(1e-6, 10.0)
rows = some.lists(
    some.lists(
        some.tuples(some.one_of(numbers, some.sampled_from([math.inf, math.nan])), some.floats(0, 100)),
        min_size=1,
        max_size=10,
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(rows, numbers)
def test_vectorised_reading_equals_the_naive_one(rows: list[list[tuple[float, float]]], level: float) -> None:
    outcomes = [outcome([loss for loss, _ in row], [m for _, m in row]) for row in rows]
    found = arm_of(*outcomes).at_level(math.log(level))
    for row, value in zip(rows, found, strict=True):
        expected = naive([loss for loss, _ in row], [m for _, m in row], level)
        known = [math.log(loss / level) for loss, _ in row if 0 < loss < math.inf]
        # Rounding decides where a check is exactly at the level, or exactly at the edge of standing in.
        if all(abs(off) > 1e-9 and abs(off + FIRST_POINT) > 1e-9 for off in known):
            assert value == pytest.approx(expected, nan_ok=True, abs=1e-6)


@pytest.mark.parametrize("unknown", [math.nan, math.inf])
def test_a_check_after_one_without_a_metric_is_read_alone(unknown: float) -> None:
    arm = arm_of(outcome([1.0, 0.2, 0.1], [50.0, unknown, 80.0]))
    assert arm.at_level(math.log(0.15)) == pytest.approx([80.0])


def test_a_run_of_unknown_trivial_metric_scores_its_own_worst_check() -> None:
    """Whatever the lengths of the runs beside it."""
    short = outcome([1.0, math.inf], [30.0, 20.0], diverged=True, trivial=math.nan)
    long = outcome([1.0, 0.1, 0.01], [50.0, 80.0, 90.0], trivial=math.nan)
    assert arm_of(short, long).end_metric == pytest.approx([20.0, 90.0])
    assert short.end_metric == 20.0


def test_one_level_per_row() -> None:
    arm = arm_of(outcome([1.0, 0.1], [50.0, 80.0]), outcome([1.0, 0.1], [60.0, 70.0]))
    assert arm.at_level(np.log([1.0, 0.1])) == pytest.approx([50.0, 70.0])
    assert np.isnan(arm.at_level(np.array([math.inf, -math.inf]))).all()


def test_a_diverged_run_scores_its_trivial_metric_and_an_infinite_loss() -> None:
    arm = arm_of(outcome([1.0, math.nan], [50.0, 49.0], diverged=True, trivial=9.5))
    assert arm.end_metric == pytest.approx([9.5])
    assert arm.end_fit[0] == math.inf
    assert not arm.finite[0]


def test_a_diverged_run_without_a_trivial_metric_scores_its_worst_check() -> None:
    arm = arm_of(outcome([1.0, math.inf], [30.0, math.nan], diverged=True, trivial=math.nan))
    assert arm.end_metric == pytest.approx([30.0])


def test_divergence_after_the_planned_end_leaves_the_planned_end() -> None:
    run = outcome([1.0, 0.1, math.inf], [50.0, 80.0, 10.0], planned=1, diverged=True)
    arm = arm_of(run)
    assert arm.end_metric == pytest.approx([80.0])
    assert not arm.finite[0]
    assert arm_of(run, to_planned=True).finite[0]


def test_the_baseline_is_read_to_its_planned_end_only() -> None:
    run = outcome([1.0, 0.1, 0.01], [50.0, 80.0, 90.0], planned=1)
    assert math.exp(arm_of(run, to_planned=True).reach[0]) == pytest.approx(0.1)
    assert math.exp(arm_of(run).reach[0]) == pytest.approx(0.01)


def test_losses_of_zero_and_below() -> None:
    assert arm_of(outcome([1.0, 0.0], [50.0, 80.0])).valid.tolist() == [True]
    mixed = arm_of(outcome([1.0, 0.5], [50.0, 80.0]), outcome([1.0, -0.5], [50.0, 80.0]))
    assert mixed.valid.tolist() == [True, False]
    assert mixed.first(1).valid.all(), "a later replicate must not change what an earlier look sees"


def test_frontier_reads_ends_in_order_of_length() -> None:
    runs = [
        Path(length, outcome([loss], [test]))
        for length, loss, test in [(0.5, 0.2, 70.0), (1.0, 0.1, 80.0), (2.0, 0.05, 90.0)]
    ]
    arm = frontier_arm([runs], LOSS)
    assert arm.end_metric == pytest.approx([80.0])
    assert arm.at_level(math.log(math.sqrt(0.2 * 0.1))) == pytest.approx([75.0])
    assert math.exp(arm.reach[0]) == pytest.approx(0.05)


def test_shorter_schedules_do_not_lower_what_a_seed_reaches() -> None:
    runs = [Path(0.5, outcome([0.01], [70.0])), Path(1.0, outcome([0.1], [80.0]))]
    assert math.exp(frontier_arm([runs], LOSS).reach[0]) == pytest.approx(0.1)


def test_fit_from_a_training_accuracy() -> None:
    runs = [outcome([1.0, 1.0], [50.0, 80.0], [90.0, 100.0])]
    scale = FitScale.of_metric(runs, examples=800)
    assert (scale.best, scale.floor) == (100.0, pytest.approx(100 * 0.5 / 800))
    arm = arm_of(*runs, scale=scale)
    assert np.exp(arm.log_fit[0]) == pytest.approx([10.0, 0.0625])
    assert scale.target(10.0) == pytest.approx(90.0)
    assert scale.target(10.0) < 90.0
    assert FitScale.of_metric(runs, examples=None).floor == 0.05


def test_fit_from_minus_nats_and_from_an_unknown_scale() -> None:
    nats = [outcome([1.0, 1.0], [50.0, 80.0], [-2.0, -0.5])]
    scale = FitScale.of_metric(nats, None)
    assert scale.best == 0.0
    assert np.exp(arm_of(*nats, scale=scale).log_fit[0]) == pytest.approx([2.0, 0.5])
    for values in ([0.1, 0.9], [-1.0, 3.0], [math.nan, math.nan], [5.0, 300.0]):
        unknown = FitScale.of_metric([outcome([1.0, 1.0], [5.0, 8.0], values)], None)
        assert unknown.best is None
        assert not arm_of(*nats, scale=unknown).valid.any()


def test_a_transplant_is_not_read_before_anything_was_done_to_it() -> None:
    """Rows that start at 0.02, 0.06 and 0.2 where the level is 0.1: the first two show another run."""
    rows = [Path(1.0, outcome([start, 0.01], [50.0, 90.0], updates=[32, 64])) for start in (0.02, 0.06, 0.2)]
    own, transplanted = curve_arm(rows, FitScale()), curve_arm(rows, FitScale(), transplants=True)
    level = math.log(0.1)
    assert np.isfinite(own.at_level(level)).tolist() == [False, True, True], "as for any table of checks"
    assert np.isfinite(transplanted.at_level(level)).tolist() == [False, False, True]
    assert np.isfinite(transplanted.take([2, 1]).at_level(level)).tolist() == [True, False]
