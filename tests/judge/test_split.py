"""The split of the gap, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from algobias.inference.bounds import Bounds
from algobias.inference.levels import Errors
from algobias.inference.statistics import Interval
from algobias.judge.arm import Arm, FitScale, Path
from algobias.judge.matching import curve_arm
from algobias.judge.shares import split_gap
from algobias.judge.split import matched_level, reference_level
from algobias.runs.outcome import Outcome
from scripted import outcome

ERRORS = Errors(0.05, 0.025)
T3 = {0.05: 2.3533634348018264, 0.025: 3.182446305284263}  # t table, 3 degrees of freedom


def arm_of(*outcomes: Outcome, baseline: bool = False) -> Arm:
    return curve_arm([Path(1.0, one) for one in outcomes], FitScale(), to_planned=baseline)


def falling(end: float, top: float, slope: float = 10.0, planned: int | None = None) -> Outcome:
    """Losses 1, 0.1 and ``end``; the metric is ``top`` at a loss of 0.1 and falls by ``slope`` per decade."""
    loss = [1.0, 0.1, end]
    return outcome(loss, [top - slope * (math.log10(one) + 1) for one in loss], planned=planned)


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [
        (-1.0, 0.99, "absent"),
        (0.2, 0.99, "absent"),
        (0.01, 1.0, "present"),
        (3.0, 4.0, "present"),
        (0.0, 1.0, "unknown"),
        (-0.1, 1.5, "unknown"),
        (-math.inf, math.inf, "unknown"),
    ],
)
def test_states(low: float, high: float, state: str) -> None:
    assert Bounds(low, high, 6).state(1.0) == state
    assert Bounds(low, high, 5).state(1.0) == ("unknown" if state == "absent" else state)
    assert Bounds(low, high, 4).state(1.0, fewest=4) == state


def test_gap_with_its_decision_and_printed_bounds() -> None:
    gaps = [1.0, 2.0, 4.0, 5.0]
    baseline = arm_of(*[falling(0.01, 80) for _ in gaps])
    variant = arm_of(*[falling(0.01, 80 - gap) for gap in gaps])
    split = split_gap(baseline, variant, 0.01, tolerance=1.0, errors=ERRORS, fewest=4)
    se = math.sqrt(10 / 12)
    assert split.gap == Interval(3.0, pytest.approx(3 - T3[0.025] * se), pytest.approx(3 + T3[0.025] * se), 4)
    # Symmetric differences: both upper bounds are the same.
    assert split.gap_bounds == (pytest.approx(3 - T3[0.05] * se), pytest.approx(3 + T3[0.05] * se), 4, 0.0)
    assert split.gap_state == "present"
    # All ends are at the reference level: nothing is explained by the fit.
    assert (split.level, split.side, split.seeds_reached) == (pytest.approx(0.01), "downward", 4)
    assert split.bias_share == split.gap
    assert split.fit_share == Interval(pytest.approx(0), pytest.approx(0), pytest.approx(0), 4)
    assert (split.bias_state, split.fit_state) == ("present", "absent")
    assert split.correlation != split.correlation  # the baseline is constant: NaN
    assert split.sign_flip_p == 1 / 16
    assert split.on == "train_loss"


def test_reference_level_is_a_geometric_mean_of_the_first_four() -> None:
    ends = [0.01, 0.04, 0.01, 0.04, 1e-5]
    assert reference_level(arm_of(*[falling(end, 80) for end in ends])) == pytest.approx(0.02)


def test_reference_level_leaves_diverged_baselines_out() -> None:
    lost = outcome([1.0, math.inf], [50.0, 50.0], diverged=True)
    assert reference_level(arm_of(falling(0.01, 80), lost, falling(0.04, 80))) == pytest.approx(0.02)
    assert reference_level(arm_of(lost, lost)) is None


def test_the_level_is_the_lowest_that_every_seed_of_both_arms_reaches() -> None:
    baseline = arm_of(falling(0.010, 80), falling(0.020, 80))
    variant = arm_of(falling(0.001, 80), falling(0.015, 80))
    # a baseline seed that stays above the reference raises it
    assert math.exp(matched_level(0.0141, baseline, variant)) == pytest.approx(0.020)
    # never below the reference
    assert math.exp(matched_level(0.05, baseline, variant)) == pytest.approx(0.05)


def test_downward_split_by_hand() -> None:
    # The metric gains 10 per decade of loss. Baselines end at 0.01, variants at 0.02 and go on to 0.005.
    # B is planted at 1 and 3 points; F is 10 log10(2).
    baseline = arm_of(falling(0.01, 80), falling(0.01, 84), baseline=True)

    def longer(top: float) -> Outcome:
        loss = [1.0, 0.02, 0.005]
        return outcome(loss, [top - 10 * (math.log10(one) + 1) for one in loss], planned=1)

    split = split_gap(baseline, arm_of(longer(79), longer(81)), 0.01, tolerance=1.0, errors=ERRORS)
    assert split.level == pytest.approx(0.01)
    assert split.bias_share is not None
    assert split.fit_share is not None
    assert split.bias_share.mean == pytest.approx(2.0)
    assert split.fit_share.mean == pytest.approx(10 * math.log10(2))
    assert split.fit_share.high - split.fit_share.low == pytest.approx(0, abs=1e-9)
    assert split.gap.mean == pytest.approx(2.0 + 10 * math.log10(2))


def test_downward_is_available_up_to_three_times_the_reference() -> None:
    baseline = arm_of(*[falling(0.01, 80) for _ in range(4)])
    near = split_gap(
        baseline, arm_of(*[falling(0.0299, 80) for _ in range(4)]), 0.01, tolerance=1, errors=ERRORS
    )
    far = split_gap(
        baseline, arm_of(*[falling(0.0301, 80) for _ in range(4)]), 0.01, tolerance=1, errors=ERRORS
    )
    assert (near.side, far.side) == ("downward", "upward")
    assert near.level == pytest.approx(0.0299)
    assert far.level == pytest.approx(0.0301)


def test_upward_reads_the_baseline_where_the_variant_ended() -> None:
    baseline = arm_of(*[falling(0.001, 80 + i) for i in range(4)])
    ends = [0.1, 0.05, 0.2, 0.1]
    variant = arm_of(*[outcome([1.0, end], [60.0, 75.0]) for end in ends])
    split = split_gap(baseline, variant, 0.001, tolerance=1.0, errors=ERRORS)
    read = [80 + i - 10 * (math.log10(end) + 1) for i, end in enumerate(ends)]
    assert split.side == "upward"
    assert split.bias_share is not None
    assert split.fit_share is not None
    assert split.bias_share.mean == pytest.approx(np.mean(read) - 75)
    assert split.bias_share.mean + split.fit_share.mean == pytest.approx(split.gap.mean)
    assert split.level == pytest.approx(math.prod(ends) ** (1 / 4))


def diverging() -> Outcome:
    return outcome([1.0, 0.5, math.nan], [70.0, 75.0, 10.0], diverged=True, trivial=10.0)


def test_a_quarter_of_the_seeds_may_diverge() -> None:
    baseline = arm_of(*[falling(0.01, 80) for _ in range(4)])
    variant = [falling(0.01, 78) for _ in range(3)] + [diverging()]
    split = split_gap(baseline, arm_of(*variant), 0.01, tolerance=1.0, errors=ERRORS)
    assert split.gap.mean == pytest.approx((2 * 3 + 90 - 10) / 4)  # trivial metric, never dropped
    assert split.seeds_reached == 3
    assert split.bias_share is not None
    assert split.fit_share is not None
    assert split.bias_share == Interval(pytest.approx(2), pytest.approx(2), pytest.approx(2), 3)
    assert split.fit_share.mean == pytest.approx(0)  # over the same three seeds
    assert split.notes == ("the shares rest on 3 of 4 seeds: the others have no match",)


def test_more_than_a_quarter_may_not() -> None:
    baseline = arm_of(*[falling(0.01, 80) for _ in range(5)])
    variant = [falling(0.01, 78) for _ in range(3)] + [diverging()] * 2
    split = split_gap(baseline, arm_of(*variant), 0.01, tolerance=1.0, errors=ERRORS)
    assert split.bias_share is None
    assert split.side is None
    assert split.bias_state == "unknown"
    assert split.unavailable_because is not None
    assert "3 of 5" in split.unavailable_because
    assert not split.hopeless


def test_negative_losses_have_no_match_and_more_seeds_do_not_help() -> None:
    arm = arm_of(*[outcome([1.0, -1.0], [50.0, 60.0 + i]) for i in range(4)])
    split = split_gap(arm, arm, 0.01, tolerance=1.0, errors=ERRORS)
    assert split.bias_share is None
    assert split.hopeless


def test_a_baseline_that_does_not_show_the_variants_losses() -> None:
    baseline = arm_of(*[outcome([0.01], [90.0]) for _ in range(4)])
    variant = arm_of(*[outcome([1.0, 0.5], [50.0, 60.0]) for _ in range(4)])
    split = split_gap(baseline, variant, 0.01, tolerance=1.0, errors=ERRORS)
    assert split.bias_share is None
    assert not split.hopeless


def test_only_common_replicates_are_paired() -> None:
    baseline = arm_of(*[falling(0.01, 80 + i) for i in range(4)]).take([0, 1, 3])
    variant = arm_of(*[falling(0.01, 78 + i) for i in range(4)]).take([1, 2, 3])
    split = split_gap(baseline, variant, 0.01, tolerance=1.0, errors=ERRORS)
    assert split.gap == Interval(pytest.approx(2.0), pytest.approx(2.0), pytest.approx(2.0), 2)


def test_unpaired_gap_is_welch() -> None:
    baseline = arm_of(*[falling(0.01, 80 + i) for i in range(4)])
    variant = arm_of(*[falling(0.01, 78 + 2 * i) for i in range(6)])
    split = split_gap(baseline, variant, 0.01, tolerance=1.0, errors=ERRORS, pair=False)
    assert split.gap == split.welch
    assert split.bias_share == Interval(
        pytest.approx(split.gap.mean), pytest.approx(split.gap.low), pytest.approx(split.gap.high), 4
    )
    assert split.fit_share is not None
    assert split.fit_share.mean == pytest.approx(0)


def test_correlation() -> None:
    baseline = arm_of(*[falling(0.01, top) for top in (80, 81, 83)])
    variant = arm_of(*[falling(0.01, top) for top in (70, 72, 73)])
    split = split_gap(baseline, variant, 0.01, tolerance=1.0, errors=ERRORS)
    assert split.correlation == pytest.approx(np.corrcoef([80, 81, 83], [70, 72, 73])[0, 1])


def test_split_is_data() -> None:
    arm = arm_of(*[falling(0.01, 80) for _ in range(4)])
    split = split_gap(arm, arm, 0.01, tolerance=1.0, errors=ERRORS)
    assert replace(split) == split
    assert split == split_gap(arm, arm, 0.01, tolerance=1.0, errors=ERRORS)


def equal_differences(steps: float) -> tuple[Arm, Arm]:
    """Six seeds whose variants are all worse by the same number of points, at equal losses."""
    tops = [80.0, 81.0, 80.5, 79.0, 82.0, 80.0]
    return (arm_of(*[falling(0.01, top - off) for top in tops]) for off in (0.0, steps))


def test_no_spread_is_smaller_than_rounding() -> None:
    baseline, variant = equal_differences(1.0)
    split = split_gap(baseline, variant, 0.01, tolerance=0.5, errors=ERRORS, resolution=1.0)
    half = stats.t.ppf(0.975, 5) * math.sqrt(1 / 6 / 6)
    wide = Interval(pytest.approx(1.0), pytest.approx(1 - half), pytest.approx(1 + half), 6)
    assert split.gap == split.bias_share == wide
    # The fit share is a rounded number like the others.
    assert split.fit_share == Interval(pytest.approx(0), pytest.approx(-half), pytest.approx(half), 6)
    # Unpaired, each arm's variance is at least that of one rounding.
    apart = split_gap(*equal_differences(1.0), 0.01, tolerance=0.5, errors=ERRORS, resolution=9.0, pair=False)
    assert apart.gap.high - apart.gap.mean == pytest.approx(
        stats.t.ppf(0.975, 10) * math.sqrt(2 * 81 / 12 / 6)
    )


def test_a_share_that_is_zero_by_definition_stays_so() -> None:
    # The variant is a baseline trained for less, and goes on as the baseline does.
    def shorter(top: float) -> Outcome:
        loss = [1.0, 0.1, 0.01]
        return outcome(loss, [top - 10 * math.log10(one) for one in loss], planned=1)

    tops = [80.0, 81.0, 80.5, 79.0, 82.0, 80.0]
    whole = arm_of(*[replace(shorter(top), planned=2) for top in tops])
    split = split_gap(whole, arm_of(*map(shorter, tops)), 0.01, tolerance=1.0, errors=ERRORS, resolution=0.5)
    assert split.bias_share == Interval(0.0, 0.0, 0.0, 6)
    assert split.fit_share is not None
    assert split.fit_share == split.gap
    assert split.gap.high > split.gap.mean == pytest.approx(10.0)
    # Equal values of arms that went other ways are equal by rounding.
    other = arm_of(*[outcome([1.0, 0.2, 0.01], [70.0, 71.0, top + 20]) for top in tops])
    met = split_gap(whole, other, 0.01, tolerance=1.0, errors=ERRORS, resolution=0.5)
    assert met.bias_share is not None
    assert met.bias_share.mean == pytest.approx(0.0)
    assert met.bias_share.high > 0


def test_arms_of_one_check_each_have_no_fit_share_by_definition() -> None:
    one = arm_of(*[outcome([0.01], [80.0 + i]) for i in range(6)])
    two = arm_of(*[outcome([0.01], [78.0 + i]) for i in range(6)])
    split = split_gap(one, two, 0.01, tolerance=1.0, errors=ERRORS, resolution=1.0)
    assert split.fit_share == Interval(0.0, 0.0, 0.0, 6)
    assert split.bias_share is not None
    assert split.bias_share.high > split.bias_share.mean


def test_fewer_than_six_seeds_show_nothing_to_be_absent() -> None:
    baseline, variant = (arm_of(*[falling(0.01, 80 + i) for i in range(5)]) for _ in range(2))
    split = split_gap(baseline, variant, 0.01, tolerance=1.0, errors=ERRORS)
    assert (split.gap_state, split.gap_bounds.high) == ("unknown", pytest.approx(0))
    assert not split.rests_on_few
    few = split_gap(baseline, variant, 0.01, tolerance=1.0, errors=ERRORS, fewest=5)
    assert few.gap_state == "absent"
    assert few.rests_on_few
