"""Losses that are known with an error: the intervals at equal loss cover what they are of."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from algobias.inference.levels import Errors
from algobias.inference.statistics import paired
from algobias.judge.arm import Arm, FitScale, Path
from algobias.judge.design import Design, Request, Run
from algobias.judge.drawn import drawn_at_fit
from algobias.judge.inexact import NO_SLOPE, error_at, error_at_end, metric_error
from algobias.judge.matching import curve_arm, frontier_arm
from algobias.judge.plan import plan
from algobias.judge.recovery import recovery
from algobias.judge.shares import split_gap
from algobias.judge.split import Split
from algobias.kept.outcomes import outcome_from, outcome_json
from algobias.runs.outcome import Outcome
from scripted import outcome

ERRORS = Errors(0.05, 0.025)
SLOPE = 10.0
SHARE = 0.05
"""Standard error of a loss, as a share of it."""

END = 0.05
BASE = [1.0, 0.3, 0.1, END]
LATE = [1.2, 0.4, 0.15, 0.06]


def measured(loss: list[float], top: float, *, error: float = 0.0, told: float | None = None) -> Outcome:
    """A run whose metric is linear in log loss, and whose losses are all measured too high by ``error``."""
    shown = [one * (1 + error) for one in loss]
    run = outcome(shown, [top - SLOPE * math.log(one) for one in loss])
    return run if told is None else replace(run, loss_se=np.array(shown) * told)


def arm_of(*outcomes: Outcome) -> Arm:
    return curve_arm([Path(1.0, one) for one in outcomes], FitScale())


def test_what_an_error_of_the_level_does_is_slope_times_error() -> None:
    """Linear in log l: the metric moves by 10 per unit; runs of one arm may have different errors."""
    arm = arm_of(*(measured(BASE, 50.0, told=told) for told in (0.02, 0.04)))
    for loss in (0.2, END, 1.0):  # between checks; at the last, which is read above; at the first, below
        level = math.log(loss)
        assert error_at(arm, level) == pytest.approx([0.02, 0.04])
        assert metric_error(arm, level, error_at(arm, level)) == pytest.approx(SLOPE * 0.03)
    assert error_at_end(arm) == pytest.approx([0.02, 0.04])
    assert error_at_end(arm.take([1])) == pytest.approx([0.04])
    exact = arm_of(measured(BASE, 50.0))
    assert metric_error(exact, math.log(0.2), error_at(exact, math.log(0.2))) == 0.0


def test_one_more_source_of_error_adds_variances_and_degrees_of_freedom() -> None:
    plain = paired(np.array([1.0, 2.0, 4.0, 5.0]))
    assert plain.with_error(0.0) == plain
    both = plain.with_error(2 * plain.se)
    assert both.se == pytest.approx(math.sqrt(5) * plain.se)
    assert both.df == pytest.approx(25 * 3)
    assert (both.mean, both.n) == (plain.mean, plain.n)
    constant = paired(np.ones(4)).with_error(0.5)
    assert constant.interval(0.025).high == pytest.approx(1 + 0.5 * 1.96, abs=1e-3)


def world(rng: np.random.Generator, shift: float, same: bool, told: bool, seeds: int = 6) -> Split:
    """Baselines on shared examples; variants on their own: the same in all runs, or other ones in each."""
    shared = rng.normal(0, SHARE)
    own = np.full(seeds, rng.normal(0, SHARE)) if same else rng.normal(0, SHARE, seeds)
    top = 50 + rng.normal(0, 0.1, (2, seeds))
    se = SHARE * math.sqrt(2) if told else None
    base = [measured(BASE, a) for a in top[0]]
    late = [measured(LATE, b - shift, error=e - shared, told=se) for b, e in zip(top[1], own, strict=True)]
    return split_gap(arm_of(*base), arm_of(*late), END, tolerance=0.5, errors=ERRORS)


@pytest.mark.parametrize("same", [False, True])
def test_both_shares_cover(same: bool) -> None:
    shift, trials = 1.0, 400
    fit = SLOPE * math.log(LATE[-1] / END)
    covered = {True: 0, False: 0}
    for told in covered:
        rng = np.random.default_rng(7)
        for _ in range(trials):
            split = world(rng, shift, same, told)
            assert split.bias_share is not None
            assert split.fit_share is not None
            assert (split.level_error > 0) is told
            bias, rest = split.bias_share, split.fit_share
            covered[told] += bias.low <= shift <= bias.high and rest.low <= fit <= rest.high
    assert covered[True] >= 0.93 * trials, covered
    assert covered[False] < 0.8 * trials, f"without the error the intervals are too narrow: {covered}"


def test_the_gap_itself_has_no_error_of_a_loss() -> None:
    splits = [world(np.random.default_rng(1), 1.0, True, told) for told in (False, True)]
    assert splits[0].gap == splits[1].gap


def test_upward_the_baseline_is_read_where_the_variant_ended_with_its_error() -> None:
    base = [measured(BASE, 50 + 0.1 * i) for i in range(6)]
    late = [measured([0.9, 0.5, 0.4, 0.35], 49 + 0.1 * i, told=0.1) for i in range(6)]
    split = split_gap(arm_of(*base), arm_of(*late), END, tolerance=0.5, errors=ERRORS)
    assert split.side == "upward"
    assert split.level_error == pytest.approx(0.1 * SLOPE)
    assert split.bias_share is not None
    assert split.bias_share.high - split.bias_share.low == pytest.approx(2 * 1.96, rel=1e-2)
    alone = split_gap(arm_of(*base), arm_of(*late), END, tolerance=0.5, errors=ERRORS, pair=False)
    assert alone.level_error == pytest.approx(0.1 * SLOPE)


def test_one_check_alone_does_not_say_what_an_error_does() -> None:
    base = [measured([END], 50 + 0.1 * i) for i in range(4)]
    late = [measured([END], 49 + 0.1 * i, told=0.1) for i in range(4)]
    split = split_gap(arm_of(*base), arm_of(*late), END, tolerance=0.5, errors=ERRORS)
    assert (split.bias_share, split.unavailable_because) == (None, NO_SLOPE)


def test_ends_of_full_schedules_carry_their_errors() -> None:
    rows = [
        [Path(length, measured([end], 80.0, told=0.05)) for length, end in ends]
        for ends in ([(0.5, 0.2), (1.0, 0.1)], [(0.5, 0.25), (1.0, 0.12)])
    ]
    arm = frontier_arm(rows, FitScale())
    assert arm.log_error == pytest.approx(np.full((2, 2), 0.05))
    level = math.log(0.15)
    assert metric_error(arm, level, error_at(arm, level)) == pytest.approx(0.05 * SLOPE)


def run_of(request: Request) -> Outcome:
    top = 50 + 0.05 * math.cos(request.replicate)
    if request.arm == "baseline":
        return measured(BASE, top)
    return measured(LATE, top, told=0.2)


def test_the_planner_tells_the_error_and_promises_no_number_of_seeds() -> None:
    """Variants are matched at a level that is hardly known: the shares stay open."""
    runs: list[Run] = []
    design = Design(tolerance=0.4, looks=(6,), scalable=False)
    while isinstance(wanted := plan(design, runs), list):
        runs += [Run(one.arm, one.replicate, run_of(one), one.length) for one in wanted]
    assert wanted.name == "undecided"
    assert wanted.would_decide is None
    assert "a larger --fit does" in wanted.reason
    (note,) = drawn_at_fit(design, runs).notes
    assert f"{wanted.split.level_error:.2g}" in note


def test_what_a_control_recovers_is_as_uncertain_as_its_level() -> None:
    def arms(told: float | None) -> list[Arm]:
        made = []
        for shift in (0.0, 4.0, 1.0, 0.0):
            tops = [50 - shift + 0.2 * math.cos(3 * i + shift) for i in range(6)]
            made.append(arm_of(*(measured(BASE, top, told=told if shift == 1 else None) for top in tops)))
        return made

    exact, inexact = (
        recovery(*arms(told), at="matched", reference=END, level=END, tolerance=0.5, errors=ERRORS)
        for told in (None, 0.05)
    )
    assert exact.at == inexact.at == "matched"
    for name in ("treated_gap", "improvement", "recovered"):
        one, other = getattr(exact, name), getattr(inexact, name)
        assert other.mean == pytest.approx(one.mean)
        assert other.high - other.low > 1.5 * (one.high - one.low), name


def test_an_outcome_keeps_its_errors() -> None:
    kept = measured(BASE, 50.0, told=0.1)
    again = outcome_from(outcome_json(kept), None)
    assert again.loss_se is not None
    assert kept.loss_se is not None
    assert np.array_equal(again.loss_se, kept.loss_se)
    assert "loss_se" not in outcome_json(measured(BASE, 50.0))
    with pytest.raises(ValueError, match="different lengths"):
        outcome_from({**outcome_json(kept), "loss_se": [0.1]}, None)
