"""A user's own task file: what is executed, what is told when it fails, what counts for the fingerprint."""

from __future__ import annotations

import pickle
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from algobias.errors import BadInput
from algobias.own.local_imports import local_imports
from algobias.tasks import describe_user_task, load_task
from algobias.tasks.template import TEMPLATE
from algobias.tasks.user_file import is_user_task

REGRESSION = """
    import torch
    from torch import nn
    from algobias.tasks import Task

    g = torch.Generator().manual_seed(0)
    x = torch.randn(60, 3, generator=g)
    d = {"inputs": x, "target": x.sum(1, keepdim=True)}

    def loss(model, batch):
        return ((model(batch["inputs"]) - batch["target"]) ** 2).mean()

    def metric(model, batch):
        return -(model(batch["inputs"]) - batch["target"]).abs().squeeze(-1)

    def task():
        return Task("regression", d, d, lambda: nn.Linear(3, 1), loss, metric,
                    {"lr": 0.1, "batch": 6, "epochs": 2}, metric_name="minus absolute error")

    ready = task()
    try:
        if True:
            def maybe():
                return ready
    except ImportError:
        other = ready
"""


def write(folder: Path, text: str, name: str = "my_task.py") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


@pytest.mark.parametrize("name", ["task", "ready", "maybe"])
def test_a_function_or_a_task_in_a_file(tmp_path, name):
    path = write(tmp_path, REGRESSION)
    task = load_task(f"{path}:{name}")
    assert task.recipe().task == f"my_task.py:{name}"
    assert task.classes is None
    assert task.metric(task.build_model(), next(task.test.batches(7))).shape == (7,)
    again = load_task(f"my_task.py:{name}", base_dir=tmp_path)
    assert again.fingerprint() == task.fingerprint()
    assert again.text == task.text == f"{path}:{name}"


def test_it_travels_to_another_process_as_its_text(tmp_path):
    task = load_task(f"{write(tmp_path, REGRESSION)}:task")
    raw = pickle.dumps(task)
    assert len(raw) < 500
    assert pickle.loads(raw).fingerprint() == task.fingerprint()
    assert pickle.loads(pickle.dumps(load_task("digits"))).fingerprint() == load_task("digits").fingerprint()


def test_the_template_runs(tmp_path):
    task = load_task(f"{write(tmp_path, TEMPLATE)}:task")
    assert (task.classes, len(task.train), len(task.test)) == (4, 2048, 2000)
    assert (
        len(task.train) % (16 * task.recipe().batch) == 0
    )  # the question that it suggests leaves nothing over
    torch.manual_seed(0)
    net = task.build_model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(100):
        optimizer.zero_grad()
        task.loss(net, task.train.data).backward()
        optimizer.step()
    assert task.metric(net, task.test.data).mean() > 60  # learns: chance is 25


