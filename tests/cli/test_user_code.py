"""A user's code that prints, exits and raises: stdout stays one JSON object, and the fault has its line."""

from __future__ import annotations

import json
import signal

import pytest

from wide_tests import wide

TASK = """
import ctypes, logging, multiprocessing, os, subprocess, sys, warnings
import torch
from algobias import Task

g = torch.Generator().manual_seed(0)
x = torch.randn(60, 3, generator=g)
y = (x[:, 0] > 0).long()
calls = dict.fromkeys(("model", "loss", "metric", "collate", "weight", "also", "sample"), 0)
in_worker = multiprocessing.parent_process() is not None
libc = ctypes.CDLL(None)


def noise():
    print("NOISE")
    logging.warning("NOISE")
    warnings.warn("NOISE")
    sys.__stdout__.write("NOISE\\n")
    os.write(1, b"NOISE\\n")
    libc.printf(b"NOISE\\n")
    if calls["loss"] < 3:
        subprocess.run(["echo", "NOISE"])


class Items(torch.utils.data.Dataset):
    def __len__(self):
        return 60

    def __getitem__(self, example):
        calling("item", example)
        return x[example], y[example]


def calling(what, count=None):
    calls[what] = calls.get(what, 0) + 1
    {fault}


def collate(items):
    calling("collate")
    return torch.utils.data.default_collate(items)


def model():
    calling("model")
    return torch.nn.Linear(3, 2)


def loss(model, batch):
    calling("loss")
    return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])


def metric(model, batch):
    calling("metric")
    return 100.0 * (model(batch[0]).argmax(-1) == batch[1])


def weight(batch):
    calling("weight")
    return torch.ones(len(batch[0]))


def also(model, batches):
    calling("also")
    return 1.0


def sample(model):
    calling("sample")
    return "text"


{more}
train = Items() if {items} else (x, y)
task = Task("mine", train, (x, y), model, loss, metric, {{"lr": 0.1, "batch": 8, "updates": 20}},
    collate=collate if {items} else None, weight=weight, also={{"further": also}}, sample=sample)
"""
WORDS = ("--change", "batch:x2", "--looks", "2", "--tolerance", "1", "--json", "--quiet", "--fail-on", "bias")


def written(tmp_path, fault="pass", more="", items=False):
    text = TASK.format(fault=fault, more=more, items=items)
    (tmp_path / "mine.py").write_text(text)
    lines = text.splitlines()
    return next((place for place, line in enumerate(lines, 1) if fault != "pass" and fault in line), None)


@pytest.fixture
def told(run, tmp_path):
    """What an audit of the task says that ends with code 2, one message, and nothing on stdout."""

    def audited(*more):
        result = run("audit", "mine.py:task", *WORDS, *more)
        assert (result.code, result.out) == (2, ""), result.err
        assert "Traceback" not in result.err
        return " ".join(result.err.split())

    return audited


@pytest.mark.parametrize("workers", [0, wide(1)])
def test_stdout_holds_one_json_object_whatever_is_printed(command, tmp_path, workers):
    more = "import atexit\natexit.register(noise)\nnoise()"
    written(tmp_path, "noise()", more)
    words = ("audit", "mine.py:task", *WORDS, "--probes", "none", "--workers", workers)
    process = command(*words)
    out, err = process.communicate(timeout=120)
    assert process.returncode in (0, 1), err
    assert json.loads(out)["task"] == "mine.py:task"
    assert err.count("NOISE") > 100
    assert "NOISE" not in out


def test_also_where_the_program_runs_inside_of_another(run, tmp_path):
    written(tmp_path, "noise()", "noise()")
    result = run("measure", "mine.py:task", "--checkpoint", "absent.pt", "--json")
    assert (result.code, result.out) == (2, "")
    result = run("audit", "mine.py:task", *WORDS, "--plan")
    assert result.json["arms"][0]["name"] == "baseline"
    assert result.err.count("NOISE") > 10
    again = run("levers", "--json")
    assert again.json["items"]


FAULTS = [
    ("loss", "raise SystemExit(0)", 30, "SystemExit: 0"),
    ("loss", "raise EOFError('mine')", 30, "EOFError: mine"),
    ("loss", "raise BrokenPipeError('mine')", 30, "BrokenPipeError: mine"),
    ("metric", "raise ValueError('[red]mine[/]')", 40, "ValueError: [red]mine[/]"),
    ("metric", "raise type('Odd', (BaseException,), {{}})('mine')", 40, "Odd: mine"),
    ("model", "raise RuntimeError('mine')", 6, "RuntimeError: mine"),
    ("weight", "1 / 0", 2, "ZeroDivisionError: division by zero"),
    ("also", "assert not 'mine'", 0, "AssertionError"),
    ("sample", "json.loads('{{')", 0, "JSONDecodeError"),
]


