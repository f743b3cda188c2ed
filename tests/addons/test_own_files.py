"""Where a user's files lie, when they are executed, what happens where they move or change meanwhile."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

import algobias
from algobias.errors import BadInput
from algobias.kept.store import Store
from algobias.levers.registry import parse
from algobias.running.spec import spec_from
from algobias.running.trainer import Options
from algobias.runs.progress import Progress
from algobias.studies.audit import run_audit
from algobias.tasks import load_task
from wide_tests import wide

HERE = Path(__file__).parent
TASK = f"{HERE.parent / 'product_task.py'}:task"
FUTURE = "from __future__ import annotations\n"
ASKED = {"looks": 2, "tolerance": 1.0, "workers": 0}


# Where a task's file lies


def test_a_study_is_gone_on_with_from_any_folder(
    folder: Path, program, refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task's file is where it was audited; another one of its name is not taken for it."""
    shutil.copy(HERE.parent / "product_task.py", folder)
    store = folder / "store"
    found = algobias.audit("product_task.py:task", "lr:x0.05", **ASKED, probes="none", store=store)
    assert found.result["task"] == "product_task.py:task"
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    words = ("explain", "last", "--at", "0.5", "--doses", "none", "--store", store, "--workers", 1, "--plan")
    assert "product_task.py:task" in program("studies", "--store", store).out
    assert str(folder) not in program("studies", "--store", store, "--json").out
    other = (folder / "product_task.py").read_text().replace("manual_seed(0)", "manual_seed(1)")
    (elsewhere / "product_task.py").write_text(other)
    planned = program(*words)
    assert planned.code == 0, planned.err
    assert f"will execute {folder}/product_task.py" in planned.err
    # gone from there: the one of its name in this folder, if it is the same
    (folder / "product_task.py").rename(folder / "kept.py")
    message = refused(*words)
    assert message.startswith("task: ")
    assert "what was audited; audit it again as it is now" in message
    (elsewhere / "product_task.py").unlink()
    message = refused(*words)
    assert "an existing Python file" in message
    assert f"{folder}/product_task.py" in message
    assert "ask from that folder" in message
    (folder / "kept.py").rename(elsewhere / "product_task.py")
    assert program(*words).code == 0
    again = algobias.audit("product_task.py:task", "lr:x0.05", **ASKED, probes="none", store=store)
    assert again.study == found.study
    with Store(store, writing=False) as opened:
        assert opened.find_study("last").spec["task"] == f"{elsewhere}/product_task.py:task"


def test_the_processes_of_torchrun_say_what_they_execute(folder: Path) -> None:
    shutil.copy(HERE.parent / "product_task.py", folder)
    words = ("product_task.py:task", "--change", "workers:4", "--out", "out")
    ended = subprocess.run(
        [sys.executable, "-m", "algobias.running.distributed", *words],
        capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, "WORLD_SIZE": "1"},
    )  # fmt: skip
    assert ended.returncode == 2, "one process where the lever wants more"
    assert f"will execute {folder}/product_task.py" in ended.stderr
    assert ended.stdout == ""


