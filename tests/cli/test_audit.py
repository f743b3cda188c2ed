"""The audit as a command: result object, reuse, interruption, a user's own task, compare, Python names."""

from __future__ import annotations

import json
import signal
import time

import pytest

import algobias

SMALL = ("--looks", "4", "--tolerance", "0.4", "--base", "budget:updates=100", "--quiet", "--json")
KEYS = {
    "schema", "study", "task", "change", "metric", "tolerance", "verdict", "reason", "gap", "fit", "arms",
    "moved", "controls", "store", "report", "seconds",
}  # fmt: skip
COST = {"updates", "examples", "gradients", "flops", "bytes_sent", "peak_memory", "bits", "seconds"}


def without_times(result):
    """The result without what differs from run to run."""
    text = json.loads(json.dumps(result))
    for key in ("seconds", "store", "report"):
        text.pop(key)
    for arm in text["arms"]:
        arm["cost"].pop("seconds")
    for control in text["controls"]:
        for ratios in control["cost_ratio"].values():
            ratios.pop("seconds", None)
        for ratios in control.get("other", {}).get("cost_ratio", {}).values():
            ratios.pop("seconds", None)
    return text


def test_the_result_object(run, tmp_path):
    result = run("audit", "digits", "--change", "batch:x4", "--control", "sam:0.1", *SMALL).json
    assert result.keys() >= KEYS
    assert result["schema"] == 1
    assert result["change"] == ["batch:x4"]
    assert [arm["name"] for arm in result["arms"]] == [
        "baseline", "variant", "variant+sam:0.1", "baseline+sam:0.1",
    ]  # fmt: skip
    for arm in result["arms"]:
        assert arm["seeds"] == [0, 1, 2, 3]
        assert arm["cost"].keys() == COST
        assert arm["metric"].keys() >= {"mean", "sd"}
        assert len(arm["address"]) == 64
    assert {"mean", "low", "high", "n"} <= result["gap"].keys()
    assert {"matched", "on", "side", "level", "levels", "seeds_reached", "fit_share", "bias_share"} <= result[
        "fit"
    ].keys()
    control = result["controls"][0]
    assert control["lever"] == "sam:0.1"
    assert control["verdict"] in ("recovered", "partial", "none", "harmful")
    assert control["cost_ratio"]["variant"]["gradients"] == pytest.approx(2)
    assert (tmp_path / result["report"]).stat().st_size < 2_000_000
    assert oct((tmp_path / ".algobias").stat().st_mode)[-3:] == "700"


def test_a_neutral_lever_is_not_applied(run):
    result = run("audit", "digits", "--change", "lr:x1", "--quiet", "--json")
    assert result.json["verdict"] == "not_applied"


def test_a_change_that_never_acts_is_not_applied(run):
    result = run("audit", "digits", "--change", "clip:1e9", *SMALL)
    assert result.json["verdict"] == "not_applied", "the clip is above every gradient norm"


def test_a_hopeless_rate_is_broken(run):
    assert run("audit", "digits", "--change", "lr:1e6", *SMALL).json["verdict"] == "broken"


def test_the_same_question_again_trains_nothing_and_answers_the_same(run):
    words = ("audit", "digits", "--change", "batch:x4", *SMALL)
    first = run(*words).json
    second = run(*words).json
    assert without_times(second) == without_times(first)
    assert second["arms"][0]["cost"]["seconds"] == first["arms"][0]["cost"]["seconds"], "the stored runs"


@pytest.mark.wide
def test_workers_and_another_store_do_not_change_the_answer(run):
    words = ("audit", "digits", "--change", "batch:x4", *SMALL)
    one = run(*words, "--workers", "0", "--store", "one").json
    two = run(*words, "--workers", "2", "--store", "two").json
    assert without_times(one) == without_times(two)


def test_aa_uses_the_next_block_of_seeds(run):
    result = run("audit", "digits", "--aa", *SMALL).json
    assert result["arms"][1]["seeds"] == [4, 5, 6, 7]
    assert result["verdict"] in ("no_gap", "undecided")


