"""A finished study is sent to trackers: what was stored arrives, and sending again changes nothing."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import json
import secrets
import struct
from pathlib import Path

import numpy as np
import pytest

from algobias.answer.answer import Answer
from algobias.errors import BadInput
from algobias.exports.content import ExportedStudy
from algobias.exports.registry import TARGETS, parse
from algobias.exports.target import Sent, Target, file_name
from algobias.logs.formats.events import TensorBoard as EventFiles
from algobias.runs.cost import Cost
from algobias.runs.outcome import Curve, Outcome
from algobias.runs.run import Run

UPDATES = np.array([1, 10, 100])


def outcome(seed: int, arm: int, *, longer: bool = False, diverged: bool = False) -> Outcome:
    updates = np.append(UPDATES, 200) if longer else UPDATES
    loss = 1 / updates + seed / 7
    metric = 90 - 10 / updates - arm
    if diverged:
        loss[-1], metric[-1] = np.inf, np.nan
    curve = Curve(updates, loss, np.full(len(updates), np.nan), metric)
    return Outcome(
        seed,
        curve,
        planned=2,
        diverged=diverged,
        cost=Cost(updates=100.0, seconds=50.0 * (2 if longer else 1)),
    )


def study(*, verdict: str = "bias", seeds: int = 2) -> ExportedStudy:
    answer = Answer.from_json(
        {
            "schema": 1,
            "study": "0123456789ab",
            "task": "digits",
            "change": ["batch:x16", "lr=sqrt"],
            "metric": "accuracy",
            "verdict": verdict,
            "reason": "The gap remains.",
            "warnings": ["one", "two"],
            "tolerance": 0.4,
            "gap": {"mean": 1.0, "low": 0.75, "high": 1.25, "n": seeds, "state": "present"},
            "controls": [{"lever": "sam:0.1", "verdict": "recovered", "recovered": {"mean": 0.8, "n": 2}}],
            "seconds": 12.5,
            "store": "/somewhere",
            "report": "/somewhere/report.html",
        }
    )
    runs = [Run("baseline", seed, outcome(seed, 0)) for seed in range(seeds)]
    runs += [Run("baseline", 0, outcome(0, 0, longer=True), 2.0)]
    runs += [Run("variant", seed, outcome(seed, 1, diverged=seed == 1)) for seed in range(seeds)]
    runs += [Run("variant+control:0", 0, outcome(0, 2))]
    return ExportedStudy.of(
        answer,
        runs,
        decays=False,
        command="algobias audit",
        draw=lambda: f"<html> {secrets.token_hex()}",
        created=1.7e9,
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def needs(target: str) -> None:
    library = TARGETS[target].library
    if library is not None and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} not installed: pip install 'algobias[trackers]'")


def test_a_longer_run_contains_the_shorter_one_where_rates_do_not_decay() -> None:
    runs = study().runs
    assert [run.name for run in runs] == [
        "baseline seed=0",
        "baseline seed=1",
        "variant seed=0",
        "variant seed=1",
        "variant+control:0 seed=0",
    ]
    assert [point.update for point in runs[0].points] == [1, 10, 100, 200]
    assert runs[0].second(100) == 50.0
    assert runs[3].points[-1].update == 10, "what is not finite is not sent"
    assert runs[3].diverged
    answer, each = study().answer, [Run("baseline", 0, outcome(0, 0), length) for length in (1.0, 0.5)]
    apart = ExportedStudy.of(answer, each, decays=True, command="", draw=str, created=0.0)
    assert [run.name for run in apart.runs] == ["baseline seed=0 length=0.5", "baseline seed=0"]


def test_a_mark_is_that_of_the_content() -> None:
    assert study().mark == study().mark != study(verdict="mixed").mark
    runs = study().runs
    assert len({run.mark for run in runs}) == len(runs)
    elsewhere = study().answer.changed(store="/elsewhere", seconds=1.0)
    assert ExportedStudy.of(
        elsewhere, [], decays=False, command="algobias audit", draw=str, created=0
    ).mark == (study().mark)


def test_tables_have_every_bit(tmp_path: Path) -> None:
    target = parse(f"csv:{tmp_path}/out")
    sent = target.send(study())
    assert (sent.written, sent.kept) == (5, 0)
    with (tmp_path / "out" / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    baseline = [row for row in rows if (row["arm"], row["seed"]) == ("baseline", "1")]
    assert [float(row["train_loss"]) for row in baseline] == list(1 / UPDATES + 1 / 7)
    assert [float(row["test_metric"]) for row in baseline] == list(90 - 10 / UPDATES)
    named = dict(csv.reader((tmp_path / "out" / "study.csv").open()))
    assert named["verdict"] == "bias"
    assert named["control.0"] == "sam:0.1: recovered"
    assert float(named["gap_low"]) == 0.75
    assert "store" not in json.loads((tmp_path / "out" / "answer.json").read_text())
    before = files(tmp_path)
    again = target.send(study())
    assert (again.written, again.kept) == (0, 5)
    assert files(tmp_path) == before
    assert target.send(study(verdict="mixed")).written == 3


def test_event_files_are_read_by_our_own_reader(tmp_path: Path) -> None:
    target = parse(f"tensorboard:{tmp_path}/runs")
    assert target.send(study()) == Sent(f"{tmp_path}/runs/0123456789ab", 6, 0)
    folder = tmp_path / "runs" / "0123456789ab" / "variant" / "seed=0"
    (piece,) = EventFiles().read(folder, "variant")
    told = [(point.cells["step"], name, text) for point in piece.points for name, text in point.cells.items()]
    metric = [(int(step), np.float32(text)) for step, name, text in told if name == "test_metric"]
    assert metric == [(int(u), np.float32(90 - 10 / u - 1)) for u in UPDATES]
    before = files(tmp_path)
    assert target.send(study()) == Sent(f"{tmp_path}/runs/0123456789ab", 0, 6)
    assert files(tmp_path) == before


def test_event_files_are_read_by_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard not installed: pip install 'algobias[trackers]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    parse(f"tensorboard:{tmp_path}").send(study())
    read = EventAccumulator(str(tmp_path / "0123456789ab" / "variant" / "seed=0")).Reload()
    scalars = read.Scalars("test_metric")
    assert [each.step for each in scalars] == [1, 10, 100]
    assert [each.value for each in scalars] == [float(np.float32(90 - 10 / u - 1)) for u in UPDATES]
    assert [each.wall_time for each in scalars] == [1.7e9 + 0.5, 1.7e9 + 5, 1.7e9 + 50]
    whole = EventAccumulator(str(tmp_path / "0123456789ab")).Reload()
    assert whole.Scalars("study/gap")[0].value == 1.0
    (text,) = whole.Tensors("study/reason/text_summary")
    assert text.tensor_proto.string_val[0] == b"The gap remains."


def test_mlflow_has_a_parent_and_a_child_for_each_run_once(tmp_path: Path) -> None:
    needs("mlflow")
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/runs.db"
    target = parse(f"mlflow:{uri}")
    client = MlflowClient(tracking_uri=uri)
    client.create_experiment("algobias", artifact_location=(tmp_path / "artifacts").as_uri())
    first = target.send(study())
    assert (first.written, first.kept) == (6, 0)
    runs = there(client)
    assert target.send(study()).kept == 6
    assert there(client) == runs
    (parent,) = (run for run in runs.values() if "mlflow.parentRunId" not in run["tags"])
    assert parent["tags"]["algobias.verdict"] == "bias"
    assert parent["tags"]["mlflow.note.content"] == "The gap remains."
    assert parent["metrics"]["gap"] == 1.0
    (id,) = (id for id, run in runs.items() if run is parent)
    assert {file.path for file in client.list_artifacts(id)} == {"report.html", "answer.json"}
    children = {run["tags"]["algobias.run"]: (id, run) for id, run in runs.items() if run is not parent}
    assert len(children) == 5
    assert all(run["tags"]["mlflow.parentRunId"] == id for _, run in children.values())
    history = client.get_metric_history(children["variant seed=0"][0], "test_metric")
    assert [(each.step, each.value) for each in history] == [(u, 90 - 10 / u - 1) for u in (1, 10, 100)]
    assert children["variant seed=1"][1]["status"] == "FAILED"

    other = target.send(study(verdict="mixed"))
    assert (other.written, other.kept) == (1, 5)
    renewed = there(client)
    assert len(renewed) == 6
    assert id not in renewed
    client.delete_tag(next(iter(renewed)), "algobias.mark")  # as if the sending had been cut off
    assert target.send(study(verdict="mixed")).written == 1
    assert len(there(client)) == 6


def there(client: object) -> dict[str, dict[str, object]]:
    """All runs of the experiment that are not deleted."""
    place = client.get_experiment_by_name("algobias")  # type: ignore[attr-defined]
    return {
        run.info.run_id: {"tags": run.data.tags, "metrics": run.data.metrics, "status": run.info.status}
        for run in client.search_runs([place.experiment_id])  # type: ignore[attr-defined]
    }


def test_wandb_offline_has_a_group_of_runs_once(tmp_path: Path) -> None:
    needs("wandb")
    target = parse(f"wandb:mine,mode=offline,folder={tmp_path}")
    assert target.send(study()).written == 6
    folders = sorted(path.name for path in (tmp_path / "wandb").glob("offline-run-*"))
    assert len(folders) == 6
    assert target.send(study()) == Sent(f"{tmp_path}/wandb, for 'wandb sync'", 0, 6)
    assert sorted(path.name for path in (tmp_path / "wandb").glob("offline-run-*")) == folders
    other = target.send(study(verdict="mixed"))
    assert (other.written, other.kept) == (1, 5)
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 6
    (torn, *_) = (tmp_path / "wandb").glob("offline-run-*/files/algobias-mark.json")
    torn.unlink()
    assert target.send(study(verdict="mixed")).written == 1
    importlib.import_module("wandb").teardown()  # what is written in the background is written then
    assert sorted(len(run) for run in wandb_histories(tmp_path / "wandb")) == [0, 2, 3, 3, 3, 4]
    (longest,) = (run for run in wandb_histories(tmp_path / "wandb") if len(run) == 4)
    assert [(row["_step"], row["test_metric"]) for row in longest] == [
        (u, 90 - 10 / u) for u in (1, 10, 100, 200)
    ]


def wandb_histories(folder: Path) -> list[list[dict[str, float]]]:
    """What each offline run has logged, from records in blocks of 32 KiB, by W&B's own messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    histories = []
    for path in folder.glob("offline-run-*/*.wandb"):
        data, place, record, rows = path.read_bytes(), 7, b"", []
        while place + 7 <= len(data):
            if 32768 - place % 32768 < 7:
                place += 32768 - place % 32768
                continue
            length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
            record += data[place + 7 : place + 7 + length]
            place += 7 + length
            if kind in (1, 4):  # whole, or the last piece
                read, record = Record.FromString(record), b""
                if read.WhichOneof("record_type") == "history":
                    items = read.history.item
                    rows.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items})
        histories.append(rows)
    return histories