def test_each_version_of_a_file_is_announced_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A version is the file and what it imports from its folder."""
    for _ in range(2):
        parse("mine.py:Shrink:0.5")
    (folder / "beside.py").write_text("WHOLE = 2.0\n")
    parse("mine.py:Shrink:0.5")
    assert capsys.readouterr().err.count("will execute") == 2


# A file that is edited while a study works


class Editing(Progress):
    """Edits a file once a run is finished."""

    def __init__(self, file: Path, text: str) -> None:
        self._file, self._text = file, text

    def finished(self, arm: str, seed: int) -> None:
        self._file.write_text(self._text)


@pytest.mark.parametrize(
    ("change", "probes", "edit", "workers", "says"),
    [
        ("lr:x0.05", "mine.py:Positive", "WHOLE = 2.0", 0, "^probe: .*Positive.*a file that stays as it is"),
        wide(
            "lr:x0.05",
            "mine.py:Positive",
            "WHOLE = 2.0",
            1,
            "^probes: .*Positive.*a file that stays as it is",
        ),
        ("lr:x0.05", "mine.py:Positive", "WHOLE = ", 0, "^probe: .*Positive.*a file that stays as it is"),
        wide("lr:x0.05", "mine.py:Positive", "WHOLE = ", 1, "^probe file mine.py: 'beside.py:1: SyntaxError"),
        ("mine.py:Shrink:0.05", "none", "WHOLE = 2.0", 0, "^lever: .*Shrink.*a file that stays as it is"),
    ],
)
def test_a_file_edited_during_an_audit(
    folder: Path, change: str, probes: str, edit: str, workers: int, says: str
) -> None:
    spec = spec_from({"task": TASK, "change": change, "probes": probes, "looks": 2, "tolerance": 1.0})
    before = (folder / "beside.py").read_text()
    with Store(folder / "store") as store:
        with pytest.raises(BadInput, match=says):
            run_audit(spec, store, Options(workers=workers), Editing(folder / "beside.py", edit))
        trained = _count(store, "runs")
        assert trained
        assert store.find_study("last").status == "failed"
        (folder / "beside.py").write_text(before)
        assert run_audit(spec, store, Options(workers=0)).answer.verdict
        if probes != "none":
            assert _count(store, "runs") == trained, "nothing is lost"


def _count(store: Store, table: str) -> int:
    connection = sqlite3.connect(store.path / "store.sqlite")
    (count,) = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
    connection.close()
    return int(count)


def test_a_lever_edited_during_a_control_study(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search and the confirmation are of one lever."""
    store = folder / "store"
    algobias.audit(TASK, "mine.py:Shrink:0.05", **ASKED, probes="none", store=store)
    monkeypatch.setattr(
        "algobias.studies.study.Progress", partial(Editing, folder / "beside.py", "WHOLE = 2.0")
    )
    with pytest.raises(BadInput, match=r"^lever: .*mine.py:Shrink.*a file that stays as it is"):
        algobias.control("last", only="lr:x2", rungs=2, looks=2, store=store, workers=0)


# Modules of one name beside two files


