"""Recovery of a gap by a control: hand-made arms, requests, costs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from algobias.inference.levels import Errors
from algobias.inference.statistics import Interval, fieller, paired
from algobias.judge.arm import Arm, FitScale, Path
from algobias.judge.costs import costs_to
from algobias.judge.design import Design, Request
from algobias.judge.matching import curve_arm, frontier_arm
from algobias.judge.recovery import Recovery, one_minus_ratio, recovery
from algobias.runs.cost import Cost
from algobias.runs.outcome import Outcome
from scripted import PLANNED, Lab, outcome, wiggle

ERRORS = Errors(0.05, 0.025)


def arm_of(*outcomes: Outcome) -> Arm:
    return curve_arm([Path(1.0, one) for one in outcomes], FitScale())


def ends(*metrics: float, loss: float = 0.01) -> Arm:
    return arm_of(*[outcome([1.0, loss], [50.0, metric]) for metric in metrics])


def recover(b: Arm, v: Arm, vt: Arm, bt: Arm, **options: object) -> Recovery:
    given = {
        "at": "planned_end",
        "reference": 0.01,
        "level": 0.01,
        "tolerance": 1.0,
        "errors": ERRORS,
        "fewest": 4,
        **options,
    }
    return recovery(b, v, vt, bt, **given)


def test_by_hand() -> None:
    b, v = ends(90, 91, 90, 91), ends(86, 87, 86.5, 86.5)
    vt, bt = ends(89, 90, 89.5, 89.5), ends(91, 92, 91, 92)
    found = recover(b, v, vt, bt)
    # gap 4, treated gap 1, treated baseline - treated variant 2
    assert found.recovered is not None
    assert found.against_treated_baseline is not None
    assert found.recovered.mean == pytest.approx(1 - 1 / 4)
    assert found.against_treated_baseline.mean == pytest.approx(1 - 2 / 4)
    assert found.general is False
    top, bottom = np.array([1, 1, 0.5, 1.5]), np.array([4, 4, 3.5, 4.5])
    ratio = fieller(top, bottom, 0.025)
    assert (found.recovered.low, found.recovered.high) == (
        pytest.approx(1 - ratio.high),
        pytest.approx(1 - ratio.low),
    )
    assert found.treated_gap.mean == pytest.approx(1.0)
    assert found.improvement.mean == pytest.approx(3.0)
    assert found.verdict == "partial"


@pytest.mark.parametrize(
    ("treated", "name"),
    [
        ((89.8, 90.9, 89.9, 90.8), "recovered"),
        ((93, 94, 93, 94), "recovered"),
        ((88, 89, 88.2, 88.8), "partial"),
        ((86, 87.2, 86.3, 86.5), "none"),
        ((80, 81, 80, 81.5), "harmful"),
    ],
)
def test_names(treated: tuple[float, ...], name: str) -> None:
    b, v = ends(90, 91, 90, 91), ends(86, 87, 86.5, 86.5)
    assert recover(b, v, ends(*treated), b).verdict == name


def test_a_treated_gap_is_absent_over_enough_seeds_and_by_both_bounds() -> None:
    b, v = ends(90, 91, 90, 91), ends(86, 87, 86.5, 86.5)
    close = ends(89.8, 90.9, 89.9, 90.8)
    assert recover(b, v, close, b).verdict == "recovered"
    assert recover(b, v, close, b, fewest=6).verdict == "partial"
    # One seed in eight loses: Student's upper bound is below the tolerance, Hall's is not.
    eight, low = ends(*[90.0] * 8), ends(*[80.0, 81.0] * 4)
    lost = ends(*[90.0] * 7, 89.0)
    gap = paired(np.array([0.0] * 7 + [1.0]))
    tolerance = (gap.bounds(0.05)[1] + gap.upper(0.05)) / 2
    assert gap.bounds(0.05)[1] < tolerance < gap.upper(0.05)
    assert recover(eight, low, lost, eight, tolerance=tolerance, fewest=6).verdict == "partial"
    assert recover(eight, low, lost, eight, tolerance=gap.upper(0.05) + 1e-9, fewest=6).verdict == "recovered"


def test_differences_that_are_equal_are_as_uncertain_as_their_rounding() -> None:
    b, v, vt = (ends(*[m] * 6) for m in (90.0, 86.0, 89.0))
    found = recover(b, v, vt, b, resolution=1.0)
    half = stats.t.ppf(0.975, 5) * math.sqrt(1 / 6 / 6)
    assert found.treated_gap == Interval(1.0, pytest.approx(1 - half), pytest.approx(1 + half), 6)
    assert found.recovered is not None
    x, y, s2, t2 = 1.0, 4.0, 1 / 36, stats.t.ppf(0.975, 5) ** 2
    root = math.sqrt((x * y) ** 2 - (y * y - t2 * s2) * (x * x - t2 * s2))
    assert found.recovered.low == pytest.approx(1 - (x * y + root) / (y * y - t2 * s2))
    assert found.recovered.high == pytest.approx(1 - (x * y - root) / (y * y - t2 * s2))
    # A control that gives the baseline back leaves a gap that is zero by definition.
    undone = recover(b, v, b, b, resolution=1.0)
    assert undone.treated_gap == Interval(0.0, 0.0, 0.0, 6)
    assert undone.recovered == Interval(1.0, 1.0, 1.0, 6)
    nothing = recover(b, v, v, b, resolution=1.0)
    assert nothing.recovered == Interval(0.0, 0.0, 0.0, 6)
    assert nothing.improvement == Interval(0.0, 0.0, 0.0, 6)


def test_a_control_that_lifts_the_baseline_as_much_is_general() -> None:
    b, v = ends(90, 91, 90, 91), ends(86, 87, 86.5, 86.5)
    found = recover(b, v, ends(89, 90, 89, 90), ends(93, 94, 93, 94))
    assert found.general is True
    assert found.against_treated_baseline is not None
    assert found.against_treated_baseline.mean == pytest.approx(0.0)


def test_matched_level_is_one_that_all_four_reach() -> None:
    def straight(top: float, end: float) -> Outcome:
        loss = [1.0, 0.1, end]
        return outcome(loss, [top - 10 * math.log10(one) - 20 for one in loss])

    b, v = arm_of(*[straight(90, 0.01)] * 4), arm_of(*[straight(86, 0.01)] * 4)
    vt, bt = arm_of(*[straight(89, 0.02)] * 4), arm_of(*[straight(91, 0.001)] * 4)
    found = recover(b, v, vt, bt, at="matched")
    assert (found.at, found.level) == ("matched", pytest.approx(0.02))
    assert found.recovered is not None
    assert found.recovered.mean == pytest.approx(3 / 4)
    assert found.other is not None
    assert found.other.at == "planned_end"
    # At the planned end the treated variant is behind by its fit as well.
    assert found.other.recovered is not None
    assert found.other.recovered.mean == pytest.approx((3 - 10 * math.log10(2)) / 4)


def test_no_matched_level_beyond_three_times_the_reference() -> None:
    b, v, bt = (ends(m, m, m, m + 1) for m in (90, 86, 91))
    found = recover(b, v, ends(89, 89, 89, 90, loss=0.031), bt, at="matched")
    assert (found.at, found.level, found.other) == ("planned_end", None, None)
    assert found.reason is not None
    assert "treated variant" in found.reason


def test_a_broken_treated_baseline_leaves_r() -> None:
    b, v, vt = (ends(m, m, m, m + 1) for m in (90, 86, 89))
    lost = arm_of(*[outcome([1.0, math.inf], [50.0, 10.0], diverged=True)] * 4)
    found = recover(b, v, vt, lost, at="matched", no_repair="the treated baseline is broken: all diverged")
    assert found.at == "matched"
    assert found.recovered is not None
    assert found.recovered.mean == pytest.approx(3 / 4)
    assert found.against_treated_baseline is None
    assert found.general is None
    assert found.reason == "the treated baseline is broken: all diverged"
    assert found.other is not None
    assert found.other.against_treated_baseline is None


def test_a_treated_baseline_that_lags_behind_leaves_r() -> None:
    """Not broken, but above three times L*: R is matched over the other three arms, and R* is not."""
    b, v, vt = (ends(m, m, m, m + 1) for m in (90, 86, 89))
    found = recover(b, v, vt, ends(91, 91, 91, 92, loss=0.5), at="matched")
    assert (found.at, found.level) == ("matched", pytest.approx(0.01))
    assert found.recovered is not None
    assert found.recovered.mean == pytest.approx(3 / 4)
    assert found.against_treated_baseline is None
    assert found.general is None
    assert found.reason == "not every seed of the treated baseline reaches a loss of 0.03"
    assert found.other is not None
    assert found.other.against_treated_baseline is not None
    assert found.other.against_treated_baseline.mean == pytest.approx(2 / 4)


def test_a_gap_that_is_not_clear_of_zero_has_an_unbounded_fraction() -> None:
    found = recover(ends(90, 86, 91, 85), ends(86, 90, 86, 87), ends(88, 88, 88, 88), ends(90, 90, 90, 90))
    assert found.recovered is not None
    assert not found.recovered.bounded
    assert found.reason is not None


def test_no_gap_at_all_has_no_fraction() -> None:
    b = ends(90, 91, 90, 91)
    found = recover(b, b, ends(90, 91, 90, 92), b)
    assert found.recovered is None
    assert found.general is None


def test_unpaired_interval_equals_the_paired_one_for_large_independent_samples() -> None:
    rng = np.random.default_rng(1)
    b, v, vt, bt = (rng.normal(mean, 1, 4000) for mean in (90, 86, 89, 91))
    for arms in ((b, v, vt), (b, v, vt, bt)):
        apart, together = (one_minus_ratio(arms, ERRORS, pair) for pair in (False, True))
        assert apart.mean == pytest.approx(together.mean)
        assert apart.high - apart.low == pytest.approx(together.high - together.low, rel=0.05)


@pytest.mark.parametrize("lengths", [(1.0,), (0.5, 1.0)])
def test_costs_of_whole_schedules_are_those_of_whole_runs(lengths: tuple[float, ...]) -> None:
    """At the level where a schedule ends its cost is all of it, however many lengths were run."""

    def priced(length: float) -> Path:
        updates = round(400 * length)
        cost = Cost(updates=updates, gradients=10.0 * updates)
        ended = outcome([1.0, 0.01 / length], [50.0, 90.0], updates=[1, updates], planned=1, cost=cost)
        return Path(length, ended)

    arm = frontier_arm([[priced(length) for length in lengths]] * 3, FitScale())
    assert costs_to(arm, math.log(0.01)).gradients == pytest.approx(4000)
    assert costs_to(arm, None).gradients == pytest.approx(4000)


def test_costs_against_both_references() -> None:
    def priced(updates: int, per_update: float, losses: list[float]) -> Outcome:
        rows = np.linspace(updates / len(losses), updates, len(losses)).astype(int).tolist()
        cost = Cost(updates=updates, gradients=updates * per_update, peak_memory=7.0, seconds=0.0)
        return outcome(losses, [50.0, 80.0, 90.0, 90.0], updates=rows, planned=1, cost=cost)

    variant = arm_of(*[priced(400, 10, [1.0, 0.1, 0.01, 0.001])] * 3)  # planned end at 200 updates
    treated = arm_of(*[priced(400, 30, [1.0, 0.01, 0.005, 0.001])] * 3)
    found = recover(variant, variant, treated, variant, at="matched")
    assert found.at == "matched"
    # Level 0.01: the treated variant is there after 200 updates, the variant after 300.
    assert found.cost_ratio["updates"] == pytest.approx(200 / 200)
    assert found.cost_ratio["gradients"] == pytest.approx(200 * 30 / (200 * 10))
    assert found.cost_ratio_matched is not None
    assert found.cost_ratio_matched["updates"] == pytest.approx(200 / 300)
    assert found.cost_ratio_matched["gradients"] == pytest.approx(200 * 30 / (300 * 10))
    assert found.cost_ratio["peak_memory"] == 1.0
    assert found.cost_ratio["seconds"] == 1.0  # nothing over nothing: as dear


def test_costs_of_separate_schedules_are_interpolated_between_runs() -> None:
    def run(length: float, loss: float) -> Path:
        updates = int(100 * length)
        return Path(
            length, outcome([loss], [80.0], updates=[updates], cost=Cost(updates=updates, gradients=updates))
        )

    b = frontier_arm([[run(1, 0.01)]] * 3, FitScale())
    v = frontier_arm([[run(1, 0.04), run(2, 0.0025)]] * 3, FitScale())
    found = recover(b, v, v, b, at="matched")
    assert found.cost_ratio_matched is not None
    assert found.cost_ratio_matched["updates"] == pytest.approx(1.0)
    assert found.cost_ratio["updates"] == pytest.approx(1.5)  # half-way in log l between 100 and 200


def lab_with_control(treated_speed: float = 1.0, **options: object) -> Lab:
    def speed(arm: str, i: int) -> float:
        return treated_speed if "control" in arm else 1.0

    def shift(arm: str, i: int) -> float:
        gap = {"variant": 3.0, "variant+control:0": 1.0, "baseline+control:0": -0.5, "rate_only": 2.5}.get(
            arm, 0.0
        )
        return wiggle(i) - gap - wiggle(i + len(arm), 0.05)

    return Lab(speed, shift, **options)


def names(batch: list[Request]) -> set[tuple[str, float]]:
    return {(request.arm, request.length) for request in batch}


def test_controls_are_run_after_the_verdict_for_its_replicates_only() -> None:
    lab = lab_with_control()
    verdict, _, batches = lab.audit(Design(tolerance=1.0, looks=(6,), controls=1, rate_only=True))
    assert len(batches) == 2
    assert names(batches[1]) == {("rate_only", 1.0), ("variant+control:0", 1.0), ("baseline+control:0", 1.0)}
    assert {request.replicate for request in batches[1]} == set(range(verdict.look))
    (found,) = verdict.recoveries
    assert (verdict.name, found.at, found.verdict) == ("bias", "matched", "partial")
    assert found.recovered is not None
    assert found.against_treated_baseline is not None
    assert found.recovered.mean == pytest.approx(2 / 3, abs=0.05)
    assert found.against_treated_baseline.mean == pytest.approx(1.5 / 3, abs=0.05)
    assert verdict.rate_only is not None
    assert verdict.rate_only.gap.mean == pytest.approx(2.5, abs=0.1)
    assert verdict.rate_only.at_level is not None


def test_treated_arms_are_extended_for_a_matched_recovery() -> None:
    verdict, _, batches = lab_with_control(treated_speed=1 / 4).audit(
        Design(tolerance=1.0, looks=(6,), controls=1)
    )
    assert names(batches[2]) == {("variant+control:0", 8.0), ("baseline+control:0", 8.0)}
    assert all(request.level == pytest.approx(1 / PLANNED) for request in batches[2])
    assert len(batches) == 3
    (found,) = verdict.recoveries
    assert (found.at, found.level) == ("matched", pytest.approx(1 / PLANNED))
    assert found.cost_ratio["updates"] == pytest.approx(4.0)


def test_treated_arms_that_never_arrive_are_compared_at_the_planned_end() -> None:
    verdict, _, batches = lab_with_control(treated_speed=1 / 100).audit(
        Design(tolerance=1.0, looks=(6,), controls=1)
    )
    assert len(batches) == 3
    (found,) = verdict.recoveries
    assert found.at == "planned_end"
    assert found.reason is not None
    assert "reaches" in found.reason


def test_treated_schedules_climb_when_the_rate_decays() -> None:
    lab = lab_with_control(treated_speed=1 / 2, decays=True)
    verdict, _, batches = lab.audit(Design(tolerance=1.0, controls=1, decays=True))
    assert names(batches[-1]) == {("variant+control:0", 2.0), ("baseline+control:0", 2.0)}
    (found,) = verdict.recoveries
    assert found.at == "matched"
    assert found.recovered is not None
    assert found.recovered.mean == pytest.approx(2 / 3, abs=0.05)


def test_schedules_descend_where_the_treated_arms_stay_above() -> None:
    # All treated arms end at twice the level: the other two have to be read there too.
    lab = lab_with_control(
        treated_speed=0.01, decays=True, floor=lambda arm: 2.0 / PLANNED if "control" in arm else 0.0
    )
    verdict, _, batches = lab.audit(Design(tolerance=1.0, controls=1, decays=True))
    assert verdict.recoveries[0].at == "planned_end"  # 1 / (0.01 * 8 * 64) is far above 3 L*
    lab = lab_with_control(
        treated_speed=1.0, decays=True, floor=lambda arm: 2.0 / PLANNED if "control" in arm else 0.0
    )
    verdict, _, batches = lab.audit(Design(tolerance=1.0, controls=1, decays=True))
    assert names(batches[-1]) == {("variant", 0.5), ("baseline", 0.5)} or any(
        ("variant", 0.5) in names(batch) for batch in batches
    )
    assert verdict.recoveries[0].at == "matched"
    assert verdict.recoveries[0].level == pytest.approx(2 / PLANNED)


def test_a_control_that_alters_the_loss_is_matched_on_the_training_metric() -> None:
    lab = lab_with_control(treated_speed=1 / 100)  # its loss stays high, its training metric is as good
    design = Design(tolerance=1.0, looks=(6,), controls=1, control_alters_loss=(True,))
    verdict, _, batches = lab.audit(design)
    assert len(batches) == 2
    (found,) = verdict.recoveries
    assert found.at == "matched"
    assert found.level == pytest.approx(1.0)  # 99 % right


def test_a_broken_treated_baseline_is_not_extended() -> None:
    lab = lab_with_control(treated_speed=1 / 2)
    speed = lab.speed
    lab.speed = lambda arm, i: 0.0 if arm == "baseline+control:0" else speed(arm, i)
    verdict, _, batches = lab.audit(Design(tolerance=1.0, controls=1))
    assert names(batches[-1]) == {("variant+control:0", 8.0)}
    (found,) = verdict.recoveries
    assert found.against_treated_baseline is None
    assert found.recovered is not None
    assert "broken" in (found.reason or "")


def test_optimization_is_recovered_at_the_planned_end() -> None:
    def speed(arm: str, i: int) -> float:
        return {"variant": 1 / 4, "variant+control:0": 1 / 2}.get(arm, 1.0)

    lab = Lab(speed, lambda arm, i: wiggle(i + len(arm), 0.05), 2.0)
    verdict, _, _ = lab.audit(Design(tolerance=1.0, controls=1))
    (found,) = verdict.recoveries
    assert (verdict.name, found.at) == ("optimization", "planned_end")
    assert found.recovered is not None
    assert found.recovered.mean == pytest.approx(0.5, abs=0.05)
    assert isinstance(found.recovered, Interval)
