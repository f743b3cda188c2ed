"""A store, a task file and a table of somebody else's: nothing outside is touched or runs unannounced."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import algobias
from algobias.cli import main
from algobias.errors import BadInput
from algobias.own import user_file

AUDIT = ("audit", "digits", "--change", "lr:x0.01", "--base", "budget:updates=20", "--looks", "4")
AUDIT += ("--tolerance", "0.5", "--probes", "weight_norm", "--quiet")
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"
ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e[bold red]"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one finished audit, which found a gap."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["algobias", *AUDIT, "--workers", "0", "--store", str(folder / "store")])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return folder / "store"


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Path:
    """A copy of that store, to be made hostile; beside it lies what must stay as it is."""
    shutil.copytree(finished, tmp_path / "store")
    outside = tmp_path / "outside"
    (outside / "runs").mkdir(parents=True)
    for name in ("victim.html", "curve.jsonl", "notes.txt", "store.sqlite-wal"):
        (outside / name).write_text("mine\n")
    return tmp_path / "store"


@pytest.fixture(autouse=True)
def nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    sent: list[Any] = []
    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, lambda *given, n=name: sent.append((n, given)))
    yield sent
    assert not sent


def outside(store: Path) -> dict[str, str]:
    """Everything beside the store."""
    files = [path for path in store.parent.rglob("*") if store not in path.parents and path.is_file()]
    return {str(path.relative_to(store.parent)): path.read_text(errors="replace") for path in files}


def change(store: Path, statement: str, *values: Any) -> None:
    connection = sqlite3.connect(store / "store.sqlite")
    connection.execute(statement, values)
    connection.commit()
    connection.close()


def study(store: Path) -> str:
    connection = sqlite3.connect(store / "store.sqlite")
    (found,) = connection.execute("SELECT id FROM studies").fetchone()
    connection.close()
    return str(found)


def edited(store: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change the stored answer."""
    connection = sqlite3.connect(store / "store.sqlite")
    (text,) = connection.execute("SELECT result FROM studies").fetchone()
    answer = json.loads(text)
    edit(answer)
    connection.execute("UPDATE studies SET result = ?", (json.dumps(answer),))
    connection.commit()
    connection.close()


def commands(store: Path) -> list[tuple[str, ...]]:
    """Every command that reads a store."""
    words = [
        ("studies",),
        ("report", "last"),
        ("report", "last", "--csv", "tables"),
        ("measure", "--run", "last:baseline:0", "--probes", "weight_norm"),
        ("measure", "--run", "last:baseline:0", "--other", "last:variant:0", "--probes", "weight_norm"),
        ("control", "last", "--plan"),
        ("control", "last", "--only", "lr:x2", "--rungs", "2", "--looks", "2", "--workers", "0"),
        ("explain", "last", "--plan"),
        ("explain", "last", "--at", "0.5", "--doses", "none", "--most", "1", "--workers", "0"),
        (*AUDIT, "--workers", "0"),
        ("studies", "rm", "last"),
    ]
    return [(*one, "--store", str(store)) for one in words]


def all_refuse(run: Any, store: Path, says: str = "", but: tuple[str, ...] = ()) -> None:
    """Every command ends with one message, code 2, and leaves what is outside alone."""
    before = outside(store)
    for words in commands(store):
        if words[:2] == but:
            continue
        found = run(*words)
        assert found.code == 2, (words, found.err)
        assert "Traceback" not in found.err
        assert says in " ".join(found.err.split()), (words, found.err)
        assert "\x1b" not in found.out + found.err
        assert outside(store) == before, words


# Values of the database that would become paths


@pytest.mark.parametrize(
    "id", ["../outside/victim", "/etc/passwd", "", "last", "ABCDEF012345", "a" * 13, ESCAPE]
)
def test_an_id_is_twelve_digits_or_the_store_is_refused(run, store, id):
    change(store, "UPDATE studies SET id = ?", id)
    all_refuse(run, store, "12 hexadecimal digits")


def test_the_id_in_an_answer_names_no_file(run, store):
    edited(store, lambda answer: answer["result"].update(study="../../outside/victim"))
    all_refuse(run, store, "damaged", but=("studies", "rm"))


@pytest.mark.parametrize(
    ("column", "value"),
    [("address", "../../outside"), ("address", 7), ("seed", "../../../outside"), ("seed", -1), ("seed", 0.5)],
)
def test_a_run_that_cannot_be_one_deletes_nothing(run, store, column, value):
    change(store, f"UPDATE OR REPLACE study_runs SET {column} = ? WHERE seed = 0", value)
    before, runs = outside(store), sorted(store.glob("runs/*/*/*"))
    found = run("studies", "rm", "last", "--store", store)
    assert found.code == 2
    assert "cannot be" in found.err
    assert outside(store) == before
    assert sorted(store.glob("runs/*/*/*")) == runs