@pytest.mark.wide
def test_a_spec_file_is_the_same_question(run, tmp_path):
    (tmp_path / "study.yaml").write_text(
        "task: digits\nchange: [batch:x4]\nbase: [budget:updates=100]\nlooks: [4]\ntolerance: 0.4\n"
    )
    asked = run("audit", "digits", "--change", "batch:x4", *SMALL).json
    read = run("audit", "--spec", "study.yaml", "--quiet", "--json").json
    assert read["study"] == asked["study"]
    assert without_times(read) == without_times(asked)


def test_plan_trains_nothing(run, tmp_path):
    result = run("audit", "digits", "--change", "batch:x16,lr=sqrt", "--plan", "--json").json
    arms = {arm["name"]: arm for arm in result["arms"]}
    assert arms["variant"]["worst_case_updates"] == 8 * 120
    assert arms["baseline"]["worst_case_updates"] == 2000
    assert result["worst_case_bytes"] > 0
    assert not (tmp_path / ".algobias").exists()
    shown = run("audit", "digits", "--change", "batch:x16,lr=sqrt", "--plan")
    assert shown.code == 0
    assert shown.out == ""
    assert "baseline" in shown.err


def test_fail_on(run):
    words = ("audit", "digits", "--change", "lr:x1", "--quiet")
    assert run(*words, "--fail-on", "bias,not_applied").code == 1
    assert run(*words, "--fail-on", "bias").code == 0


def test_out_of_time_says_how_to_go_on(run):
    result = run("audit", "digits", "--change", "batch:x4", "--tolerance", "0.4", "--max-time", "0")
    assert result.code == 130
    assert "the same command goes on" in " ".join(result.err.split())


