"""A whole control study on a small task: what the search sees, what is decided, what a kill changes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from test_kill import ended, forked, without_times
from torch import nn

from algobias.controls.run import run_control
from algobias.controls.spec import control_spec
from algobias.errors import BadInput
from algobias.explanations.prepared import prepare
from algobias.explanations.spec import explain_spec
from algobias.kept.store import Store
from algobias.running.spec import spec_from
from algobias.running.trainer import Options
from algobias.runs.progress import Progress
from algobias.studies.audit import run_audit
from algobias.tasks import views
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.task import Task

KILLS = 6
PATIENCE = 120.0
TASK = Path(__file__).parents[1] / "product_task.py"
ASKED = {"only": ("lr:0.3", "budget:x4"), "keep": (), "rungs": (2, 3), "looks": (3, 4)}


class Touched(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Test examples that remember whether they were looked at."""

    def __init__(self) -> None:
        made = torch.Generator().manual_seed(1)
        self.x = torch.randn(100, 4, generator=made)
        self.seen: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, example: int) -> tuple[torch.Tensor, int]:
        self.seen[example] += 1
        return self.x[example], int(self.x[example, 0] > 0)


class Notes(Progress):
    """Remembers how often which test examples had been read when the choice was made."""

    def __init__(self, test: Touched) -> None:
        self.test = test
        self.at_choice: Counter[int] | None = None

    def message(self, text: str) -> None:
        if text.startswith("chosen within the limit") and self.at_choice is None:
            self.at_choice = Counter(self.test.seen)


def test_the_search_sees_neither_the_test_examples_nor_the_seeds_of_the_confirmation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test, made = Touched(), torch.Generator().manual_seed(0)
    x = torch.randn(60, 4, generator=made)
    task = Task(
        "touched",
        (x, (x[:, 0] > 0).long()),
        test,
        lambda: nn.Linear(4, 2),
        classification_loss,
        accuracy,
        {"lr": 0.2, "batch": 6, "updates": 60},
        trivial=50.0,
        classes=2,
    )
    loads: list[str] = []

    def counted(whole: Task, part: views.View) -> Task:
        loads.append(part)
        return views.view(whole, part)

    monkeypatch.setattr("algobias.running.trainer.view", counted)
    options = Options(workers=0, task=task)
    with Store(tmp_path / "store") as store:
        spec = spec_from({"task": "touched", "change": ["budget:x0.1"], "tolerance": 0.5, "looks": 4})
        audit = run_audit(spec.model_copy(update={"probes": "none"}), store, Options(workers=0), task=task)
        assert audit.verdict.name in ("optimization", "broken")
        test.seen.clear()
        notes = Notes(test)
        found = run_control(store.find_study(audit.study), control_spec(dict(ASKED)), store, options, notes)
    search = set(views.search_index(100).tolist())
    assert notes.at_choice is not None
    assert search <= notes.at_choice.keys()
    # the first items of a data set are looked at for their kind when it is loaded; no run is judged on them
    others = {example: times for example, times in notes.at_choice.items() if example not in search}
    assert others.keys() <= set(range(8))
    assert all(times <= len(loads) + 1 for times in others.values())
    assert found.selection.chosen == (1,)
    first, count = found.result["seeds"]["search"]
    other, fresh = found.result["seeds"]["confirmation"]
    audited = set(range(4))
    seeds = [audited, set(range(first, first + count)), set(range(other, other + fresh))]
    assert len(set.union(*seeds)) == sum(map(len, seeds))
    for arm in found.result["arms"]:
        assert set(arm["seeds"]) == seeds[2]
    (judged,) = [one for one in found.result["controls"] if one["lever"] == "budget:x4"]
    assert judged["improvement"]["mean"] > 0


