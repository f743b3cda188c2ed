"""Runs of which only the test metric is known, and runs that can be neither longer nor shorter."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from algobias.judge.design import Design, Request, Run
from algobias.judge.plan import plan
from algobias.judge.split import NO_LOSS
from algobias.judge.verdict import Verdict
from algobias.kept.outcomes import outcome_from, outcome_json
from algobias.runs.outcome import Curve, Outcome
from scripted import Lab, wiggle


def metric_alone(metric: float, *, diverged: bool = False) -> Outcome:
    """A run of two checks without a training loss."""
    unknown = np.full(2, math.nan)
    curve = Curve(np.array([10, 20]), unknown, unknown, np.array([metric - 1, metric]))
    return Outcome(0, curve, planned=1, diverged=diverged, trivial_metric=math.nan, loss_known=False)


def carried_out(design: Design, gap: float) -> tuple[Verdict, list[Request]]:
    """The verdict where the variant is worse by ``gap``, and all that was asked for."""
    runs: list[Run] = []
    asked: list[Request] = []
    while isinstance(wanted := plan(design, runs), list):
        asked += wanted
        for request in wanted:
            shift = gap + wiggle(request.replicate + 7, 0.1) if request.arm == "variant" else 0.0
            runs.append(
                Run(
                    request.arm,
                    request.replicate,
                    metric_alone(90 + wiggle(request.replicate, 0.3) - shift),
                    request.length,
                )
            )
    return wanted, asked


@pytest.mark.parametrize("decays", [False, True])
def test_a_present_gap_is_real_and_cannot_be_split(decays: bool) -> None:
    verdict, asked = carried_out(Design(tolerance=0.5, decays=decays), gap=3.0)
    assert verdict.name == "undecided"
    assert verdict.look == 4, "more seeds cannot tell what it consists of"
    assert verdict.would_decide is None
    assert "The loss is real; fit or bias cannot be told without a training loss." in verdict.reason
    assert verdict.split.gap_state == "present"
    assert verdict.split.unavailable_because == NO_LOSS
    assert verdict.split.bias_share is None
    assert {request.length for request in asked} == {1.0}


def test_an_absent_gap_is_no_gap() -> None:
    verdict, _ = carried_out(Design(tolerance=1.0), gap=0.0)
    assert (verdict.name, verdict.look) == ("no_gap", 6)


def test_the_same_numbers_in_both_arms_are_not_applied() -> None:
    runs = [
        Run(arm, i, metric_alone(90 + wiggle(i, 0.3))) for arm in ("baseline", "variant") for i in range(4)
    ]
    verdict = plan(Design(tolerance=1.0), runs)
    assert isinstance(verdict, Verdict)
    assert verdict.name == "not_applied"


def test_runs_that_end_without_a_metric_are_broken() -> None:
    runs = [Run("baseline", i, metric_alone(90 + wiggle(i, 0.3))) for i in range(4)]
    runs += [Run("variant", i, metric_alone(math.nan, diverged=True)) for i in range(4)]
    verdict = plan(Design(tolerance=1.0), runs)
    assert isinstance(verdict, Verdict)
    assert verdict.name == "broken"


def test_it_is_stored_that_no_loss_is_known() -> None:
    stored = outcome_json(metric_alone(90.0))
    assert not outcome_from(stored, None).loss_known
    known = replace(metric_alone(90.0), loss_known=True)
    assert "loss_known" not in outcome_json(known)
    assert outcome_from(outcome_json(known), None).loss_known


def slower(arm: str, replicate: int) -> float:
    """The variant fits at half the baseline's speed."""
    return 0.5 if arm.startswith("variant") else 1.0


@pytest.mark.parametrize("decays", [False, True])
def test_runs_that_cannot_be_scaled_are_never_asked_for_at_another_length(decays: bool) -> None:
    lab = Lab(slower, lambda arm, i: wiggle(i, 0.1), 2.0)
    runs: list[Run] = []
    design = Design(tolerance=0.2, decays=decays, scalable=False)
    while isinstance(wanted := plan(design, runs), list):
        assert {(request.length, request.level) for request in wanted} == {(1.0, None)}
        runs += [lab.run(request) for request in wanted]
    scalable = lab.audit(replace(design, scalable=True))
    assert any(request.length != 1 for batch in scalable[2] for request in batch)
    assert wanted.split.gap_state == scalable[0].split.gap_state == "present"
