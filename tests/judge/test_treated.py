"""Treated arms in an upward match: the gap, R and readings are taken at the same moments."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from algobias.coordinates.moments import matched_moments
from algobias.inference.levels import Errors
from algobias.judge.arm import Arm, FitScale, Path
from algobias.judge.design import Design
from algobias.judge.extension import Book
from algobias.judge.matching import curve_arm
from algobias.judge.recovery import recovery
from algobias.judge.treated import comes_down, common_fit, end_levels
from algobias.runs.outcome import Outcome
from scripted import PLANNED, UPDATES, Lab, outcome, wiggle

ERRORS = Errors(0.05, 0.025)


def straight(top: float, *losses: float) -> Outcome:
    """The metric is ``top`` at loss 1 and grows by 10 for each factor of ten that the loss falls."""
    return outcome(losses, [top - 10 * math.log10(one) for one in losses])


def arm_of(*outcomes: Outcome) -> Arm:
    return curve_arm([Path(1.0, one) for one in outcomes], FitScale())


def four(treated_end: float = 0.05, lagging: float = 0.001) -> list[Arm]:
    """Baselines go to 0.01, variants end at 0.2 or 0.25 below them by 4, treated ones by 1."""
    tops = (0.0, 1.0, 0.5, 1.5)
    variant_ends = (0.2, 0.25, 0.2, 0.25)
    return [
        arm_of(*[straight(70 + top, 1.0, 0.1, 0.01) for top in tops]),
        arm_of(*[straight(66 + top, 1.0, 0.5, end) for top, end in zip(tops, variant_ends, strict=True)]),
        arm_of(*[straight(69 + top, 1.0, 0.4, treated_end) for top in tops]),
        arm_of(*[straight(71 + top, 1.0, 0.3, lagging) for top in tops]),
    ]


def recovered(arms: list[Arm], upward: bool = True):
    return recovery(
        *arms, at="matched", reference=0.01, level=None, tolerance=0.5, errors=ERRORS, upward=upward
    )


def test_the_part_of_the_gap_that_is_gone_at_the_loss_at_which_the_variant_ended() -> None:
    found = recovered(four())
    assert (found.at, found.reason) == ("matched", None)
    assert found.level == pytest.approx(math.sqrt(0.2 * 0.25))
    assert found.treated_gap.mean == pytest.approx(1.0)
    assert found.recovered is not None
    assert found.recovered.mean == pytest.approx(1 - 1 / 4)
    assert found.against_treated_baseline is not None
    assert found.against_treated_baseline.mean == pytest.approx(1 - 2 / 4)
    assert found.other is not None
    assert found.other.at == "planned_end"
    assert found.cost_ratio_matched == found.cost_ratio, "the variant is there at its planned end"


def test_downward_nothing_can_be_matched_there() -> None:
    assert recovered(four(), upward=False).at == "planned_end"


def test_a_treated_arm_that_ended_above_is_compared_at_the_planned_end() -> None:
    found = recovered(four(treated_end=0.22))
    assert (found.at, found.other) == ("planned_end", None)
    assert found.reason is not None
    assert "treated variant comes down to the loss at which the variant ended" in found.reason


def test_a_treated_baseline_that_ended_above_leaves_r() -> None:
    found = recovered(four(lagging=0.29))
    assert found.at == "matched"
    assert found.recovered is not None
    assert found.recovered.mean == pytest.approx(3 / 4)
    assert found.against_treated_baseline is None
    assert "treated baseline" in str(found.reason)


def test_levels_go_with_their_replicates() -> None:
    variant, treated = four()[1:3]
    assert np.exp(end_levels(variant, (3, 0, 7))).tolist() == pytest.approx([0.25, 0.2, 0.0])
    found = comes_down(treated.take([3, 0]), variant.take([1, 3, 0]))
    assert found is not None
    assert np.exp(found).tolist() == pytest.approx([0.25, 0.2])


def test_without_a_measure_of_fit_there_is_no_match() -> None:
    arms = [arm_of(*[outcome([1.0, -0.1], [50.0, 90.0])] * 4), *four()[1:]]
    common, because = common_fit(arms, None, None, upward=True)
    assert common is None
    assert because == "there is no common measure of fit"


DESIGN = Design(tolerance=0.5, looks=(6,), controls=2, upward=True)
ARMS = ["baseline", "variant", "variant+control:0", "baseline+control:0", "variant+control:1"]


def lab(decays: bool = False) -> Lab:
    """A variant that stays at 0.1, worse by 4; a control that leaves a gap of 1; one that stays at 0.3."""
    shifts = {"variant": -4.0, "variant+control:0": -1.0, "variant+control:1": -2.0}
    floors = {"variant": 0.1, "variant+control:1": 0.3}
    return Lab(
        speed=lambda arm, i: 1.0,
        shift=lambda arm, i: shifts.get(arm, 0.0) + wiggle(i, 0.01) * (arm != "baseline"),
        decays=decays,
        floor=lambda arm: floors.get(arm, 0.0),
    )


@pytest.mark.parametrize("decays", [False, True])
def test_gap_and_readings_are_taken_at_the_same_moments(decays: bool) -> None:
    design = replace(DESIGN, decays=decays)
    verdict, runs, batches = lab(decays).audit(design)
    assert (verdict.name, verdict.split.side) == ("bias", "upward")
    first, second = verdict.recoveries
    assert (first.at, second.at) == ("matched", "planned_end")
    assert first.level == pytest.approx(0.1)
    assert first.recovered is not None
    assert first.recovered.mean == pytest.approx(3 / 4, abs=0.01)
    found = matched_moments(design, runs, verdict, ARMS)
    assert found.unmatched == ("variant+control:1",)
    book = Book(design, runs)
    treated, variant = (book.everything(arm, 6, FitScale()) for arm in ("variant+control:0", "variant"))
    levels = comes_down(treated, variant)
    assert levels is not None
    columns, _ = treated.crossing(levels)
    for i, moments in found.moments["variant+control:0"].items():
        if decays:
            assert {one.length for one in moments} == {0.125, 0.25}
        else:
            (moment,) = moments
            assert moment.update == UPDATES[columns[i]] == 16
    asked = [request for batch in batches for request in batch if request.arm == "variant+control:1"]
    assert {(request.length, request.level) for request in asked} == {(1.0, None)}, "in vain, and not asked"


def test_without_being_asked_controls_are_compared_at_the_planned_end() -> None:
    verdict, runs, _ = lab().audit(replace(DESIGN, upward=False))
    assert [found.at for found in verdict.recoveries] == ["planned_end"] * 2
    found = matched_moments(DESIGN, runs, verdict, ARMS)
    assert {moment.update for (moment,) in found.moments["variant+control:1"].values()} == {PLANNED}
