"""Coordinates that are read inside of the runs of a command: which moved at equal training loss."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from quick_slots import Quick, here

from algobias.attached.events import ProbeReading
from algobias.attached.journal import Journal
from algobias.attached.orders import VARIABLE
from algobias.commands.numbers.inside import Told
from algobias.commands.question import CommandQuestion
from algobias.commands.runner import Runner
from algobias.controls.run import run_control
from algobias.controls.spec import control_spec
from algobias.errors import BadInput
from algobias.explanations.run import run_explain
from algobias.explanations.spec import explain_spec
from algobias.jobs.job import ORDERS, Job
from algobias.jobs.slots import Slots
from algobias.kept.store import Store
from algobias.running.trainer import Options
from algobias.runs.progress import Progress
from algobias.studies.audited import audit_of
from algobias.studies.command.options import CommandOptions
from algobias.studies.command.run import command_id, run_command

SCRIPT = Path(__file__).with_name("probed_toy.py")


def question(**fields: object) -> CommandQuestion:
    usual = {
        "command": (sys.executable, str(SCRIPT), "--seed={seed}"),
        "args": ("--bias=5",),
        "metric": r"stdout:update (?P<update>\d+) test (?P<value>\S+)",
        "tolerance": 1.0,
        "looks": (3,),
        "preflight": 0,
        "fit": 9,
    }
    return CommandQuestion(**{**usual, **fields})


def test_what_moved_is_compared_at_equal_training_loss(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        asked = question(probes="weight_norm,trace", control=("args: --bias=0",))
        answer = run_command(asked, store, CommandOptions(slots=4)).answer
        again = run_command(asked, store, CommandOptions(slots=4)).answer
    assert again.without("seconds") == answer.without("seconds")
    moved = {entry.probe: entry for entry in answer.moved}
    assert moved.keys() == {"weight_norm", "trace"}
    assert {entry.status for entry in answer.moved} == {"moved"}
    assert moved["weight_norm"].difference.mean == pytest.approx(5.0)
    assert answer.readings is not None
    assert answer.readings.matched
    arms = {arm.name: arm for arm in answer.readings.arms}
    assert set(arms) == {"baseline", "variant", "variant+args: --bias=0", "baseline+args: --bias=0"}
    assert arms["baseline"].values["weight_norm"].n == 3
    assert answer.readings.gradient_equivalents == 2 * 3 * 4
    # Along training two seeds of two arms are read, at losses of halves.
    along = answer.readings.trajectories
    assert {(one.probe, one.arm) for one in along} == {("trace", "baseline"), ("trace", "variant")}
    assert [point[0] for point in along[0].points] == [1, 2, 4, 8, 16, 32, 64]
    back = {entry.probe: entry for entry in answer.controls[0].coordinates}
    assert back["weight_norm"].status == "came_back"
    assert back["weight_norm"].returned.mean == pytest.approx(1.0)


def runner(store: Store, probes: str = "none") -> Runner:
    asked = question(probes=probes)
    return Runner(asked, store, "", Slots(1), Progress(), measured=True)


def test_other_probes_are_other_runs_and_without_any_nothing_is_asked(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        places = {}
        for probes in ("none", "trace", "trace,weight_norm"):
            one = runner(store, probes)
            orders = one.job(one.first).orders
            assert orders is not None
            assert orders["probes"] == ([] if probes == "none" else probes.split(","))
            assert orders["probe_seed"] == one.first.seed
            places[one.first.address] = one.fit_set
        assert len(places) == 3
        assert len(set(places.values())) == 1, "the examples are the same ones"
        ids = {command_id(runner(store, probes)) for probes in ("none", "trace")}
    assert len(ids) == 2


def test_what_probes_need_is_said_before_anything_is_run() -> None:
    for fields, part in (
        ({"probes": "cheap", "fit": 0}, "leave out --train-loss and --fit 0"),
        ({"probes": "cheap", "train_loss": "stdout:(x)"}, "leave out --train-loss and --fit 0"),
        ({"probes": "weight_nrom"}, "did you mean 'weight_norm'"),
        ({"probes": "loss_barrier"}, "needs other"),
    ):
        with pytest.raises(BadInput, match=part):
            question(**fields)


def test_a_reading_that_is_none_is_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events")
    journal.write(ProbeReading(1, "trace", 1.0, '{"probe": "trace"}', "f"))
    with pytest.raises(BadInput, match="a reading"):
        Told.of(tmp_path).readings()


def test_what_came_back_is_said_by_a_control_and_by_an_explanation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_orders(job: Job) -> int:
        monkeypatch.setenv(VARIABLE, str(job.folder / ORDERS))
        return here(job)

    Quick(with_orders).install(monkeypatch)
    with Store(tmp_path) as store:
        words = (sys.executable, str(SCRIPT), "--seed={seed}", "--bias=1")
        run_command(question(command=words, args=("--bias=4",), probes="weight_norm"), store)
        row = audit_of(store, "last")
        halves = explain_spec({"doses": (0.5,)})
        explained = run_explain(row, halves, store, Options(1)).answer
        cure = control_spec({"only": ("args: --bias=2.5",), "rungs": (2,), "looks": (6,)})
        controlled = run_control(row, cure, store, Options(1)).answer
    (back,) = controlled.controls[0].coordinates
    assert (back.probe, back.status) == ("weight_norm", "came_back")
    assert back.returned.mean == pytest.approx(0.5)
    (half,) = explained.interventions
    assert half.text == "args: --bias=2"
    assert half.returned["weight_norm"].mean == pytest.approx(2 / 3)
    (slope,) = explained.dose_response.coordinates
    assert slope.means == pytest.approx([slope.means[0], slope.means[0] + 1, slope.means[0] + 3])
    (statement,) = explained.statements
    assert (statement.coordinate, statement.word) == ("weight_norm", "undecided")
    assert "only the change itself was taken back" in statement.because
    assert [entry.status for entry in explained.moved] == ["moved"]
    assert any("none is called a cause" in warning for warning in explained.warnings)
