"""Bad input: one clear message, exit code 2, no traceback, nothing lost."""

from __future__ import annotations

import os
import sqlite3

import pytest

QUICK = ("--looks", "2", "--tolerance", "0.4", "--base", "budget:updates=10")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("audit", "digts", "--change", "batch:x16"), "did you mean 'digits'"),
        (("audit", "digits", "--change", "bacth:x16"), "did you mean 'batch'"),
        (("audit", "digits", "--change", "batch:x16,rl=sqrt"), "did you mean 'lr'"),
        (("audit", "digits", "--change", "batch:x16,lr=sqr"), "lr"),
        (("audit", "digits", "--change", "batch:x4,lrr=sqrt"), "batch option: 'lrr'"),
        (("audit", "digits", "--change", "batch:x16 lr=sqrt"), "a comma between options: x16,lr=sqrt"),
        (
            ("audit", "digits", "--change", "batch:lr=sqrt"),
            "batch is missing; needed: a value, as in",
        ),
        (("audit", "digits", "--change", "clip:-1"), "'-1' is not possible; allowed: a number above 0"),
        (("audit", "digits", "--change", "batch:x2", "--tolerance", "0,4"), "a decimal point: 0.4"),
        (
            ("compare", "a.csv", "b.csv", "--trivial", "ten"),
            "--trivial: 'ten' is not possible",
        ),
        (
            ("audit", "digits", "--change", "batch:x2", "--probes", "sharpnes"),
            "(did you mean 'batch_sharpness'?); allowed: batch_sharpness, ",
        ),
        (("audit",), "task is missing; needed: a task"),
        (("audit", "digits", "--change", "batch:"), "batch"),
        (("audit", "digits", "--change", "batch:xx"), "batch: 'xx'"),
        (("audit", "digits", "--change", "batch:4096"), "at most the 800 training examples"),
        (("audit", "digits", "--change", "lr:-1"), "above 0"),
        (("audit", "digits", "--change", "budget:x0"), "above 0"),
        (("audit", "digits:size=3", "--change", "batch:x2"), "no options"),
        (("audit", "digits"), "at least one lever"),
        (("audit",), "algobias tasks"),
        (("audit", "digits", "--aa", "--change", "batch:x2"), "either aa or a change"),
        (("audit", "digits", "--change", "batch:x2", "--looks", "4,4"), "increasing"),
        (("audit", "digits", "--change", "batch:x2", "--looks", "a"), "looks"),
        (("audit", "digits", "--change", "batch:x2", "--tolerance", "0"), "a number above 0"),
        (("audit", "digits", "--change", "batch:x2", "--levels", "1e-3,x"), "--levels"),
        (("audit", "digits", "--change", "batch:x2", "--engine", "fast"), "engine"),
        (("audit", "digits", "--change", "batch:x2", "--fail-on", "bais"), "did you mean 'bias'"),
        (("audit", "digits", "--change", "batch:x2", "--device", "cdua"), "device"),
        (("audit", "digits", "--change", "batch:x2", "--control", "batch:x1"), "a control that changes"),
        (
            ("audit", "digits", "--change", "schedule:cosine", "--base", "budget:until=1e-3,max=99"),
            "schedule",
        ),
        (("audit", "--spec", "absent.yaml"), "absent.yaml"),
        (("levers", "sma"), "did you mean 'sam'"),
        (("tasks", "digit"), "did you mean 'digits'"),
        (("report", "last"), "which has none yet"),
        (("studies", "rm", "abc"), "which has none yet"),
        (("compare", "a.csv", "b.csv"), "a.csv"),
        (("audit", "digits", "--chnage", "batch:x2"), "--change"),
    ],
)
def test_refused_with_what_is_allowed(refused, words, says):
    refused(*words, says=says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("task: digits\nchnage: [batch:x2]\n", "did you mean 'change'"),
        ("task: digits\nchange: [batch:x2]\ntolerance: -1\n", "tolerance"),
        ("task: digits\nchange: {a: 1}\n", "change"),
        ("- digits\n", "a mapping"),
        ("task: [\n", "YAML"),
        ("task: digits\nchange: [batch:x2]\nchange: [batch:x4]\n", "'change' is given twice, line 3"),
        ("task: digits\nchange: [batch:x2]\ntolerance: true\n", "spec.tolerance: True"),
        ("task: digits\nchange: [batch:x2]\nseed: " + "9" * 5000 + "\n", "line 3"),
        ("task: digits\nchange: " + "[" * 5000 + "\n", "levels inside each other"),
        ("task: !!python/object/apply:os.system ['touch executed']\n", "YAML"),
    ],
)
def test_a_spec_file_that_is_none(refused, tmp_path, text, says):
    (tmp_path / "spec.yaml").write_text(text)
    refused("audit", "--spec", "spec.yaml", says=says)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("task = 1\nraise RuntimeError('my own mistake')\n", "mine.py:2: RuntimeError: my own mistake"),
        ("import nothing_of_this_name\n\ntask = 1\n", "nothing_of_this_name"),
        ("task = 3\n", "a Task"),
        ("def task(:\n", "mine.py:1: SyntaxError"),
        ("other = 1\n", "none in this file"),
        ("other = dict()\n", "with a name of: other"),
        ("task = " + "-" * 5000 + "1\n", "RecursionError"),
        ("task = " + "(" * 5000 + "\n", "a Python file"),
    ],
)
def test_a_task_file_that_raises(refused, tmp_path, text, says):
    (tmp_path / "mine.py").write_text(text)
    refused("audit", "mine.py:task", "--change", "batch:x2", says=says)