@pytest.mark.wide
def test_interrupt_saves_and_resumes_to_the_same_result(run, command, tmp_path):
    words = ["audit", "digits", "--change", "batch:x4", "--base", "budget:updates=100"]
    words += ["--looks", "4", "--tolerance", "0.4", "--json"]
    process = command(*words, "--workers", "0", "--store", "stopped")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(tmp_path.glob("stopped/runs/??/*/*/curve*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "goes on" in " ".join(err.split())
    resumed = run(*words, "--quiet", "--store", "stopped").json
    assert without_times(resumed) == without_times(run(*words, "--quiet", "--store", "whole").json)


REGRESSION = '''
"""A user's own regression task: dict batches, a map-style dataset, an unusual module."""
import torch
from torch import nn
from algobias import Task

generator = torch.Generator().manual_seed(0)
inputs = torch.randn(300, 8, generator=generator)
targets = torch.sin(inputs[:, :2].sum(-1)) + 0.1 * torch.randn(300, generator=generator)


class Rows(torch.utils.data.Dataset):
    def __init__(self, start, stop):
        self.rows = range(start, stop)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, place):
        row = self.rows[place]
        return {"inputs": inputs[row], "targets": targets[row]}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8))
        self.body = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, inputs):
        return self.body(inputs * self.scale).squeeze(-1)


def loss(model, batch):
    return (model(batch["inputs"]) - batch["targets"]).square().mean()


def metric(model, batch):
    return -(model(batch["inputs"]) - batch["targets"]).square()


def make():
    return Task("waves", Rows(0, 200), Rows(200, 300), Net, loss, metric,
                dict(optimizer="adam", lr=0.01, batch=20, updates=150), metric_name="minus squared error")
'''


@pytest.mark.wide
def test_a_users_own_regression_task_outside_the_package(run, tmp_path):
    folder = tmp_path / "somewhere else"
    folder.mkdir()
    (folder / "waves.py").write_text(REGRESSION)
    words = ("audit", "somewhere else/waves.py:make", "--change", "batch:x5", "--looks", "4", "--json")
    result = run(*words)
    assert result.code == 0, result.err
    assert "will execute" in " ".join(result.err.split())
    found = result.json
    assert found["metric"] == "minus squared error"
    assert found["tolerance"] > 0
    assert found["verdict"] in ("bias", "optimization", "mixed", "no_gap", "undecided")
    again = run(*words)
    assert without_times(again.json) == without_times(found)
    (folder / "waves.py").write_text(REGRESSION.replace("0.1 * torch.randn", "0.2 * torch.randn"))
    assert run(*words).json["study"] != found["study"], "an edited line is another study"


@pytest.mark.wide
def test_compare_reproduces_the_audits_verdict_from_its_exported_curves(run, tmp_path):
    words = (
        "audit",
        "digits",
        "--tolerance",
        "0.4",
        "--looks",
        "3,5",
        "--quiet",
        "--json",
        "--base",
        "budget:updates=400",
    )
    for change in ("batch:x16", "budget:x0.125", "batch:x2", "schedule:cosine"):
        audit = run(*words, "--change", change).json
        assert run("report", "last", "--csv", "tables", "--quiet").code == 0
        compared = run("compare", "tables/baseline.csv", "tables/variant.csv", "--quiet", "--json").json
        for key in ("verdict", "gap", "tolerance", "reason"):
            assert compared[key] == audit[key], (change, key)
        for key in ("level", "side", "bias_share", "fit_share", "seeds_reached"):
            assert compared["fit"][key] == audit["fit"][key], (change, key)


def test_studies_are_listed_reported_and_removed(run, tmp_path):
    first = run("audit", "digits", "--change", "batch:x4", *SMALL).json["study"]
    second = run("audit", "digits", "--change", "batch:x8", *SMALL).json["study"]
    items = run("studies", "--json").json["items"]
    assert [item["name"] for item in items] == [first, second]
    shown = run("studies")
    assert first in shown.out
    assert run("report", first[:5], "--json", "--quiet").json["study"] == first
    assert run("studies", "rm", first, "--json").code == 0
    assert [item["name"] for item in run("studies", "--json").json["items"]] == [second]
    assert run("report", second, "--quiet").code == 0, "runs that the other study uses are still there"


def test_catalogues(run):
    names = {item["name"] for item in run("tasks", "--json").json["items"]}
    assert {"digits", "mnist", "fashion_mnist", "emnist_letters", "cifar10"} <= names
    levers = {item["name"] for item in run("levers", "--json").json["items"]}
    assert {"batch", "lr", "budget", "schedule", "optimizer", "weight_decay", "clip", "data", "sam"} <= levers
    card = run("levers", "sam")
    assert card.code == 0
    assert "Foret" in card.out
    shown = " ".join(card.out.split())
    assert "rho (right after the colon; required): a number of 0 or more. Length of" in shown


@pytest.mark.parametrize(
    ("command", "last"),
    [
        ("levers", "one card: algobias levers NAME"),
        ("probes", "one card: algobias probes NAME"),
        (
            "tasks",
            "one card: algobias tasks NAME; a file of your own to start from: algobias tasks --template",
        ),
        ("lab", "one of them, run: algobias lab NAME"),
    ],
)
def test_lists_say_how_one_of_them_is_shown(run, command, last):
    assert " ".join(run(command).out.split()).endswith(last)


def test_what_a_probe_is_has_room_in_a_narrow_terminal(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("probes").out.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert any(
        "Hessian of the training loss" in line or "eigenvalue of the Hessian" in line for line in lines
    )
    assert any(line.strip() == "curvature:" for line in lines)
    assert "(cheap)" in " ".join(lines)


def test_nothing_but_json_on_stdout(run):
    result = run("audit", "digits", "--change", "lr:x1", "--json")
    json.loads(result.out)
    assert "not applied" in result.err


def test_the_python_names_are_the_same_words(tmp_path):
    found = algobias.audit("digits", "lr:x1", store=tmp_path / "store")
    assert found.result["verdict"] == "not_applied"


def test_a_task_made_in_python(tmp_path):
    import torch
    from torch import nn

    x = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
    y = x[:, :1].sin()
    task = algobias.Task(
        "mine", (x[:80], y[:80]), (x[80:], y[80:]), lambda: nn.Linear(4, 1),
        lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        lambda model, batch: -(model(batch[0]) - batch[1]).square().mean(-1),
        {"lr": 0.05, "batch": 8, "updates": 40},
    )  # fmt: skip
    found = algobias.audit(task, "batch:x4", looks=[4], store=tmp_path / "store")
    assert found.result["gap"]["n"] == 4