@pytest.mark.parametrize(
    ("key", "value"),
    [("address", "../../../outside"), ("seed", "../outside"), ("seed", 1.5), ("length", "long"), ("arm", 3)],
)
def test_places_of_runs_are_checked(run, store, key, value):
    edited(store, lambda answer: answer["places"][0].update({key: value}))
    all_refuse(run, store, "damaged", but=("studies", "rm"))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER boom AFTER UPDATE ON studies BEGIN DELETE FROM runs; END",
        "CREATE VIEW v AS SELECT * FROM studies",
        "CREATE TABLE more (x)",
    ],
)
def test_a_database_with_more_than_its_tables_is_refused(run, store, statement):
    change(store, statement)
    all_refuse(run, store, "not one of its tables")


# Links


def linked(path: Path, target: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("name", ["store.sqlite", "store.sqlite-wal"])
def test_a_database_behind_a_link_is_refused(run, store, name):
    linked(store / name, store.parent / "outside" / "notes.txt")
    all_refuse(run, store, "symbolic link")


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_folders_behind_links_are_not_followed(run, store, depth):
    """``runs``, ``runs/ab``, ``runs/ab/address`` and ``runs/ab/address/0`` in turn."""
    run_folder = next(path for path in store.glob("runs/*/*/0"))
    parts = run_folder.relative_to(store).parts
    link = store.joinpath(*parts[:depth])
    target = store.parent / "outside" / "moved"
    shutil.copytree(link, target)
    linked(link, target)
    before = outside(store)
    found = run("studies", "rm", "last", "--store", store)
    assert found.code == 2
    assert "symbolic link" in found.err
    assert outside(store) == before


@pytest.mark.parametrize(
    "name",
    ["curve.jsonl", "outcome.json", "per_example.npy", "snapshot.safetensors", "weights-1.safetensors"],
)
def test_files_of_a_run_behind_links_are_not_written_through(run, store, name):
    change(store, "DELETE FROM runs")
    for folder in store.glob("runs/*/*/*"):
        (folder / "outcome.json").unlink()
        linked(folder / name, store.parent / "outside" / "curve.jsonl")
    before = outside(store)
    for words in ((*AUDIT, "--workers", "0"), ("studies", "rm", "last")):
        found = run(*words, "--store", store)
        assert found.code == 2, words
        assert "symbolic link" in found.err
        assert outside(store) == before


def test_reports_and_locks_behind_links(run, store):
    victim = store.parent / "outside"
    linked(store / "reports" / f"{study(store)}.html", victim / "victim.html")
    before = outside(store)
    for words in (("report", "last"), ("studies", "rm", "last")):
        assert run(*words, "--store", store).code == 2
        assert outside(store) == before
    linked(store / "reports", victim)
    (victim / f"{study(store)}.html").write_text("mine\n")
    before = outside(store)
    for words in (("report", "last"), ("studies", "rm", "last")):
        assert run(*words, "--store", store).code == 2
        assert outside(store) == before
    (store / "reports").unlink()
    linked(store / "locks", victim)
    assert run("studies", "rm", "last", "--store", store).code == 2
    assert outside(store) == before


def test_a_pipe_in_a_run_does_not_hang(run, store):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    folder = next(store.glob("runs/*/*/0"))
    os.mkfifo(folder / "weights-3.safetensors")
    assert run("studies", "rm", "last", "--store", store).code == 2


# Task files


TASK = """
import sys
from pathlib import Path
from algobias.tasks.registry import load_task

print("EXECUTED", file=sys.stderr)
Path(__file__).with_name("executed").touch()


def task():
    made = load_task("digits")
    made.name = "../../outside/victim\\x1b[2J<script>"
    return made
"""


def test_a_task_file_that_a_store_names_is_announced_before_it_runs(run, store, finished):
    file = store.parent / "theirs.py"
    file.write_text(TASK)
    shutil.rmtree(store)
    found = run("audit", f"{file}:task", *AUDIT[2:], "--workers", "0", "--store", store)
    assert found.code == 0, found.err
    mark = file.with_name("executed")
    for words in commands(store):
        mark.unlink(missing_ok=True)
        user_file._announced.clear()  # a command is a process of its own
        found = run(*words)
        assert found.code == 0, (words, found.err)
        assert "\x1b" not in found.err
        if mark.exists():
            assert words[0] in ("control", "explain", "measure", "audit")
            told = found.err.replace("\n", "").partition("EXECUTED")[0]
            assert "will execute" in told, words
            assert str(file) in told
            assert "sha256" in told


def test_the_python_names_announce_it_too(store, capsys):
    file = store.parent / "theirs.py"
    file.write_text("import sys\nprint('EXECUTED', file=sys.stderr)\n1 / 0\ndef task(): ...\n")
    change(store, "UPDATE studies SET spec = json_set(spec, '$.task', ?)", f"{file}:task")
    asked = {
        "control": lambda: algobias.control("last", store=store),
        "explain": lambda: algobias.explain("last", store=store),
        "audit": lambda: algobias.audit(f"{file}:task", "lr:x2", store=store),
    }
    for name, ask in asked.items():
        user_file._announced.clear()
        with pytest.raises(BadInput, match="ZeroDivisionError"):
            ask()
        said = capsys.readouterr().err.partition("EXECUTED")[0]
        assert f"will execute {file}" in said, name


def test_listing_and_reporting_execute_nothing(run, store):
    file = store.parent / "theirs.py"
    file.write_text(TASK)
    connection = sqlite3.connect(store / "store.sqlite")
    (text,) = connection.execute("SELECT spec FROM studies").fetchone()
    connection.execute(
        "UPDATE studies SET spec = ?", (json.dumps({**json.loads(text), "task": f"{file}:task"}),)
    )
    connection.commit()
    connection.close()
    for words in (("studies",), ("report", "last"), ("studies", "rm", "last")):
        assert run(*words, "--store", store).code == 0
    assert not file.with_name("executed").exists()


ADDON = """
import sys
from pathlib import Path

from algobias.levers.base import Lever
from algobias.probes import Probe

print("EXECUTED", file=sys.stderr)
Path(__file__).with_name("executed").touch()
"""


@pytest.mark.parametrize(
    ("field", "text"),
    [("$.change", '["{file}:X"]'), ("$.control", '["lr:x2+{file}:X"]'), ("$.probes", '"{file}:X"')],
)
def test_levers_and_probes_that_a_store_names_are_announced_before_they_run(run, store, field, text):
    file = store.parent / "theirs.py"
    file.write_text(ADDON + f"class X({'Probe' if 'probes' in field else 'Lever'}):\n    pass\n")
    change(store, f"UPDATE studies SET spec = json_set(spec, '{field}', json(?))", text.format(file=file))
    for words in (("studies",), ("report", "last")):
        assert run(*words, "--store", store).code == 0
    assert not file.with_name("executed").exists(), "listing and reporting execute nothing"
    executed = 0
    for words in commands(store):
        if words[0] not in ("control", "explain"):
            continue
        file.with_name("executed").unlink(missing_ok=True)
        user_file._announced.clear()  # a command is a process of its own
        found = run(*words)
        assert found.code == 2, "the class is none that can be used"
        if file.with_name("executed").exists():
            executed += 1
            said = found.err.replace("\n", "").partition("EXECUTED")[0]
            assert f"will execute {file}" in said, words
    assert executed or field == "$.control"


# Words that steer a terminal or a browser


def test_names_are_text_wherever_they_are_shown(run, store):
    def edit(answer: dict[str, Any]) -> None:
        result = answer["result"]
        for key in ("task", "metric", "reason", "claim"):
            result[key] = SCRIPT + ESCAPE
        result["change"] = [SCRIPT + ESCAPE]
        result["warnings"] = [SCRIPT + ESCAPE]
        answer["command"] = SCRIPT + ESCAPE
        answer["environment"]["machine"] = SCRIPT
        answer["recipes"] = {SCRIPT + ESCAPE: SCRIPT}
        for arm in result["arms"]:
            arm["name"] += SCRIPT + ESCAPE
        for place in answer["places"]:
            place["arm"] += SCRIPT + ESCAPE

    edited(store, edit)
    change(
        store,
        "UPDATE studies SET spec = json_set(spec, '$.task', ?, '$.change[0]', ?)",
        ESCAPE,
        SCRIPT + ESCAPE,
    )
    for words in (("studies",), ("studies", "--json"), ("report", "last"), ("measure", "--run", "last:x:0")):
        found = run(*words, "--store", store)
        assert found.code in (0, 2)
        for steering in ("\x1b", "\x9b", "\x07", "\u202e"):
            assert steering not in found.out + found.err, words
    page = (store / "reports" / f"{study(store)}.html").read_text()
    assert "alert(1)" in page
    assert SCRIPT not in page
    assert "<img src=x" not in page


# Damage


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("arms", 3), ("arms", [{}]), ("gap", None), ("gap", []), ("fit", "x"), ("verdict", None),
        ("change", "x"),
        ("tolerance", "0.5"), ("tolerance", 10**400), ("warnings", {}), ("moved", [3]), ("readings", 3),
        ("metric", []), ("study", 3), ("looks", "4"), ("controls", {}),
    ],
)  # fmt: skip
def test_an_answer_of_the_wrong_shape_is_told_as_damage(run, store, key, value):
    edited(store, lambda answer: answer["result"].update({key: value}))
    all_refuse(run, store, "damaged", but=("studies", "rm"))
    assert run("studies", "rm", "last", "--store", store).code == 0


