"""Explanations of an audit of a command: what can be done to a change, and what that leaves of the gap."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from quick_slots import Quick, here
from test_command_control import Said, comparable
from test_command_study import TOY, question

from algobias.commands.question import CommandQuestion
from algobias.errors import BadInput
from algobias.explanations.forecast import forecast_explain
from algobias.explanations.of_command import after
from algobias.explanations.run import run_explain
from algobias.explanations.spec import explain_spec
from algobias.judge.arm import FitScale
from algobias.judge.design import Design, Run
from algobias.judge.extension import Book
from algobias.kept.store import Store
from algobias.running.trainer import Options
from algobias.runs.outcome import Curve, Outcome
from algobias.studies.audited import audit_of
from algobias.studies.command.run import run_command
from algobias.studies.exporting import exported
from algobias.studies.reports import record_of
from algobias.treatments.command_interventions import doses, switches


def of(baseline: str, **change: object) -> CommandQuestion:
    words = (sys.executable, str(TOY), "--seed={seed}", "--iters=64", *baseline.split())
    return question(command=words, **change)


@pytest.mark.parametrize(
    ("baseline", "change", "made"),
    [
        ("--bias=1", {"args": ("--bias=4",)}, "args: --bias=2"),
        ("--bias=0", {"args": ("--bias=4.0",)}, "args: --bias=2"),
        ("--lr 0.1", {"args": ("--lr 0.4 --out=x",)}, None),
        ("", {"args": ("--bias=4",)}, None),
        ("--bias=-1", {"args": ("--bias=4",)}, None),
        ("--bias=1", {"env": ("A=1",)}, None),
        ("--b=1", {"args": ("--b=4",), "change": ("lr:x4+sam:0.1",)}, "args: --b=2 then lr:x2+sam:0.05"),
        ("", {"change": ("clip:1",)}, None),
        ("", {"change": ("lr:x4,after=3",)}, None),
    ],
)
def test_half_of_a_change(baseline: str, change: dict[str, object], made: str | None) -> None:
    found = doses(of(baseline, **change), (0.5,))
    if made is None:
        assert found.made == ()
        assert found.left_out[0][0] is None
    else:
        assert [one.text for one in found.made] == [made]


def test_whole_numbers_stay_whole_and_doses_that_are_the_same_are_left_out() -> None:
    asked = of("--batch_size 16", args=("--batch_size=256",))
    found = doses(asked, (0.5, 0.0, 1.0, 2.0))
    assert [one.text for one in found.made] == ["args: --batch_size=64", "args: --batch_size=4096"]
    assert [why for _, why in found.left_out] == ["the same as the baseline", "the same as the variant"]
    command = found.made[0].command(1.0, ())
    assert command.words[-2:] == ("--batch_size", "64")


def test_switches_begin_and_end_levers_after_a_share_of_the_run() -> None:
    asked = of("", change=("lr:x2+clip:1", "sam:0.1"), scale="--iters")
    found, why = switches(asked, {"baseline": 100, "variant": 50}, (0.5,))
    assert why is None
    off, on = (one.command(1.0, asked.scaling) for one in found)
    assert off.levers == ("lr:x2,until=25+clip:1,until=25", "sam:0.1,until=25")
    assert on.levers == ("lr:x2,after=50+clip:1,after=50", "sam:0.1,after=50")
    twice = found[0].command(2.0, asked.scaling)
    assert twice.levers[1] == "sam:0.1,until=50"
    assert "--iters=128" in twice.words
    assert switches(of("", args=("--bias=1",)), {"baseline": 9, "variant": 9}, (0.5,))[0] == []
    assert "not counted" in str(switches(asked, {}, (0.5,))[1])


def outcome(updates: list[int]) -> Outcome:
    losses = 1 / np.array(updates, dtype=float)
    curve = Curve(np.array(updates), losses, np.full(len(updates), np.nan), 10 - losses)
    return Outcome(0, curve, planned=len(updates) - 1)


def test_what_comes_before_a_switch_is_not_looked_at() -> None:
    cut = after(outcome([10, 20, 30, 40]), 20)
    assert cut.curve.update.tolist() == [30, 40]
    assert cut.end_metric == outcome([40]).end_metric
    assert after(outcome([10, 20]), 5).curve.update.tolist() == [10, 20]
    assert after(outcome([10, 20]), 20).curve.update.tolist() == [20]


@pytest.mark.parametrize(("transplants", "late"), [(None, True), ((), False), ((1,), False), ((0,), True)])
def test_a_run_first_looked_at_late_goes_on_from_another_only_where_it_does(
    transplants: tuple[int, ...] | None, late: bool
) -> None:
    design = Design(tolerance=1.0, looks=(2,), controls=2, transplants=transplants)
    runs = [Run("variant+control:0", replicate, outcome([10, 20])) for replicate in range(2)]
    arm = Book(design, runs).planned_arm("variant+control:0", 2, FitScale())
    assert arm.late.tolist() == [late, late]


def test_doses_are_read_as_they_were_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, said = Quick(here).install(monkeypatch), Said()
    with Store(tmp_path) as store:
        run_command(of("--bias=1", args=("--bias=4",), looks=(3,)), store)
        row = audit_of(store, "last")
        asked = explain_spec({"doses": (0.5,)})
        before = len(quick.done)
        plan = forecast_explain(row, asked, store, Options(1))
        assert [arm.name for arm in plan.arms] == ["variant+args: --bias=2"]
        assert plan.worst_case_updates is None, "nobody counts the updates of a script without torch"
        counted = json.loads(json.dumps(row.result))
        for arm in counted["result"]["arms"]:
            arm["cost"]["updates"] = 64
        plan = forecast_explain(replace(row, result=counted), asked, store, Options(1))
        assert {arm.worst_case_updates for arm in plan.arms} == {64}
        assert plan.worst_case_updates == 64 * 3 * len(plan.arms)
        assert len(quick.done) == before
        found = run_explain(row, asked, store, Options(1), said).answer
        assert len(quick.done) == before + 3, "the runs of the audit are used again"
        again = run_explain(audit_of(store, "last"), asked, store, Options(1)).answer
        for field in ("force", "only"):
            with pytest.raises(BadInput, match=f"{field}: 'sam:0.1' .*'algobias control --only'"):
                run_explain(row, explain_spec({field: "sam:0.1"}), store, Options(1))
        sent, record = exported(store, str(found.study)), record_of(store, str(found.study))
    assert [one.name for one in sent.runs if one.seed == 0] == [
        "baseline seed=0",
        "variant seed=0",
        "variant+control:0 seed=0",
    ]
    assert sent.tags["intervention.0"] == "args: --bias=2"
    assert sent.numbers["intervention.0.recovered"] == pytest.approx(2 / 3, abs=1e-9)
    assert {run.arm for run in record.runs} == {"baseline", "variant"}, "the report draws these two"
    assert comparable(again.to_json()) == comparable(found.to_json())
    (entry,) = found.interventions
    assert entry.recovered.mean == pytest.approx(2 / 3, abs=1e-9)
    assert entry.place == "matched"
    assert [dose.gap.mean for dose in found.dose_response.doses] == pytest.approx([0.0, 1.0, 3.0])
    assert found.explain_of == row.id
    assert any("nothing is switched: only injected levers" in text for text in said.texts)


def test_a_study_that_was_stopped_says_what_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Quick(here).install(monkeypatch)
    quick.stop_after = 2
    asked = of("--bias=1", args=("--bias=4",), looks=(3,))
    words = "algobias run --args=--bias=4 -- python toy.py"
    with Store(tmp_path) as store:
        for command, told in ((words, f"goes on where it was stopped: {words}"), ("", "ask the same again")):
            with pytest.raises(KeyboardInterrupt):
                run_command(asked, store, command=command)
            with pytest.raises(BadInput, match=f"a finished study: .*{told}"):
                exported(store, "last")
            with pytest.raises(BadInput, match=f"a finished audit: .*{told}"):
                audit_of(store, "last")


def test_a_change_to_which_nothing_can_be_done_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Quick(here).install(monkeypatch)
    with Store(tmp_path) as store:
        run_command(of("", args=("--bias=4",), looks=(3,)), store)
        with pytest.raises(BadInput, match=r"change: 'args: --bias=4' .* where it stands in the command"):
            run_explain(audit_of(store, "last"), explain_spec({}), store, Options(1))