def test_an_audit_without_a_gap_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        audit = run_audit(spec_from({"task": "digits", "change": ["lr:x1"]}), store, Options(workers=0))
        with pytest.raises(BadInput, match="there is no gap to explain or to bring back"):
            run_control(store.find_study(audit.study), control_spec({}), store, Options(workers=0))


def test_an_audit_that_failed_before_its_runs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is called broken, and there is nothing that could be compared with a control."""
    monkeypatch.setattr("algobias.running.prechecks.null_check", lambda *_: "sam:0 leads to other weights")
    with Store(tmp_path) as store:
        spec = spec_from({"task": "digits", "change": ["sam:0.1"], "tolerance": 1.0, "probes": "none"})
        audit = run_audit(spec, store, Options(workers=0))
        assert audit.result["verdict"] == "broken"
        for ask in (
            lambda row: run_control(row, control_spec({}), store, Options(workers=0)),
            lambda row: prepare(row, explain_spec({}), Options(workers=0)),
        ):
            with pytest.raises(BadInput, match=r"an audit with runs; this has none: Sam:0 leads"):
                ask(store.find_study(audit.study))


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"keep": ("update",)}, "keep"),
        ({"rungs": (4, 4)}, "rungs"),
        ({"most": 0}, "most"),
        ({"looks": (1,)}, "looks"),
        ({"loks": (4,)}, "loks"),
    ],
)
def test_bad_questions_are_told(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput, match=field):
        control_spec(asked)


# In a process of its own


def killed(folder: Path) -> None:
    """An audit, then its control study killed at random moments; writes the answers of both ways."""
    import torch._dynamo

    from algobias.kept import runfiles
    from algobias.running import pool
    from algobias.studies import reports

    torch.set_num_threads(1)
    reports.write_report = lambda store, study: store.path
    pool.available_cores = lambda: 0
    runfiles.SNAPSHOT_SECONDS, runfiles.SNAPSHOT_SHARE = 0.03, 1.0
    shutil.copy(TASK, folder / "product.py")
    os.chdir(folder)
    audit = ["audit", "product.py:task", "--change", "budget:x0.1", "--tolerance", "2", "--looks", "4"]
    control = ["control", "last", "--only", "lr:0.6", "--only", "budget:x4", "--keep", "none"]
    control += ["--only", "lr:x0.2..0.8", "--trials", "4"]
    control += ["--rungs", "2,3", "--looks", "3,4", "--json", "--quiet"]
    for store in ("whole", "cut"):
        arguments = [*audit, "--probes", "weight_norm", "--json", "--quiet", "--store", store]
        assert ended(forked(arguments, folder / "audit.json"), PATIENCE) == 0
    start = time.monotonic()
    assert ended(forked([*control, "--store", "whole"], folder / "whole.json"), PATIENCE) == 0
    took, chance, hits = time.monotonic() - start, random.Random(0), 0
    for _ in range(KILLS):
        child = forked([*control, "--store", "cut"], folder / "nowhere.json")
        if ended(child, chance.uniform(0.08, 0.22) * took) is None:
            os.kill(child, signal.SIGKILL)
            ended(child, PATIENCE)
            hits += 1
    assert ended(forked([*control, "--store", "cut"], folder / "cut.json"), PATIENCE) == 0
    (folder / "hits").write_text(str(hits))


@pytest.mark.wide
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked copies of a process")
def test_killed_and_started_again_ends_in_the_same_result(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], env=environment, timeout=5 * PATIENCE, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    assert int((tmp_path / "hits").read_text()) >= 3
    whole, cut = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("whole", "cut"))
    assert without_times(whole) == without_times(cut)
    assert whole["chosen"][0]["lever"] == "budget:x4"
    assert whole["tried"][0]["lever"] == "budget:x4"
    assert sum("optuna" in entry["why"] for entry in whole["tried"]) == 2
    assert all(entry["baseline_metric"] is not None for entry in whole["tried"]), "one arm was not tuned"


if __name__ == "__main__":
    killed(Path(sys.argv[1]))
