"""``algobias measure`` and ``algobias probes``: files, stored runs, one's own task, bad input."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from algobias.kept.store import Store
from algobias.kept.stored import find_run
from algobias.probes.registry import PROBES
from algobias.tasks.registry import load_task
from algobias.training.checkpoints import load_weights, save_weights
from algobias.training.subjects import subject_of

TASK = """
import torch
from torch import nn
from torch.nn.functional import mse_loss

from algobias import Task

x = torch.linspace(-1, 1, 24)[:, None]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)

    def forward(self, x):
        return self.layer(x)


task = Task(
    "line",
    (x, 2 * x),
    (x[:6], 2 * x[:6]),
    Net,
    lambda model, batch: mse_loss(model(batch[0]), batch[1]),
    lambda model, batch: -(model(batch[0]) - batch[1]).square().mean(1),
    {"optimizer": "sgd", "lr": 0.1, "batch": 24, "updates": 5},
)
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of the digits network, untrained, in a file."""
    torch.manual_seed(0)
    tensors = load_task("digits").build_model().state_dict()
    path = tmp_path_factory.mktemp("weights") / "digits.safetensors"
    save_weights(path, tensors, address="a" * 64, seed=0, update=0)
    return path


def norm(tensors):
    return math.sqrt(sum(float(t.double().square().sum()) for t in tensors.values()))


def test_a_probe_that_lacks_something_says_which_option_gives_it(run, weights):
    probes = "distance_from_init,prediction_churn"
    words = ("measure", "digits", "--checkpoint", weights, "--probes", probes, "--examples", 40, "--json")
    start, churn = (reading["reason"] for reading in run(*words).json["readings"])
    assert start == "it needs initial; initial: --initial gives it, a file of weights or seed:N"
    assert churn == "it needs other; other: --other gives it, a file of weights or STUDY:ARM:SEED"
    given = run(*words, "--initial", "seed:0", "--other", weights).json["readings"]
    assert [reading["status"] for reading in given] == ["ok", "ok"]


def test_a_file_of_weights(run, weights):
    result = run("measure", "digits", "--checkpoint", weights, "--probes", "weight_norm", "--json")
    assert result.code == 0, result.err
    found = result.json
    assert (found["schema"], found["task"], found["on"], found["examples"]) == (1, "digits", "train", 800)
    reading = found["readings"][0]
    assert {"probe", "value", "low", "high", "unit", "status", "cost"} <= reading.keys()
    assert (reading["probe"], reading["status"]) == ("weight_norm", "ok")
    assert reading["value"] == pytest.approx(norm(load_weights(weights)))
    assert found["cost"]["gradient_equivalents"] == sum(
        one["cost"]["gradient_equivalents"] for one in found["readings"]
    )


def test_the_table(run, weights):
    result = run("measure", "digits", "--checkpoint", weights, "--probes", "weight_norm")
    assert result.code == 0
    assert result.out == ""
    assert f"{norm(load_weights(weights)):.4g}" in result.err
    assert "parameter units" in result.err
    assert run("measure", "digits", "--checkpoint", weights, "--probes", "weight_norm", "--quiet").err == ""


def test_every_probe_of_the_cheap_preset_has_a_row(run, weights):
    result = run(
        "measure", "digits", "--checkpoint", weights, "--examples", 40, "--initial", "seed:0", "--json"
    )
    assert result.code == 0, result.err
    names = [name for name, cls in PROBES.items() if cls.card.preset == "cheap"]
    assert [one["probe"] for one in result.json["readings"]] == names
    # Untrained digits weights and a seed for the start: everything that is cheap can be measured here.
    for one in result.json["readings"]:
        assert one["status"] in ("ok", "not_converged"), one["reason"]
        assert math.isfinite(one["value"])


def test_a_state_dict_of_anybody(run, tmp_path, weights):
    tensors = {f"module.{name}": tensor for name, tensor in load_weights(weights).items()}
    torch.save({"epoch": 3, "state_dict": tensors}, tmp_path / "theirs.pt")
    result = run("measure", "digits", "--checkpoint", "theirs.pt", "--probes", "weight_norm", "--json")
    assert result.json["readings"][0]["value"] == pytest.approx(norm(tensors))


def test_weights_that_are_not_finite_are_a_status(run, tmp_path, weights):
    tensors = load_weights(weights)
    next(iter(tensors.values()))[0] = math.nan
    torch.save(tensors, tmp_path / "nan.pt")
    result = run("measure", "digits", "--checkpoint", "nan.pt", "--json")
    assert result.code == 0
    for one in result.json["readings"]:
        assert one["status"].startswith("unavailable: the loss is nan")
        assert one["value"] is None
    shown = run("measure", "digits", "--checkpoint", "nan.pt")
    assert shown.code == 0
    assert "unavailable: the loss is nan" in " ".join(shown.err.split())


def test_own_task_file(run, tmp_path):
    (tmp_path / "mine.py").write_text(TASK)
    torch.save({"layer.weight": torch.full((1, 1), 1.5)}, tmp_path / "mine.pt")
    result = run("measure", "mine.py:task", "--checkpoint", "mine.pt", "--probes", "weight_norm", "--json")
    assert result.code == 0, result.err
    assert "will execute" in result.err
    assert result.json["readings"][0]["value"] == 1.5


def test_levers_edit_the_recipe_first(run, weights):
    words = ("--base", "data:0.5+lr:0.01", "--probes", "weight_norm", "--json")
    found = run("measure", "digits", "--checkpoint", weights, *words).json
    assert found["examples"] == 400
    assert found["recipe"]["optimizer"]["lr"] == 0.01
    assert run("measure", "digits", "--checkpoint", weights, "--on", "test", *words).json["examples"] == 997


def test_the_plan_measures_nothing_else(run, weights):
    result = run("measure", "digits", "--checkpoint", weights, "--plan", "--json")
    assert result.code == 0, result.err
    found = result.json
    assert "readings" not in found
    assert found["tried_on"] == 32
    assert [one["probe"] for one in found["probes"]] == [
        name for name, cls in PROBES.items() if cls.card.preset == "cheap"
    ]
    assert found["gradient_equivalents"] == sum(one["gradient_equivalents"] for one in found["probes"])
    assert found["seconds"] >= found["gradient_equivalents"] * found["gradient_seconds"]
    shown = run("measure", "digits", "--checkpoint", weights, "--plan").err
    assert "800 examples" in " ".join(shown.split())


@pytest.fixture
def study(run):
    """A study of four tiny runs, in the store of this folder."""
    words = (
        "--looks",
        2,
        "--tolerance",
        "0.4",
        "--base",
        "budget:updates=60",
        "--seed",
        7,
        "--json",
        "-q",
        "--probes",
        "none",
    )
    result = run("audit", "digits", "--change", "batch:x4", *words)
    assert result.code == 0, result.err
    return result.json["study"]


def test_a_run_of_the_store(run, study, tmp_path):
    result = run("measure", "--run", "last:variant:8", "--probes", "weight_norm", "--json")
    assert result.code == 0, result.err
    found = result.json
    with Store(tmp_path / ".algobias") as store:
        stored = find_run(store, f"{study[:6]}:variant:8")
    assert found["run"] == {"study": study, "arm": "variant", "seed": 8, "update": stored.update}
    assert stored.update == max(stored.weights) >= 60
    assert stored.recipe.batch == 64
    assert found["changed"] is False
    kept = load_weights(stored.weights[stored.update])
    assert found["readings"][0]["value"] == pytest.approx(norm(kept))
    first = min(stored.weights)
    again = run("measure", "--run", f"last:variant:8:{first}", "--probes", "weight_norm", "--json").json
    assert again["run"]["update"] == first
    assert again["readings"][0]["value"] == pytest.approx(norm(load_weights(stored.weights[first])))
    planned = run("measure", "--run", "last:variant:8:planned", "--probes", "weight_norm", "--json").json
    assert planned["run"]["update"] == 60


def test_a_run_of_the_store_knows_its_start_its_past_and_its_rate(run, study, tmp_path):
    probes = "distance_from_init,distance_slope,prediction_churn"
    words = ("--other", "last:baseline:8", "--probes", probes, "--json")
    readings = run("measure", "--run", "last:variant:8", *words).json["readings"]
    assert [one["status"] for one in readings] == ["ok"] * 3
    with Store(tmp_path / ".algobias") as store:
        one, two = find_run(store, "last:variant:8"), find_run(store, "last:baseline:8")
    task = load_task("digits")
    start = subject_of(task, one.recipe, load_weights(one.weights[60]), seed=8)
    kept = {update: load_weights(path) for update, path in one.weights.items()}
    moved = [math.dist(start.flat(weights), start.flat(start.initial)) for weights in kept.values()]
    assert readings[0]["value"] == pytest.approx(moved[-1], rel=1e-5)
    slope = np.polyfit(np.log(list(kept)), moved, 1)[0]
    assert readings[1]["value"] == pytest.approx(slope, rel=1e-4)
    x = torch.cat([batch[0] for batch in start.batches])
    said = start.model(x).argmax(1)
    start.model.load_state_dict(load_weights(two.weights[two.update]))
    differ = (said != start.model(x).argmax(1)).double().mean()
    assert readings[2]["value"] == pytest.approx(float(differ))


def test_runs_that_are_not_there(refused, study, tmp_path):
    with Store(tmp_path / ".algobias") as store:
        kept = ", ".join(map(str, find_run(store, "last:baseline:7").weights))
    for text, says in {
        "last": "STUDY:ARM:SEED",
        "lost:baseline:7": "the start of one",
        "last:varaint:7": "did you mean 'variant'",
        "last:baseline": "7, 8",
        "last:baseline:3": "a seed of baseline: 7, 8",
        "last:baseline:x": "a seed of baseline: 7, 8",
        "last:baseline:7:2:1": "STUDY:ARM:SEED",
        "last:baseline:7:59": kept,
        "last:baseline:7:final": kept,
    }.items():
        refused("measure", "--run", text, says=says)
    for extra in (("digits",), ("--checkpoint", "a.pt"), ("--base", "lr:0.1"), ("--initial", "seed:1")):
        refused("measure", *extra, "--run", "last:baseline:7", says="nothing beside --run")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "algobias tasks"),
        (("digits",), "--checkpoint"),
        (("digts", "--checkpoint", "W"), "did you mean 'digits'"),
        (("digits", "--checkpoint", "absent.safetensors"), "No such file"),
        (("digits", "--checkpoint", "absent.pt"), "No such file"),
        (("digits", "--checkpoint", "."), "checkpoint"),
        (("digits", "--checkpoint", "text.pt"), "a state dict saved by torch.save"),
        (("digits", "--checkpoint", "text.safetensors"), "a whole safetensors file"),
        (("digits", "--checkpoint", "other.pt"), "0.weight"),
        (("digits", "--checkpoint", "W", "--probes", "weight_nrom"), "did you mean 'weight_norm'"),
        (("digits", "--checkpoint", "W", "--probes", ""), "cheap"),
        (("digits", "--checkpoint", "W", "--probes", "weight_norm:power=3"), "weight_norm"),
        (("digits", "--checkpoint", "W", "--examples", "many"), "all, or a number"),
        (("digits", "--checkpoint", "W", "--examples", "0"), "from 1 to 800"),
        (("digits", "--checkpoint", "W", "--examples", "801"), "from 1 to 800"),
        (("digits", "--checkpoint", "W", "--on", "trian"), "did you mean 'train'"),
        (("digits", "--checkpoint", "W", "--base", "lrr:0.1"), "did you mean 'lr'"),
        (("digits", "--checkpoint", "W", "--initial", "seed:x"), "seed:N"),
        (("digits", "--checkpoint", "W", "--initial", "other.pt"), "checkpoint initial: "),
        (("digits", "--checkpoint", "W", "--other", "other.pt"), "checkpoint other: "),
        (("digits", "--checkpoint", "W", "--other", "last:baseline:0"), "which has none yet"),
        (("digits", "--checkpoint", "W", "--initial", "gone.pt"), "gone.pt"),
        (("digits", "--checkpoint", "W", "--device", "cdua"), "cpu"),
        (("digits", "--checkpoint", "W", "--updates", "-1"), "--updates"),
        (("--run", "last:baseline:0"), "which has none yet"),
    ],
)
def test_bad_input(refused, weights, tmp_path, words, says):
    (tmp_path / "text.pt").write_text("not weights")
    (tmp_path / "text.safetensors").write_text("not weights")
    torch.save({"0.weight": torch.zeros(2, 2)}, tmp_path / "other.pt")
    refused("measure", *[weights if word == "W" else word for word in words], says=says)


def test_a_checkpoint_that_names_code_is_not_executed(refused, tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "executed"), "w")

    torch.save({"0.weight": Evil()}, tmp_path / "evil.pt")
    refused("measure", "digits", "--checkpoint", "evil.pt", says="evil.pt")
    assert not (tmp_path / "executed").exists()


def test_the_catalogue_and_a_card(run, refused):
    items = run("probes", "--json").json["items"]
    assert [item["name"] for item in items] == list(PROBES)
    listed = run("probes").out
    assert all(name in listed for name in PROBES)
    card = run("probes", "weight_norm", "--json").json["items"][0]
    for field in ("summary", "family", "formula", "unit", "invariances", "cost", "references", "preset"):
        assert card[field], field
    assert json.dumps(card)
    refused("probes", "weight_nrom", says="did you mean 'weight_norm'")