def test_trackio_has_a_group_of_runs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    import trackio

    target = parse("trackio:mine")
    assert target.send(study()).written == 6
    runs = {run.name: run for run in trackio.Api().runs("mine")}
    assert len(runs) == 6
    assert (target.send(study()).written, target.send(study()).kept) == (0, 6)
    assert len(list(trackio.Api().runs("mine"))) == 6
    from trackio.sqlite_storage import SQLiteStorage

    rows = SQLiteStorage.get_logs("mine", "0123456789ab variant seed=0")
    assert [(row["step"], row["test_metric"]) for row in rows] == [(u, 90 - 10 / u - 1) for u in (1, 10, 100)]
    assert runs["0123456789ab study"].config["verdict"] == "bias"
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"report.html", "answer.json"} <= files
    assert target.send(study(verdict="mixed")).written == 1
    assert len(list(trackio.Api().runs("mine"))) == 6


class Failing(Target):
    name = "failing"
    summary = "A tracker that is down."

    def send(self, study: ExportedStudy) -> Sent:
        raise ConnectionError("nobody listens at 127.0.0.1:5000\nsecond line")


def test_a_tracker_that_fails_is_told_and_the_others_are_sent_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from algobias.studies import exporting

    monkeypatch.setattr(exporting, "exported", lambda store, name: study())
    failed, sent = exporting.export_study(None, "last", [Failing(), f"csv:{tmp_path}"])  # type: ignore[arg-type]
    assert failed.failure == "ConnectionError: nobody listens at 127.0.0.1:5000"
    assert failed.place is None
    assert (sent.failure, sent.written) == (None, 5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mlfow", "did you mean 'mlflow'"),
        ("", "mlflow, wandb"),
        ("csv:x,y=2", "folder"),
        ("wandb:p,mode=ofline", "did you mean 'offline'"),
    ],
)
def test_a_target_that_there_is_not_is_named_with_those_that_there_are(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        parse(text)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TARGETS["mlflow"], "library", "no_such_library")
    with pytest.raises(BadInput, match=r"pip install no_such_library, or 'algobias\[trackers\]'"):
        parse("mlflow").check()


def test_every_target_is_spelled_as_it_is_read() -> None:
    for name in TARGETS:
        assert parse(name).spelling() == name
        assert TARGETS[name].summary
    assert (
        parse("mlflow:http://127.0.0.1:5000,experiment=x").spelling()
        == "mlflow:http://127.0.0.1:5000,experiment=x"
    )


def test_the_page_names_every_target_and_what_it_needs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "trainers.md").read_text(encoding="utf-8")
    for name, target in TARGETS.items():
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{name}["))
        assert row.endswith(f"| `{target.library}` |" if target.library else "| nothing |")


def test_names_of_arms_are_names_of_files() -> None:
    assert file_name("variant+control:0") == "variant+control-0"
    assert file_name("../../etc") == "-..-etc"


def test_a_place_that_cannot_be_written_to_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="a place that can be written to"):
        parse(f"csv:{tmp_path}/file/inside").send(study())