def test_helpers_of_one_name_beside_a_task_and_a_lever(tmp_path: Path) -> None:
    """Also those that a function imports long after its file has been executed."""
    for name, number in (("task", 1), ("lever", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "helpers.py").write_text(
            "from inner import NUMBER\ndef number():\n    from late import MORE\n    return NUMBER, MORE\n"
        )
        (tmp_path / name / "inner.py").write_text(f"NUMBER = {number}\n")
        (tmp_path / name / "late.py").write_text(f"MORE = {10 * number}\n")
    text = (HERE.parent / "product_task.py").read_text()
    lazily = (
        "def numbers():\n    from helpers import number\n    import late\n    return (*number(), late.MORE)\n"
    )
    (tmp_path / "task" / "own_task.py").write_text(f"{text}\n{lazily}\ntask_of = task\n")
    shutil.copy(HERE / "mine.py", tmp_path / "lever")
    shutil.copy(HERE / "beside.py", tmp_path / "lever")
    with (tmp_path / "lever" / "mine.py").open("a") as file:
        file.write(f"\n\n{lazily}\n\nfrom . import helpers\n")
    before = dict(sys.modules), list(sys.path), list(sys.meta_path)
    task = load_task(f"{tmp_path}/task/own_task.py:task")
    lever = type(parse(f"{tmp_path}/lever/mine.py:Shrink:0.5"))
    task_numbers = task.loss.function.__globals__["numbers"]
    lever_numbers = lever.update.__wrapped__.__globals__["numbers"]
    for _ in range(2):
        assert task_numbers() == (1, 10, 10)
        assert lever_numbers() == (2, 20, 20)
    assert lever.update.__wrapped__.__globals__["helpers"].number() == (2, 20)
    assert [sys.path, sys.meta_path] == [*map(list, before[1:])]
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_file_that_reads_another_gets_its_own_modules_back(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "helpers.py").write_text(f"NAME = {name!r}\n")
        shutil.copy(HERE / "beside.py", tmp_path / name)
    text = (HERE / "mine.py").read_text()
    (tmp_path / "b" / "mine.py").write_text(f"{text}\nimport helpers\n")
    nested = (
        "from algobias.levers.registry import parse\n"
        f"inner = parse({str(tmp_path / 'b' / 'mine.py')!r} + ':Shrink:0.5')\n"
        "import helpers\n"
        "assert helpers.NAME == 'a', helpers.NAME\n"
    )
    (tmp_path / "a" / "outer.py").write_text(f"{text}\n{nested}")
    lever = type(parse(f"{tmp_path}/a/outer.py:Shrink:0.5"))
    names = lever.update.__wrapped__.__globals__
    inner = type(names["inner"]).update.__wrapped__.__globals__
    assert (names["helpers"].NAME, inner["helpers"].NAME) == ("a", "b")


def test_what_is_installed_is_not_the_folders(tmp_path: Path) -> None:
    """A folder called like a package, or a file like a module that is there already, takes no one's place."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "json.py").write_text("raise RuntimeError('not this one')\n")
    text = (HERE / "mine.py").read_text().replace("from beside import WHOLE", "WHOLE = 1.0")
    (tmp_path / "mine.py").write_text(f"{text}\nimport json\nimport torch\nimport torch.nn as nn\n")
    names = type(parse(f"{tmp_path}/mine.py:Shrink:0.5")).update.__wrapped__.__globals__
    assert names["torch"] is torch
    assert names["nn"] is torch.nn
    assert names["json"].__file__ != str(tmp_path / "json.py")


# Readings of a probe whose file moves


def test_readings_stay_where_a_probes_file_moves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {**ASKED, "store": folder / "store"}
    first = algobias.audit(TASK, "lr:x0.05", probes="mine.py:Positive:0.1", **asked).result
    (folder / "moved").mkdir()
    for name in ("mine.py", "beside.py"):
        (folder / name).rename(folder / "moved" / name)
    with monkeypatch.context() as patch:
        patch.setattr("algobias.coordinates.measuring.take", None)
        moved = algobias.audit(TASK, "lr:x0.05", probes="moved/mine.py:Positive:0.1", **asked).result
        for name in ("mine.py", "beside.py"):  # a copy is the same probe: it is read once
            shutil.copy(folder / "moved" / name, folder)
        copied = algobias.audit(TASK, "lr:x0.05", probes="mine.py:Positive:0.1", **asked).result
    spelled = f"{folder}/mine.py:Positive:0.1"
    assert first["readings"]["probes"] == copied["readings"]["probes"] == [spelled]
    assert moved["readings"]["probes"] == [f"{folder}/moved/mine.py:Positive:0.1"]
    values = [row["baseline"] for row in first["moved"]]
    assert values == [row["baseline"] for row in moved["moved"]]
    # as earlier versions kept them: by the path
    connection = sqlite3.connect(folder / "store" / "store.sqlite")
    changed = connection.execute("UPDATE readings SET probe = ?", (spelled,)).rowcount
    connection.commit()
    connection.close()
    assert changed
    monkeypatch.setattr("algobias.coordinates.measuring.take", None)
    again = algobias.audit(TASK, "lr:x0.05", probes="mine.py:Positive:0.1", **asked).result
    assert again["moved"] == first["moved"]
    words = first["readings"]["summary"]
    assert str(folder) not in words
    assert "mine.py:Positive:0.1" in words or "o coordinate" in words or "every coordinate" in words


def test_other_options_are_other_readings(folder: Path) -> None:
    from algobias.probes.registry import parse as parse_probe

    one, two = (parse_probe(f"mine.py:Positive:{above}") for above in (0.1, 0.2))
    assert one.kept_as() == ".py:Positive:0.1"
    assert two.kept_as() == ".py:Positive:0.2"
    assert one.label() == "positive:0.1"
    assert parse_probe("top_eigenvalue:tolerance=0.1").kept_as() == "top_eigenvalue:tolerance=0.1"


def test_a_class_beside_a_task_is_hashed_where_it_is_written(tmp_path: Path) -> None:
    """Also once a lever's helpers of the same name have been imported."""
    text = (HERE.parent / "product_task.py").read_text()
    body = "100.0 * (model(batch[0]).argmax(-1) == batch[1])"
    helper = f"class Accuracy:\n    def __call__(self, model, batch):\n        return {body}\n"
    for name in ("task", "lever"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "helpers.py").write_text(f"# {name}\n{helper}")
    text = text.replace("    metric,\n    {", "    Accuracy(),\n    {")
    (tmp_path / "task" / "own_task.py").write_text(
        f"from helpers import Accuracy\n{text.replace(FUTURE, '')}"
    )
    mine = (HERE / "mine.py").read_text().replace("from beside import WHOLE", "WHOLE = 1.0")
    (tmp_path / "lever" / "mine.py").write_text(f"{mine}\nimport helpers\n")
    before = load_task(f"{tmp_path}/task/own_task.py:task").fingerprint()
    task = load_task(f"{tmp_path}/task/own_task.py:task")
    parse(f"{tmp_path}/lever/mine.py:Shrink:0.5")
    assert task.fingerprint() == before