@pytest.mark.parametrize(("what", "fault", "after", "says"), FAULTS)
def test_a_fault_in_training_is_named_with_its_line(told, tmp_path, what, fault, after, says):
    spelled = fault.replace("{{", "{").replace("}}", "}")
    line = written(tmp_path, f"if what == {what!r} and calls[what] > {after}: {spelled}", "import json")
    named = "also['further']" if what == "also" else what
    message = told()
    assert f"Error {named}: " in message
    assert f"mine.py:{line}: {says}" in message


@pytest.mark.parametrize(
    ("what", "fault", "says"),
    [
        ("item", "count > 50: sys.exit()", "train[51]: 'mine.py:"),
        ("collate", "calls[what] > 9: 1 / 0", "train batch"),
    ],
)
def test_a_fault_in_reading_data_is_named_with_its_line(told, tmp_path, what, fault, says):
    line = written(tmp_path, f"if what == {what!r} and {fault}", items=True)
    message = told()
    assert says in message
    assert f"mine.py:{line}: " in message


@pytest.mark.parametrize("raised", ["SystemExit(0)", wide("KeyboardInterrupt"), wide("ValueError('mine')")])
def test_a_fault_in_a_worker_process_is_named_with_its_line(told, tmp_path, raised):
    line = written(tmp_path, f"if in_worker and what == 'loss' and calls[what] > 30: raise {raised}")
    assert f"mine.py:{line}: {raised.partition('(')[0]}" in told("--workers", "1")


def test_ctrl_c_is_no_fault_of_the_users_code(run, tmp_path):
    written(tmp_path, "if what == 'loss' and calls[what] > 30: raise KeyboardInterrupt")
    # A shell starts what runs in the background deaf to Ctrl-C, as workers are.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = run("audit", "mine.py:task", *WORDS)
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.code == 130
    assert "Interrupted" in result.err


def test_a_fault_in_backward_is_named_with_its_line(told, tmp_path):
    more = """
class Backward(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, grad):
        if calls["loss"] > 30:
            raise TypeError("mine")
        return grad


def loss(model, batch):
    calling("loss")
    return torch.nn.functional.cross_entropy(Backward.apply(model(batch[0])), batch[1])
"""
    written(tmp_path, more=more)
    text = (tmp_path / "mine.py").read_text().splitlines()
    line = 1 + text.index('            raise TypeError("mine")')
    assert f"Error gradient of the loss: 'mine.py:{line}: TypeError: mine'" in told()


@pytest.mark.parametrize("example", [3, 41])
@pytest.mark.parametrize("kind", ["items", "list"])
def test_nan_beyond_the_first_items_is_named_with_its_example(refused, tmp_path, example, kind):
    edit = f"x[{example}, 1] = float('nan')"
    edit += "\nItems = lambda: list(zip(x, y))" if kind == "list" else ""
    written(tmp_path, more=edit, items=True)
    text = (tmp_path / "mine.py").read_text().replace("train, (x, y)", "train, (x[:3], y[:3])")
    (tmp_path / "mine.py").write_text(text)
    words = ("audit", "mine.py:task", *WORDS)
    refused(*words, says=f"train[{example}][0]: 'nan in example {example}' is not possible; allowed: finite")


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ("trivial='x'", "trivial: 'x'"),
        ("trivial=True", "trivial: True"),
        ("trivial=float('nan')", "trivial: nan"),
        ("trivial=[1.0]", "trivial: [1.0]"),
        ("habit='0.4'", "habit: '0.4'"),
        ("habit=0", "habit: 0"),
        ("classes='2'", "classes: '2'"),
        ("corpus='no'", "corpus: 'no'"),
        ("metric_name=3", "metric_name: 3"),
        ("fit_examples='all'", "fit_examples: 'all'"),
        ("revision=1.5", "revision: 1.5"),
    ],
)
def test_arguments_of_the_wrong_type_are_refused_before_training(refused, tmp_path, edit, says):
    written(tmp_path)
    text = (tmp_path / "mine.py").read_text().replace("sample=sample)", f"sample=sample, {edit})")
    (tmp_path / "mine.py").write_text(text)
    refused("audit", "mine.py:task", *WORDS, says=says)


def test_a_name_that_a_file_does_not_make_is_told_with_those_it_makes(run, tmp_path):
    (tmp_path / "makes_names.py").write_text("first = second = None\n")
    (tmp_path / "mine.py").write_text("from makes_names import *\n")
    told = run("audit", "mine.py:frist", "--change", "lr:x2").err
    assert "'frist' is not possible (did you mean 'first'?); allowed: first, second" in told
    assert "algobias_user" not in told