@pytest.mark.parametrize(
    "text", ["", "null", "[1]", "{", '{"result": 1e999}', "[" * 100_000, b"\xff\xfe", "9" * 5000]
)
def test_an_answer_that_is_no_object(run, store, text):
    change(store, "UPDATE studies SET result = ?", text)
    all_refuse(run, store, "damaged", but=("studies", "rm"))


@pytest.mark.parametrize(
    ("column", "value"),
    [("spec", "[]"), ("spec", '{"task": 3}'), ("spec", '{"change": 3}'), ("created", "x"), ("used", 1e300),
     ("status", ESCAPE), ("status", 3), ("created", None)],
)  # fmt: skip
def test_a_question_of_the_wrong_shape(run, store, column, value):
    change(store, f"UPDATE studies SET {column} = ?", value)
    found = run("studies", "--store", store)
    assert found.code == 2
    assert "damaged" in found.err
    assert "\x1b" not in found.err


@pytest.mark.parametrize("name", ["outcome.json", "per_example.npy", "snapshot.safetensors"])
def test_one_changed_byte_of_a_run_is_found(run, store, name):
    """Checksums: a digit of a loss, a weight in the middle of a file."""
    change(store, "DELETE FROM runs")
    folders = list(store.glob("runs/*/*/*"))
    for folder in folders:
        whole = bytearray((folder / name).read_bytes())
        place = len(whole) // 2
        if name == "outcome.json":
            place = whole.index(b'"train_loss": [') + 18
            whole[place] = ord("7") if whole[place] != ord("7") else ord("3")
        else:
            whole[place] ^= 1
        (folder / name).write_bytes(bytes(whole))
        if name.startswith("snapshot"):
            (folder / "outcome.json").unlink()
    found = run(*AUDIT, "--workers", "0", "--store", store)
    assert found.code == 2
    assert "checksum" in found.err