def test_it_is_told_what_will_be_executed(tmp_path):
    path = write(tmp_path, "raise RuntimeError('must not run')\ndef task(): ...\n")
    told = describe_user_task(f"{path}:task")
    assert str(path) in told
    assert "3 lines" in told
    assert describe_user_task("digits") is None
    assert describe_user_task("fashion_mnist:model=mlp") is None
    assert [is_user_task(text) for text in ("a/b.py", "a/b.py:c", "mnist:pool=2")] == [True, True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import torch\n1/0\ndef task(): ...", r"my_task.py:2: ZeroDivisionError: division by zero"),
        ("def task():\n    return [][3]", r"my_task.py:2: IndexError"),
        ("def task():\n    import json\n    json.loads('{')", r"my_task.py:3: JSONDecodeError"),
        ("def task(:\n    pass", r"my_task.py:1: SyntaxError"),
        (
            "import nothing_of_this_name\ndef task(): ...",
            r"my_task.py:1: ModuleNotFoundError.*nothing_of_this_name",
        ),
        ("import sys\nsys.exit(3)\ndef task(): ...", r"my_task.py:2: SystemExit: 3"),
        ("def task():\n    return 5", r"my_task.py.*'int'.*a Task, or a function that returns one"),
        ("def task(x):\n    return x", r"TypeError.*missing 1 required positional argument"),
        ("task = 3", "a Task, or a function"),
        ("def tsk(): ...", r"did you mean 'tsk'.*with a name of: tsk$"),
        ("import numpy as tasks\nn = 3\ndef make(n, seed): ...\ndef tsk(n=3): ...", r"with a name of: tsk$"),
        ("class task: ...", "with a name of: none in this file"),
        ("\x00", "a Python file"),
    ],
)
def test_errors_in_the_file_are_one_message_with_its_line(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(BadInput, match=message) as caught:
        load_task(f"{path}:task")
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_complaints_about_the_users_data_name_the_line(tmp_path):
    path = write(tmp_path, REGRESSION.replace("x = torch.randn", "x = float('nan') * torch.randn"))
    with pytest.raises(BadInput, match=r"my_task.py:\d+: train\['inputs'\].*nan in example 0"):
        load_task(f"{path}:task")
    path = write(tmp_path, REGRESSION.replace('batch["inputs"]) -', 'batch["input"]) -', 1))
    with pytest.raises(BadInput, match=r"loss on train: \"my_task.py:11: KeyError: 'input'\""):
        load_task(f"{path}:task")
    path = write(tmp_path, REGRESSION.replace('"lr"', '"lrr"'))
    with pytest.raises(BadInput, match=r"my_task.py:\d+: recipe: 'lrr'.*did you mean 'lr'"):
        load_task(f"{path}:task")


def test_files_that_are_not_there(tmp_path):
    write(tmp_path, REGRESSION)
    with pytest.raises(BadInput, match=r"did you mean 'my_task.py'.*existing Python file"):
        load_task("my_tsk.py:task", base_dir=tmp_path)
    with pytest.raises(BadInput, match=r"with a name of: .*ready, task"):
        load_task("my_task.py", base_dir=tmp_path)
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(BadInput, match="existing Python file"):
        load_task("folder.py:task", base_dir=tmp_path)


def with_sibling(folder: Path, how: str, widths: str = "3") -> Path:
    write(folder, "from sibling_inner import WIDTH", "sibling_of_task.py")
    write(folder, f"WIDTH = {widths}", "sibling_inner.py")
    return write(folder, f"{how}\n{textwrap.dedent(REGRESSION)}".replace("randn(60, 3", "randn(60, WIDTH"))


@pytest.mark.parametrize("how", ["from sibling_of_task import WIDTH", "from .sibling_of_task import WIDTH"])
def test_modules_beside_the_file(tmp_path, how):
    path = with_sibling(tmp_path, how)
    before, modules = list(sys.path), sys.dont_write_bytecode
    task = load_task(f"{path}:task")
    assert sys.path == before
    assert sys.dont_write_bytecode == modules
    assert not (tmp_path / "__pycache__").exists()
    assert {file.name for file in task.files} == {"my_task.py", "sibling_of_task.py", "sibling_inner.py"}
    first = task.fingerprint()
    with_sibling(tmp_path, how, "3  # the same, said otherwise")
    assert load_task(f"{path}:task").fingerprint() != first


def test_modules_of_one_name_beside_two_files(tmp_path):
    for name, bias in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, f"SCALE = {bias}", "shared_name.py")
        text = "from shared_name import SCALE\n" + textwrap.dedent(REGRESSION).replace(
            "x.sum", "SCALE * x.sum"
        )
        write(tmp_path / name, text)
    tasks = [load_task("my_task.py:task", base_dir=tmp_path / name) for name in ("a", "b", "a")]
    a, b, again = (task.train.data["target"] for task in tasks)
    assert torch.equal(b, 2 * a)
    assert torch.equal(a, again)


def test_editing_a_line_changes_the_fingerprint(tmp_path):
    path = write(tmp_path, REGRESSION)
    first = load_task(f"{path}:task").fingerprint()
    write(tmp_path, REGRESSION + "    # a word\n")
    assert load_task(f"{path}:task").fingerprint() != first
    write(tmp_path, REGRESSION)
    assert load_task(f"{path}:task").fingerprint() == first


def test_moving_the_folder_changes_nothing(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    here = load_task(f"{write(tmp_path, REGRESSION)}:task")
    there = load_task(f"{write(tmp_path / 'elsewhere', REGRESSION)}:task")
    assert here.fingerprint() == there.fingerprint()
    assert here.recipe().address() == there.recipe().address()


def test_what_the_file_prints_does_not_reach_stdout(tmp_path, capsys):
    load_task(f"{write(tmp_path, REGRESSION + '    print(12345)')}:task")
    out, err = capsys.readouterr()
    assert out == ""
    assert "12345" in err


def test_local_imports_are_found_in_the_text(tmp_path):
    write(tmp_path, "import b, os\ndef f():\n    from package.inner import thing", "a.py")
    write(tmp_path, "from . import a", "b.py")
    (tmp_path / "package").mkdir()
    write(tmp_path / "package", "", "__init__.py")
    write(tmp_path / "package", "from .other import x\nfrom ..c import y", "inner.py")
    write(tmp_path / "package", "this is not Python", "other.py")
    write(tmp_path, "import outside.of.it\nfrom ...above import z", "c.py")
    write(tmp_path, "", "os_not_imported.py")
    assert [path.relative_to(tmp_path).as_posix() for path in local_imports(tmp_path / "a.py")] == [
        "b.py",
        "c.py",
        "package/__init__.py",
        "package/inner.py",
        "package/other.py",
    ]
