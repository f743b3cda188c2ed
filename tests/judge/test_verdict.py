"""Each verdict from hand-made splits and curves, in the order of the rule."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from algobias.inference.bounds import Bounds
from algobias.inference.levels import Errors
from algobias.inference.power import seeds_needed
from algobias.inference.statistics import Interval, paired
from algobias.judge.arm import FitScale, Path
from algobias.judge.checks import Checks, broken_because, check_arms
from algobias.judge.design import Design, Request, Run
from algobias.judge.matching import curve_arm
from algobias.judge.plan import plan
from algobias.judge.split import Split
from algobias.judge.verdict import Verdict, decide
from algobias.runs.outcome import Outcome
from scripted import PLANNED, Lab, outcome, wiggle

DELTA = 1.0
ABSENT, PRESENT, UNKNOWN, SLIGHT = (-0.5, 0.5), (0.6, 2.0), (-0.3, 1.7), (0.1, 1.3)


def split_of(
    gap: tuple[float, float],
    bias: tuple[float, float] | None,
    fit: tuple[float, float] | None,
    **more: object,
) -> Split:
    def share(bounds: tuple[float, float] | None) -> tuple[Interval | None, Bounds | None, str]:
        if bounds is None:
            return None, None, "unknown"
        return Interval(sum(bounds) / 2, *bounds, 6), Bounds(*bounds, 6), Bounds(*bounds, 6).state(DELTA)

    g, gb, gs = share(gap)
    b, bb, bs = share(bias)
    f, fb, fs = share(fit)
    side = None if bias is None else "downward"
    level = None if bias is None else 0.01
    assert g is not None
    assert gb is not None
    ends = {"baseline_end": (90.0,) * 4, "variant_end": (89.0,) * 4, "errors": Errors(0.05, 0.025)}
    made = Split(g, gb, gs, b, bb, bs, f, fb, fs, level, side, seeds_reached=4, reference_level=0.01, **ends)
    return replace(made, **more)


def name_of(
    split: Split, *, last: bool = False, alters_data: bool = False, checks: Checks | None = None
) -> str | None:
    verdict = decide(split, checks or Checks(), DELTA, look=4, last=last, alters_data=alters_data)
    return None if verdict is None else verdict.name


@pytest.mark.parametrize(
    ("gap", "bias", "fit", "early", "late"),
    [
        (ABSENT, None, None, "no_gap", "no_gap"),
        (ABSENT, PRESENT, ABSENT, "no_gap", "no_gap"),
        (UNKNOWN, PRESENT, ABSENT, None, "undecided"),
        (PRESENT, PRESENT, ABSENT, "bias", "bias"),
        (PRESENT, ABSENT, PRESENT, "optimization", "optimization"),
        (PRESENT, PRESENT, PRESENT, "mixed", "mixed"),
        (PRESENT, SLIGHT, PRESENT, None, "mixed"),
        (PRESENT, PRESENT, SLIGHT, None, "mixed"),
        (PRESENT, ABSENT, ABSENT, "mixed", "mixed"),
        (PRESENT, PRESENT, UNKNOWN, None, "undecided"),
        (PRESENT, UNKNOWN, PRESENT, None, "undecided"),
        (PRESENT, UNKNOWN, ABSENT, None, "undecided"),
        (PRESENT, UNKNOWN, UNKNOWN, None, "undecided"),
        (PRESENT, None, None, None, "undecided"),
    ],
)
def test_the_table(gap, bias, fit, early: str | None, late: str) -> None:
    split = split_of(gap, bias, fit)
    assert name_of(split) == early
    assert name_of(split, last=True) == late


def test_removed_data() -> None:
    assert name_of(split_of(PRESENT, PRESENT, ABSENT), alters_data=True) == "data"
    assert name_of(split_of(PRESENT, ABSENT, PRESENT), alters_data=True) == "optimization"


def test_checks_come_first() -> None:
    split = split_of(PRESENT, PRESENT, ABSENT)
    assert name_of(split, checks=Checks("nothing differs", "lost")) == "not_applied"
    assert name_of(split, checks=Checks(None, "lost")) == "broken"
    assert name_of(split_of(ABSENT, None, None), checks=Checks(None, "lost")) == "broken"


def test_real_but_tolerable() -> None:
    verdict = decide(split_of((0.2, 0.8), None, None), Checks(), DELTA, look=4, last=False)
    assert verdict is not None
    assert verdict.tolerable
    assert "tolerable" in verdict.reason
    verdict = decide(split_of((-0.8, -0.2), None, None), Checks(), DELTA, look=4, last=False)
    assert verdict is not None
    assert not verdict.tolerable
    assert "the variant is better by 0.5" in verdict.reason


@pytest.mark.parametrize(
    ("gap", "wanted"),
    [
        ((-0.8, 0.2), "the variant is better by 0.30 (95 % interval -0.20 to 0.80), over 6 seeds"),
        ((-0.2, 0.6), "the variant is worse by 0.20 (95 % interval -0.20 to 0.60), over 6 seeds"),
    ],
)
def test_a_gap_that_is_absent_says_who_is_ahead_and_what_is_bounded(
    gap: tuple[float, float], wanted: str
) -> None:
    verdict = decide(split_of(gap, None, None), Checks(), DELTA, look=4, last=False)
    assert verdict is not None
    assert (
        f"{wanted}; it is worse by at most {gap[1]:.2f} (one-sided bound), below the tolerance of 1."
        in verdict.reason
    )


def test_a_negative_difference_is_said_to_be_better() -> None:
    """No reason says ``worse by -1.02``."""
    verdict = decide(split_of(PRESENT, (-2.0, -0.6), PRESENT), Checks(), DELTA, look=6, last=True)
    assert verdict is not None
    assert "it is better by 1.30 (95 % interval 0.60 to 2.00)" in verdict.reason
    verdict = decide(split_of(PRESENT, PRESENT, (-2.0, -0.6)), Checks(), DELTA, look=6, last=True)
    assert verdict is not None
    assert "the difference in fit is in its favour, by 1.30 (95 % interval 0.60 to 2.00)" in verdict.reason
    assert "by -" not in verdict.reason


def test_a_reason_names_the_bound_where_the_printed_interval_looks_otherwise() -> None:
    printed = Interval(0.5, -0.1, 1.1, 6)
    for state, bounds, wanted in (
        ("present", Bounds(0.04, 1.0, 6), "(95 % interval -0.10 to 1.10; above 0.04, one-sided)"),
        ("absent", Bounds(-0.2, 0.98, 6), "(95 % interval -0.10 to 1.10; below 0.98, one-sided)"),
    ):
        split = Split(
            *(Interval(1.5, 1.1, 2.0, 6), Bounds(1.2, 1.9, 6), "present"),
            *(printed, bounds, state),
            *(printed, Bounds(0.04, 1.5, 6), "present"),
            seeds_reached=6,
            level=0.1,
            side="downward",
        )
        verdict = decide(split, Checks(), DELTA, look=6, last=True)
        assert verdict is not None
        assert f"it is worse by 0.50 {wanted}" in verdict.reason
    ahead = Split(Interval(-0.3, -0.8, 0.2, 6), Bounds(-0.7, -0.01, 6), "absent")
    verdict = decide(ahead, Checks(), DELTA, look=6, last=True)
    assert verdict is not None
    assert "better by 0.30 (95 % interval -0.20 to 0.80), over 6 seeds" in verdict.reason
    assert "a loss of any size is ruled out by the one-sided bound" in verdict.reason
    assert "worse by at most" not in verdict.reason
    real = Split(Interval(0.3, -0.1, 0.7, 6), Bounds(0.04, 0.6, 6), "absent")
    verdict = decide(real, Checks(), DELTA, look=6, last=True)
    assert verdict is not None
    assert "real (above 0.04, one-sided) but tolerable" in verdict.reason


def test_what_remains_and_what_comes_from_the_fit_is_the_gap() -> None:
    for bias, fit, wanted in (
        (PRESENT, ABSENT, "The gap remains at matched fit"),
        (ABSENT, PRESENT, "The gap comes from the fit"),
    ):
        verdict = decide(split_of(PRESENT, bias, fit), Checks(), DELTA, look=4, last=True)
        assert verdict is not None
        assert wanted in verdict.reason
    verdict = decide(split_of(PRESENT, PRESENT, ABSENT), Checks(), DELTA, look=4, last=True, alters_data=True)
    assert verdict is not None
    assert "The gap remains at matched fit: the training data" in verdict.reason


def test_shares_that_cancel_are_pointed_out() -> None:
    verdict = decide(split_of(ABSENT, PRESENT, (-2.0, -0.6)), Checks(), DELTA, look=4, last=False)
    assert verdict is not None
    assert verdict.name == "no_gap"
    assert any("shares cancel" in warning for warning in verdict.warnings)


def test_an_early_stop_is_pointed_out() -> None:
    split = split_of(PRESENT, PRESENT, ABSENT)
    early = decide(split, Checks(), DELTA, look=4, last=False)
    late = decide(split, Checks(), DELTA, look=4, last=True)
    assert early is not None
    assert late is not None
    assert any("stopped early" in warning for warning in early.warnings)
    assert late.warnings == ()


def test_what_more_seeds_cannot_help_stops_at_once() -> None:
    split = split_of(PRESENT, None, None, hopeless=True, unavailable_because="the training loss is negative")
    verdict = decide(split, Checks(), DELTA, look=4, last=False)
    assert verdict is not None
    assert (verdict.name, verdict.would_decide) == ("undecided", None)
    assert "the training loss is negative" in verdict.reason


def sd_of(bounds: tuple[float, float], n: int = 6, t: float = 2.5705818366147395) -> float:
    return (bounds[1] - bounds[0]) / 2 / t * math.sqrt(n)


@pytest.mark.parametrize(
    ("differences", "enough"),
    [
        # Four times the batch on FashionMNIST.
        ((0.48, 0.08, -0.34, -0.40, -0.34, -0.12), 7),
        ((0.9, 0.0, -0.1, -0.05, -0.12, -0.08), 17),
    ],
)
def test_enough_seeds_for_their_skewness_would_decide(differences: tuple[float, ...], enough: int) -> None:
    """The spread of the six is small, so that six would do by that; they lean, and do not."""
    seen = paired(np.array(differences))
    bounds = Bounds.of(seen, 0.05)
    assert bounds.high > 0.8 > seen.bounds(0.05)[1]
    split = Split(seen.interval(0.025), bounds, bounds.state(0.8))
    verdict = decide(split, Checks(), 0.8, look=6, last=True)
    assert verdict is not None
    printed = seen.interval(0.025)
    assert seeds_needed([(seen.mean, sd_of((printed.low, printed.high)))], 0.8, 0.05, 6) == 6
    assert (verdict.name, verdict.would_decide) == ("undecided", enough)
    assert seen.over(enough).upper(0.05) < 0.8 <= seen.over(enough - 1).upper(0.05)


def test_an_estimate_over_more_seeds_is_that_of_seeds_that_lie_alike() -> None:
    differences = np.array([0.9, 0.0, -0.1, -0.05, -0.12, -0.08])
    few, many = paired(differences).over(600), paired(np.tile(differences, 100))
    assert (few.n, few.df, few.mean) == (600, 599, pytest.approx(many.mean))
    # Moments of a sample of six are divided by 5 and by 5 x 4, of one of six hundred by nearly 600.
    assert few.se == pytest.approx(many.se * math.sqrt(6 / 5), rel=2e-3)
    assert few.skew == pytest.approx(many.skew * 6**2 / (5 * 4) / (6 / 5) ** 1.5, rel=1e-2)


def test_what_was_taken_back_takes_more_seeds_than_there_are() -> None:
    """An earlier look showed a gap: below the tolerance now, it is unknown, though six seeds would do."""
    split = replace(split_of((-0.5, 0.5), None, None), gap_state="unknown")
    verdict = decide(split, Checks(), DELTA, look=6, last=True)
    assert verdict is not None
    assert (verdict.name, verdict.would_decide) == ("undecided", 7)


def test_how_many_seeds_would_decide() -> None:
    gap_only = decide(split_of((-1.0, 1.6), None, None), Checks(), DELTA, look=4, last=True)
    assert gap_only is not None
    assert gap_only.would_decide == seeds_needed([(0.3, sd_of((-1.0, 1.6)))], DELTA, 0.05, 6)
    assert f"{gap_only.would_decide} seeds decide with a chance of 80 %" in gap_only.reason
    # Everything the verdict needs counts, also what is decided: it must be so again.
    wide = (-2.5, 3.0)
    both = decide(split_of(PRESENT, (-0.2, 1.6), wide), Checks(), DELTA, look=4, last=True)
    assert both is not None
    bounds = PRESENT, (-0.2, 1.6), wide
    parts = [(sum(each) / 2, sd_of(each)) for each in bounds]
    assert both.would_decide == seeds_needed(parts, DELTA, 0.05, 6)


def test_more_seeds_than_anyone_trains() -> None:
    verdict = decide(split_of((-3.0, 4.99), None, None), Checks(), DELTA, look=4, last=True)
    assert verdict is not None
    assert verdict.would_decide is None
    assert "More than 1000 seeds" in verdict.reason


def test_reasons_name_the_numbers() -> None:
    verdict = decide(split_of(PRESENT, PRESENT, ABSENT), Checks(), DELTA, look=4, last=True)
    assert verdict is not None
    for part in ("1.30", "0.60 to 2.00", "0.01", "4 of 6 seeds", "tolerance is 1"):
        assert part in verdict.reason, verdict.reason


# Broken and not applied, from outcomes.


def end(metric: float, train: float, loss: float = 0.01, *, diverged: bool = False) -> Outcome:
    return outcome([1.0, loss], [50.0, metric], [50.0, train], diverged=diverged, trivial=10.0)


def arm_of(outcomes: list[Outcome]):
    return curve_arm([Path(1.0, one) for one in outcomes], FitScale())


GOOD = end(90.0, 100.0)
LOST = end(20.0, 20.0, 1.9)
GONE = end(20.0, math.nan, math.nan, diverged=True)


@pytest.mark.parametrize(
    ("variant", "broken"),
    [
        ([GOOD, GOOD, GOOD, LOST], False),
        ([GOOD, GOOD, LOST, LOST], True),
        ([GOOD, GOOD, GONE, LOST], True),
        ([GONE, GONE, GONE, GONE], True),
        ([GOOD, GOOD, GOOD, GONE], False),
        ([end(20.0, 56.0)] * 4, False),  # the training metric counts, and 55 is the middle
        ([end(90.0, 54.0)] * 4, True),
        ([end(90.0, 130.0)] * 4, False),  # better than the baseline is not nearer to nothing
    ],
)
def test_broken_is_at_least_half(variant: list[Outcome], broken: bool) -> None:
    checks = check_arms(arm_of([GOOD] * 4), arm_of(variant), activity=True)
    assert (checks.broken is not None) == broken


def test_without_a_training_metric_the_test_metric_counts() -> None:
    blank = [end(90.0, math.nan)] * 4
    assert broken_because(arm_of(blank), arm_of([end(49.0, math.nan)] * 4)) is not None
    assert broken_because(arm_of(blank), arm_of([end(51.0, math.nan)] * 4)) is None


def test_a_baseline_that_learnt_nothing_breaks_nothing() -> None:
    nothing = [end(9.0, 9.0)] * 4
    checks = check_arms(arm_of(nothing), arm_of([end(8.0, 8.0)] * 4), activity=True)
    assert checks.broken is None
    assert any("knows nothing" in warning for warning in checks.warnings)


def test_diverged_baselines_are_pointed_out() -> None:
    checks = check_arms(arm_of([GOOD, GOOD, GOOD, GONE]), arm_of([end(89.0, 99.0)] * 4), activity=True)
    assert any(
        "1 of 4 baseline seeds end with a loss or test metric" in warning for warning in checks.warnings
    )


def lab_runs(variant: Lab, baseline: Lab, n: int = 4) -> list[Run]:
    return [
        lab.run(Request(arm, i))
        for arm, lab in (("baseline", baseline), ("variant", variant))
        for i in range(n)
    ]


def test_identical_curves_are_not_applied() -> None:
    same = Lab(lambda arm, i: 1.0, lambda arm, i: wiggle(i))
    verdict = plan(Design(tolerance=1.0), lab_runs(same, same))
    assert isinstance(verdict, Verdict)
    assert (verdict.name, verdict.look) == ("not_applied", 4)


@pytest.mark.parametrize("field", ["train_loss", "test_metric", "train_metric", "update"])
def test_one_different_number_in_mid_curve_is_an_activity(field: str) -> None:
    same = Lab(lambda arm, i: 1.0, lambda arm, i: wiggle(i))
    runs = lab_runs(same, same, 6)
    row = next(i for i, run in enumerate(runs) if (run.arm, run.replicate) == ("variant", 3))
    curve = runs[row].outcome.curve
    values = getattr(curve, field).copy()
    values[2] += 1
    other = replace(runs[row].outcome, curve=replace(curve, **{field: values}))
    runs[row] = replace(runs[row], outcome=other)
    verdict = plan(Design(tolerance=1.0), runs)
    assert isinstance(verdict, Verdict)
    assert verdict.name == "no_gap"


# Every verdict through plan.


def audit(lab: Lab, **options) -> Verdict:
    return lab.audit(Design(tolerance=DELTA, **options))[0]


def lab_with(gap: float, speed: float, slope: float, noise: float = 0.1) -> Lab:
    return Lab(
        lambda arm, i: speed if arm.startswith("variant") else 1.0,
        lambda arm, i: wiggle(i, noise) - (gap + wiggle(i + 7, noise) if arm.startswith("variant") else 0.0),
        slope,
    )


@pytest.mark.parametrize(
    ("name", "lab", "options"),
    [
        ("bias", lab_with(2.0, 1.0, 0.0), {}),
        ("data", lab_with(2.0, 1.0, 0.0), {"alters_data": True}),
        ("optimization", lab_with(0.0, 1 / 4, 1.5), {}),
        ("optimization", lab_with(0.0, 1 / 30, 0.5), {}),  # never reached: upward
        ("mixed", lab_with(2.0, 1 / 4, 1.5), {}),
        ("mixed", lab_with(0.7, 1 / 4, 0.5), {}),  # neither share alone
        ("no_gap", lab_with(0.0, 1.0, 0.0), {}),
        ("no_gap", lab_with(0.5, 1.0, 0.0), {}),
        ("no_gap", lab_with(-3.0, 1.0, 0.0), {}),
        ("undecided", lab_with(1.0, 1.0, 0.0, noise=6.0), {}),
        ("broken", Lab(lambda arm, i: 0.0 if arm == "variant" else 1.0, lambda arm, i: wiggle(i)), {}),
    ],
)
def test_every_verdict_is_reached(name: str, lab: Lab, options: dict) -> None:
    verdict = audit(lab, **options)
    assert verdict.name == name, verdict.reason
    assert verdict.reason.endswith(".")
    assert (verdict.look == 20) == (name == "undecided")


def test_cancelling_shares_through_plan() -> None:
    # The variant fits better, which hides that it is worse at equal fit.
    lab = lab_with(2.0, math.e**2, 1.0)
    verdict = audit(lab)
    assert verdict.name == "no_gap"
    assert verdict.split.bias_state == "present"
    assert any("shares cancel" in warning for warning in verdict.warnings)


def test_matching_on_the_training_metric() -> None:
    # Label noise: the training loss says nothing; both arms reach the same training accuracy.
    def run(arm: str, i: int) -> Run:
        noisy = arm == "variant"
        loss = [1.0, 0.5, 0.3] if noisy else [1.0, 0.1, 0.001]
        shift = 2.0 + wiggle(i + 3) if noisy else 0.0
        done = outcome(loss, [50.0, 80.0 - shift, 90.0 - shift + wiggle(i)], [60.0, 95.0, 99.0])
        return Run(arm, i, done)

    runs = [run(arm, i) for arm in ("baseline", "variant") for i in range(6)]
    verdict = plan(Design(tolerance=1.0, alters_loss=True, train_examples=800), runs)
    assert isinstance(verdict, Verdict)
    assert verdict.name == "bias"
    assert verdict.split.on == "train_metric"
    assert verdict.split.level == pytest.approx(1.0)
    # Without the switch the losses are worlds apart, and the planner asks for longer runs.
    assert isinstance(plan(Design(tolerance=1.0), runs), list)


def test_extension_on_the_training_metric_names_the_metric_to_reach() -> None:
    def run(arm: str, i: int) -> Run:
        train = [60.0, 95.0, 97.0] if arm == "variant" else [60.0, 95.0, 99.0]
        return Run(
            arm,
            i,
            outcome([1.0, 0.5, 0.3], [50.0, 80.0, 88.0 if arm == "variant" else 90 + wiggle(i)], train),
        )

    batch = plan(
        Design(tolerance=1.0, alters_loss=True),
        [run(a, i) for a in ("baseline", "variant") for i in range(4)],
    )
    assert isinstance(batch, list)
    assert all((r.measure, r.level) == ("train_metric", pytest.approx(99.0)) for r in batch)


def test_an_unknown_training_metric_cannot_be_matched() -> None:
    runs = [
        Run(arm, i, outcome([1.0, 0.01], [50.0, 90.0 - 3 * (arm == "variant") + wiggle(i)]))
        for arm in ("baseline", "variant")
        for i in range(4)
    ]
    verdict = plan(Design(tolerance=1.0, alters_loss=True), runs)
    assert isinstance(verdict, Verdict)
    assert (verdict.name, verdict.look) == ("undecided", 4)
    assert "scale" in verdict.reason


def test_other_levels_describe() -> None:
    verdict = audit(lab_with(2.0, 1.0, 0.0), levels=(0.5, 1e-9))
    assert [level.level for level in verdict.levels] == pytest.approx([3 / PLANNED, 10 / PLANNED, 0.5, 1e-9])
    assert [level.seeds_reached for level in verdict.levels] == [6, 6, 6, 0]
    assert verdict.levels[-1].gap is None
    assert verdict.levels[0].gap is not None
    assert verdict.levels[0].gap.mean == pytest.approx(verdict.split.gap.mean)


def test_population_claim_needs_outcomes_of_every_example() -> None:
    rng = np.random.default_rng(4)

    def run(arm: str, i: int, keep: bool) -> Run:
        hits = 100.0 * (rng.uniform(size=500) < (0.9 if arm == "baseline" else 0.8))
        done = outcome([1.0, 0.01], [50.0, hits.mean()], [50.0, 99.0], per_example=hits if keep else None)
        return Run(arm, i, done)

    for keep in (True, False):
        runs = [run(arm, i, keep) for arm in ("baseline", "variant") for i in range(4)]
        verdict = plan(Design(tolerance=1.0, looks=(4,), population=True), runs)
        assert isinstance(verdict, Verdict)
        assert (verdict.population is not None) == keep
        if verdict.population is not None:
            assert verdict.population.mean == pytest.approx(verdict.split.gap.mean, abs=1e-3)
            assert verdict.population.low < verdict.split.gap.low