TASK = """
import torch
from algobias import Task
x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
y = (x[:, 0] > 0).long()
{edit}
task = Task("mine", (x, y), (x, y), lambda: torch.nn.Linear(3, 2),
    lambda model, batch: torch.nn.functional.cross_entropy(model(batch[0]), batch[1]),
    lambda model, batch: 100.0 * (model(batch[0]).argmax(-1) == batch[1]),
    dict(lr=0.1, batch=8, updates=10))
"""


@pytest.mark.parametrize(
    ("edit", "says"),
    [("x[7, 1] = float('nan')", "nan"), ("y = torch.zeros(40).long()", "class"), ("y = y[:39]", "39")],
)
def test_bad_data_of_the_users_own(refused, tmp_path, edit, says):
    (tmp_path / "mine.py").write_text(TASK.format(edit=edit))
    refused("audit", "mine.py:task", "--change", "batch:x2", says=says)


HEADER = "seed,update,train_loss,test_metric\n"


def rows(*seeds):
    return "".join(f"{seed},{update},{1 / update},{90 + seed}\n" for seed in seeds for update in (1, 2, 4))


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("seed,update,train_loss\n1,1,1\n", HEADER + rows(1, 2), "test_metric is missing"),
        (
            "seed,update,train_loss,test_metrics\n1,1,1,1\n",
            HEADER + rows(1, 2),
            "rename test_metrics to test_metric",
        ),
        (
            "run,step,loss,val_acc\n1,1,1,1\n",
            HEADER + rows(1, 2),
            "seed and update and train_loss and test_metric are missing; rename run to seed, step to update, "
            "loss to train_loss, val_acc to test_metric",
        ),
        ("", HEADER + rows(1, 2), "the columns"),
        (HEADER, HEADER + rows(1, 2), "at least one row"),
        (HEADER + rows(1) + "1,4,0.3,91\n", HEADER + rows(1, 2), "line 4 has 0.25 for seed 1, update 4"),
        (HEADER + rows(1, 2), HEADER + rows(3, 4), "seeds that both tables have"),
        (HEADER + rows(1), HEADER + rows(1), "at least 2"),
        (HEADER + "1,1,abc,90\n", HEADER + rows(1, 2), "line 2, train_loss"),
        (HEADER + "1.5,1,1,90\n", HEADER + rows(1, 2), "a whole number"),
        (HEADER + "1,1,0.5,\n", HEADER + rows(1, 2), "test_metric"),
    ],
)
def test_tables_that_cannot_be_compared(refused, tmp_path, first, second, says):
    (tmp_path / "a.csv").write_text(first)
    (tmp_path / "b.csv").write_text(second)
    refused("compare", "a.csv", "b.csv", says=says)


