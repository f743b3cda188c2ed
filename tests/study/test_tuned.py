"""Tuned baseline minus treated variant: where it is read, and that it is that difference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_control import DESIGN, GAP, world

from algobias.judge.design import Design, Request, Run
from algobias.treatments.confirm import Confirmation, plan_confirmation
from algobias.treatments.tuned import tuned_gap

EFFECT, ON_BASELINE = [2.0, 1.0], [0.5, 1.5]


def confirmed(**more: object) -> tuple[Design, list[Run], Confirmation]:
    design = replace(DESIGN, controls=2, at="matched", **more)  # type: ignore[arg-type]
    serve, runs = world(EFFECT, ON_BASELINE), list[Run]()
    while isinstance(found := plan_confirmation(design, runs, [(0, "matched")]), list):
        runs += [serve(request) for request in found]
    return design, runs, found


@pytest.mark.parametrize("tuned", [None, 0, 1])
@pytest.mark.parametrize("place", ["matched", "planned_end"])
def test_it_is_the_difference_seed_by_seed(tuned: int | None, place: str) -> None:
    design, runs, found = confirmed()
    judged = found.judged(0, place)  # type: ignore[arg-type]
    assert judged is not None
    assert judged.at == place
    left = tuned_gap(design, runs, found, judged, tuned)
    assert left.at == place
    assert left.gap.n == found.look
    truth = GAP + (0.0 if tuned is None else ON_BASELINE[tuned]) - EFFECT[0]
    assert left.gap.low < truth < left.gap.high
    best = "baseline" if tuned is None else f"baseline+control:{tuned}"
    ends = [
        {run.replicate: run.outcome.end_metric for run in runs if run.arm == arm}
        for arm in (best, "variant+control:0")
    ]
    # the scripted metric does not depend on the fit, so both places have the same difference
    known = np.mean([ends[0][i] - ends[1][i] for i in range(found.look)])
    assert left.gap.mean == pytest.approx(known)


def test_against_the_plain_baseline_it_is_the_gap_that_is_left() -> None:
    design, runs, found = confirmed()
    judged = found.judged(0, "matched")
    assert judged is not None
    left = tuned_gap(design, runs, found, judged, None).gap
    assert (left.mean, left.low, left.high) == pytest.approx(
        (judged.treated_gap.mean, judged.treated_gap.low, judged.treated_gap.high)
    )


def test_a_tuned_baseline_whose_loss_means_something_else_is_read_at_the_planned_end() -> None:
    design, runs, found = confirmed(control_alters_loss=(False, True))
    judged = found.judged(0, "matched")
    assert judged is not None
    assert judged.at == "matched"
    assert tuned_gap(design, runs, found, judged, 1).at == "planned_end"


def test_the_tuned_baselines_setting_is_not_given_to_the_variant() -> None:
    """No run of the variant with it, no recovery of it; its baseline is trained on to where it is read."""
    with_both = confirmed()
    design, runs, found = confirmed(baselines_only=(1,))
    arms = {run.arm for run in runs}
    assert arms == {run.arm for run in with_both[1]} - {"variant+control:1"}
    assert [one.control for one in found.verdict.recoveries] == [0]
    judged = found.judged(0, "matched")
    assert judged == with_both[2].judged(0, "matched")
    assert judged is not None
    assert tuned_gap(design, runs, found, judged, 1) == tuned_gap(*with_both, judged, 1)


def test_a_tuned_baseline_that_ends_above_the_level_is_trained_on_to_it() -> None:
    serve, runs = world(EFFECT, ON_BASELINE), list[Run]()
    design = replace(DESIGN, controls=2, at="matched", baselines_only=(1,))
    longer: set[str] = set()

    def slower(request: Request) -> Run:
        """The second treated baseline has half as much loss again at every update."""
        if request.arm != "baseline+control:1":
            return serve(request)
        run = serve(request if request.level is None else replace(request, level=request.level / 1.5))
        curve = replace(run.outcome.curve, train_loss=1.5 * run.outcome.curve.train_loss)
        return replace(run, outcome=replace(run.outcome, curve=curve))

    while isinstance(found := plan_confirmation(design, runs, [(0, "matched")]), list):
        longer |= {request.arm for request in found if request.level is not None}
        runs += [slower(request) for request in found]
    assert "baseline+control:1" in longer
    judged = found.judged(0, "matched")
    assert judged is not None
    assert tuned_gap(design, runs, found, judged, 1).at == "matched"
