"""A store made by an earlier version opens, resumes and reports: ids, addresses and answers stay as they are.

``earlier_store.sqlite.gz`` is the database of a store with a finished audit, a finished explanation of it,
and a control study of it that was interrupted. Where a revision is raised on purpose (of the loop, a task, a
part), addresses and ids change, and ``python tests/study/test_earlier_store.py`` makes the store again.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest

from algobias.controls.run import run_control
from algobias.controls.spec import control_spec
from algobias.explanations.run import run_explain
from algobias.explanations.spec import explain_spec
from algobias.kept.store import Store
from algobias.running.spec import spec_from
from algobias.running.trainer import Options
from algobias.runs.progress import Progress
from algobias.studies.audit import run_audit
from algobias.studies.reports import write_report

DATABASE = Path(__file__).with_name("earlier_store.sqlite.gz")
AUDIT_ID, EXPLAIN_ID, CONTROL_ID = "505fab9b85a1", "8432610a3764", "9a4836976e1e"
SOURCE = '''"""The sign of a product, too few updates for a smaller rate."""
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from algobias import Task

made = torch.Generator().manual_seed(0)
x = torch.randn(120, 6, generator=made)
y = (x[:, 0] * x[:, 1] > 0).long()
task = Task(
    "product",
    (x[:80], y[:80]),
    (x[80:], y[80:]),
    lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2)),
    lambda model, batch: cross_entropy(model(batch[0]), batch[1]),
    lambda model, batch: 100.0 * (model(batch[0]).argmax(-1) == batch[1]),
    {"lr": 0.3, "batch": 10, "updates": 60},
    trivial=50.0,
)
'''
AUDIT = {"task": "own.py:task", "change": "lr:x0.2", "looks": 4, "tolerance": 1.0, "probes": "weight_norm"}
EXPLAIN = {"at": (0.5,), "doses": (), "only": ("lr:x2",)}
CONTROL = {"only": ("lr:x2", "sam:0.05..0.1"), "keep": (), "rungs": (2, 3), "looks": (3,)}
RUNS_BEFORE_INTERRUPTION = 5
TIMES = {"seconds", "report", "store"}
"""Of the moment."""

WORDS = {"warnings", "doubts"}
"""Remarks: of the version that makes them."""


class Interrupting(Progress):
    """Presses Ctrl-C after so many finished runs."""

    def __init__(self, runs: int) -> None:
        self.left = runs

    def finished(self, arm: str, seed: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES | WORDS}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def as_then(value: Any, stored: Any) -> Any:
    """A result without the keys that results of that version did not have."""
    if isinstance(value, dict) and isinstance(stored, dict):
        return {key: as_then(item, stored[key]) for key, item in value.items() if key in stored}
    if isinstance(value, list) and isinstance(stored, list) and len(value) == len(stored):
        return [as_then(item, other) for item, other in zip(value, stored, strict=True)]
    return value


def rows(store: Store, query: str, *values: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(store.path / "store.sqlite")) as connection:
        return connection.execute(query, values).fetchall()


def runs_of(store: Store, study: str) -> set[tuple[str, int]]:
    return set(rows(store, "SELECT address, seed FROM study_runs WHERE study = ?", study))


def placed(question: Any, store: Path) -> Any:
    """A stored question, which now says where the file of its task lies."""
    return {**question, "task": f"{store.parent}/{question['task']}"}


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the store, beside the file of its task."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(SOURCE)
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "store.sqlite").write_bytes(gzip.decompress(DATABASE.read_bytes()))
    return folder


def test_finished_studies_are_found_and_not_trained_again(earlier: Path) -> None:
    options = Options(workers=0)
    with Store(earlier) as store:
        stored = {row.id: row for row in store.studies()}
        assert {id: row.status for id, row in stored.items()} == {
            AUDIT_ID: "finished",
            EXPLAIN_ID: "finished",
            CONTROL_ID: "interrupted",
        }
        runs = {id: runs_of(store, id) for id in stored}
        trained = rows(store, "SELECT COUNT(*) FROM runs")
        audit = run_audit(spec_from(AUDIT), store, options)
        explanation = run_explain(store.find_study(audit.study), explain_spec(EXPLAIN), store, options)
        for answer, id in ((audit, AUDIT_ID), (explanation, EXPLAIN_ID)):
            assert answer.study == id
            assert stored[id].result is not None
            then = without_times(stored[id].result["result"])
            assert as_then(without_times(answer.result), then) == then
            again = store.find_study(id)
            assert again.spec == placed(stored[id].spec, earlier)
            assert again.decisions == stored[id].decisions
            assert runs_of(store, id) == runs[id]
            assert id in write_report(store, id).read_text(encoding="utf-8")
        assert rows(store, "SELECT COUNT(*) FROM runs") == trained


def test_an_interrupted_study_goes_on(earlier: Path) -> None:
    with Store(earlier) as store:
        question, used = store.find_study(CONTROL_ID).spec, runs_of(store, CONTROL_ID)
        dates = dict(rows(store, "SELECT address || seed, created FROM runs"))
        found = run_control(store.find_study(AUDIT_ID), control_spec(CONTROL), store, Options(workers=0))
        assert found.study == CONTROL_ID
        row = store.find_study(CONTROL_ID)
        assert (row.status, row.spec) == ("finished", placed(question, earlier))
        assert found.result["seeds"]["confirmation"][0] == question["confirmation_seed"]
        assert used < runs_of(store, CONTROL_ID)
        after = dict(rows(store, "SELECT address || seed, created FROM runs"))
        assert {run: after[run] for run in dates} == dates
        assert "lr:x2" in [entry["lever"] for entry in found.result["tried"]]
        assert CONTROL_ID in write_report(store, CONTROL_ID).read_text(encoding="utf-8")


def make() -> dict[str, str]:
    """Make the store anew; returns the ids."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("own.py").write_text(SOURCE)
        with Store("store") as store:
            options = Options(workers=0)
            audit = run_audit(spec_from(AUDIT), store, options, command="algobias audit ...")
            row = store.find_study(audit.study)
            explanation = run_explain(row, explain_spec(EXPLAIN), store, options)
            with contextlib.suppress(KeyboardInterrupt):
                stop = Interrupting(RUNS_BEFORE_INTERRUPTION)
                run_control(row, control_spec(CONTROL), store, options, stop)
            control = next(row.id for row in store.studies() if row.status == "interrupted")
            rows(store, "PRAGMA wal_checkpoint(TRUNCATE)")
        DATABASE.write_bytes(gzip.compress(Path("store/store.sqlite").read_bytes(), mtime=0))
    return {"audit": audit.study, "explain": explanation.study, "control": control}


if __name__ == "__main__":
    print(json.dumps(make()))