def test_tables_that_are_no_text(refused, tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x01")
    (tmp_path / "b.csv").write_text(HEADER + rows(1, 2))
    refused("compare", "a.csv", "b.csv", says="a.csv")


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_regular_file_is_not_read(refused, tmp_path, kind):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "good.csv").write_text(HEADER + rows(1, 2))
    path = {"pipe": "pipe.csv", "device": "/dev/zero", "folder": "."}[kind]
    for words in [
        ("audit", "--spec", path),
        ("compare", path, "good.csv"),
        ("compare", "good.csv", path),
        ("measure", "digits", "--checkpoint", path),
        ("measure", "digits", "--checkpoint", "absent", "--other", path),
    ]:
        refused(*words, says=f"this is a {kind}")
    refused("audit", f"{path}:task", "--aa", says="task")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write to a read-only folder")
def test_a_read_only_store(refused, tmp_path):
    folder = tmp_path / "store"
    folder.mkdir(mode=0o500)
    refused("audit", "digits", "--change", "batch:x2", *QUICK, "--store", folder, says="store")


def test_a_store_that_is_a_file(refused, tmp_path):
    (tmp_path / "store").write_text("mine")
    refused("audit", "digits", "--change", "batch:x2", *QUICK, "--store", "store", says="store")
    assert (tmp_path / "store").read_text() == "mine"


def test_a_corrupted_database_is_told_and_its_runs_are_found_again(run, refused, tmp_path):
    words = ("audit", "digits", "--change", "batch:x2", *QUICK, "--store", "store", "--json", "--quiet")
    before = run(*words)
    assert before.code == 0, before.err
    database = tmp_path / "store" / "store.sqlite"
    for extra in ("-wal", "-shm"):
        (tmp_path / "store" / f"store.sqlite{extra}").unlink(missing_ok=True)
    database.write_bytes(b"not a database at all" * 500)
    refused(*words, says="move store.sqlite")
    database.unlink()
    after = run(*words)
    assert after.code == 0, after.err
    assert after.json["gap"] == before.json["gap"]
    assert after.json["seconds"] < before.json["seconds"], "nothing was trained again"


def test_another_programs_database(refused, tmp_path):
    (tmp_path / "store").mkdir()
    with sqlite3.connect(tmp_path / "store" / "store.sqlite") as other:
        other.execute("CREATE TABLE mine (a)")
    refused("audit", "digits", "--change", "batch:x2", *QUICK, "--store", "store", says="another program's")


def test_missing_data_say_what_is_wanted_and_from_where(refused, tmp_path, monkeypatch):
    for name, value in {"ALGOBIAS_DATA": "", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    words = ("audit", "fashion_mnist", "--change", "batch:x2", "--data", tmp_path)
    refused(*words, says="train-images-idx3-ubyte")


def test_as_a_command_of_its_own(command):
    process = command("audit", "digits", "--change", "bacth:x16", "--json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert out == ""
    assert "did you mean 'batch'" in " ".join(err.split())
    assert "Traceback" not in err


LONG = "9" * 300


@pytest.mark.parametrize(
    "words",
    [
        ("audit", "digits", "--change", "lr:x2", "--plan", "--data", LONG),
        ("audit", "digits", "--change", "lr:x2", "--plan", "--store", LONG),
        ("audit", f"{LONG}.py:task", "--change", "lr:x2", "--plan"),
        ("audit", "digits", "--change", f"{LONG}.py:Lever", "--plan"),
        ("audit", "--spec", LONG),
        ("studies", "--store", LONG),
        ("report", "last", "--store", "~nobody-of-this-name/store"),
        ("lab", "delay", "--out", f"{LONG}.html"),
        ("compare", LONG, LONG),
    ],
)
def test_a_path_that_there_cannot_be(run, words):
    result = run(*words)
    assert result.code == 2, result.err
    assert "Internal" not in result.err