def test_a_run_without_checksums_is_still_read(run, store):
    """Stores of earlier versions have none."""
    change(store, "DELETE FROM runs")
    for path in store.glob("runs/*/*/*/outcome.json"):
        record = json.loads(path.read_text())
        assert record.pop("crc")
        path.write_text(json.dumps(record))
    assert run("report", "last", "--store", store).code == 0


# Tables


def test_a_table_is_data(run, tmp_path, store):
    folder = tmp_path / "tables"
    folder.mkdir()
    for arm, top in (("a", 92), ("b", 91)):
        rows = [
            f"{seed},{update},{1 / update},{top - 10 / update + seed / 10}"
            for seed in range(6)
            for update in (1, 9)
        ]
        extra = f"=cmd|'/C calc'!A0,{SCRIPT}"
        lines = ["seed,update,train_loss,test_metric,note,more", *(f"{row},{extra}" for row in rows)]
        (folder / f"{arm}.csv").write_text("\n".join(lines))
    (folder / "compare.yaml").write_text(json.dumps({"metric": SCRIPT + "\x1b[2J", "tolerance": 0.4}))
    before = outside(store)
    found = run("compare", folder / "a.csv", folder / "b.csv", "--store", store)
    assert found.code == 0, found.err
    assert "\x1b" not in found.err
    written = next((store / "reports").glob("compare-*.html"))
    assert SCRIPT not in written.read_text()
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert outside(store) == before
    (folder / "compare.yaml").write_text("!!python/object/apply:os.system ['touch executed']")
    assert run("compare", folder / "a.csv", folder / "b.csv", "--store", store).code == 2
    shutil.rmtree(store / "reports")
    linked(store / "reports", tmp_path / "outside")
    (folder / "compare.yaml").unlink()
    before = outside(store)
    found = run("compare", folder / "a.csv", folder / "b.csv", "--tolerance", "0.4", "--store", store)
    assert found.code == 2
    assert outside(store) == before


# Privacy


def test_everything_inside_is_for_its_owner_alone(finished):
    assert stat.S_IMODE(finished.stat().st_mode) == 0o700
    for path in finished.rglob("*"):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
