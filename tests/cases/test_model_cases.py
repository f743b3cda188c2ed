"""The reference's tasks of changes to the model: their settings, a few updates of each, committed results."""

from __future__ import annotations

import copy
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import model_cases as benchmark
from algobias.levers.registry import parse
from algobias.models.sum_of_words import SumOfWords
from algobias.own.user_file import without_folder
from algobias.running.spec import read_spec
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.readers.files import data_folders
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.loop import train

FOLDER = Path(__file__).parents[2] / "cases" / "model"
EXPECTED = benchmark.expectations()
DONE = [name for name in benchmark.names() if (FOLDER / f"{name}.json").exists()]
MARKERS = {
    "fmnist": "FashionMNIST",
    "gtsrb": "gtsrb32.npz",
    "driving": "driving_sim.npz",
    "shakes": "tinyshakespeare",
    "m30k": "multi30k",
    "senti": "sentence_polarity",
}
PRESETS = {
    "fmnist": "fashion_mnist:reference",
    "gtsrb": "gtsrb:reference",
    "driving": "steering:reference",
    "shakes": "shakespeare:reference",
    "m30k": "multi30k:reference",
    "senti": "polarity:reference",
}
PRODUCTS = {
    "fmnist": {"conv1": (16, 1, 3, 3), "conv2": (32, 16, 3, 3), "fc1": (64, 288), "fc2": (10, 64)},
    "gtsrb": {"conv1": (12, 3, 3, 3), "conv2": (24, 12, 3, 3), "fc1": (64, 384), "fc2": (43, 64)},
    "driving": {"conv1": (8, 1, 3, 3), "conv2": (16, 8, 3, 3), "fc1": (64, 768), "fc2": (3, 64)},
    "senti": {"hidden": (64, 32), "head": (2, 64)},
}
"""Layers that multiply, by name and in order, with the shapes of their weights."""

BLOCK = {f"attention.{name}": (64, 64) for name in ("query", "key", "value", "out")}
BLOCK |= {"feed.up": (160, 64), "feed.down": (64, 160), "feed.gate": (160, 64)}
for task, prefix, tokens in (("shakes", "", 65), ("m30k", "decoder.", 1605)):
    PRODUCTS[task] = {f"{prefix}blocks.{i}.{name}": shape for i in (0, 1) for name, shape in BLOCK.items()}
    PRODUCTS[task][f"{prefix}head"] = (tokens, 64)

RECIPES = {
    "fmnist": ("sgd", 0.05, 32, 600),
    "gtsrb": ("sgd", 0.1, 32, 800),
    "driving": ("sgd", 0.05, 32, 300),
    "shakes": ("adamw", 4e-3, 8, 800),
    "m30k": ("adamw", 4e-3, 32, 600),
    "senti": ("adam", 3e-3, 32, 800),
}
SIZES = {
    "fmnist": (4000, 5000),
    "gtsrb": (6535, 4210),
    "driving": (2833, 1000),
    "shakes": (1_003_854 - 64, 480),
    "m30k": (18_580, 662),
    "senti": (8000, 2662),
}
kept: dict[str, Task] = {}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.data) for name in MARKERS])
def name(request: pytest.FixtureRequest) -> str:
    """A task whose data are there."""
    marker = MARKERS[request.param]
    if not os.environ.get("ALGOBIAS_DATA"):
        pytest.skip("ALGOBIAS_DATA is not set: no public data sets to read")
    if not any((folder / marker).exists() for folder in data_folders(None)):
        pytest.skip(f"no {marker} below ALGOBIAS_DATA")
    return str(request.param)


def load(name: str) -> Task:
    if name not in kept:
        kept[name] = load_task(str(FOLDER / f"tasks.py:{name}"))
    return kept[name]


def few(task: Task, count: int) -> Task:
    """The task on a few examples, spread over all: signs and frames are sorted by class and time."""
    spread = [torch.linspace(0, len(source) - 1, count).long() for source in (task.train, task.test)]
    train_data, test_data = (
        next(iter(source.batches(count, index)))
        for source, index in zip((task.train, task.test), spread, strict=True)
    )
    words = {"optimizer": "adam", "lr": 3e-3, "batch": count // 2, "updates": 40}
    options: dict[str, Any] = {"classes": task.classes, "weight": task.weight, "trivial": task.trivial}
    return Task(task.name, train_data, test_data, task.model, task.loss, task.metric, words, **options)


def test_layers_have_the_names_and_shapes_that_cases_speak_of(name: str) -> None:
    net = load(name).build_model()
    found = {
        layer: tuple(module.weight.shape)
        for layer, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    assert found == PRODUCTS[name]


def test_sizes_and_recipes_are_the_reference_s(name: str) -> None:
    task = load(name)
    assert (len(task.train), len(task.test)) == SIZES[name]
    recipe = task.recipe()
    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.lr, recipe.batch, recipe.planned_updates) == RECIPES[name]
    assert (recipe.schedule.name, recipe.schedule.warmup) == ("cosine", 0.05)
    clips = [part.options["bound"] for part in recipe.parts if part.name == "clip"]
    if optimizer.name == "sgd":
        assert (optimizer.momentum, optimizer.nesterov, optimizer.weight_decay, clips) == (0.9, False, 0, [])
    if optimizer.name == "adamw":
        assert (optimizer.beta1, optimizer.beta2, optimizer.weight_decay) == (0.9, 0.95, 0.1)
        assert (optimizer.decay, clips) == ("matrices", [1.0])
    if optimizer.name == "adam":
        assert (optimizer.beta1, optimizer.beta2, optimizer.weight_decay, clips) == (0.9, 0.999, 0, [])


def test_initial_weights_have_the_reference_s_deviations(name: str) -> None:
    torch.manual_seed(1)
    net = load(name).build_model()
    for key, weight in net.named_parameters():
        if weight.dim() > 1:
            he = math.sqrt(2 / weight[0].numel())
            wanted = 0.02 if name in ("shakes", "m30k") else he
            if name == "senti":
                wanted = 0.1 * (1 / math.sqrt(32) if key.startswith("embedding") else he)
            # four standard errors of a deviation
            assert weight.std().item() == pytest.approx(wanted, rel=4 / math.sqrt(2 * weight.numel())), key
        else:
            assert torch.equal(weight, torch.full_like(weight, float("norm" in key and "weight" in key))), key


def test_networks_begin_as_those_of_the_built_in_tasks(name: str) -> None:
    """So that the figures of ``TASK:reference`` are those of these tasks."""
    nets = []
    for task in (load(name), load_task(PRESETS[name])):
        torch.manual_seed(3)
        nets.append(list(task.build_model().parameters()))
    assert all(torch.equal(one, two) for one, two in zip(*nets, strict=True))


def test_a_few_updates_fit_a_few_examples(name: str) -> None:
    task = few(load(name), 16)
    (outcome,) = train(task.recipe(), task, (0,))
    assert outcome.curve.train_loss[-1] < 0.7 * outcome.curve.train_loss[0]
    assert np.isfinite(outcome.end_metric)


def sentences() -> Task:
    """Sixty-four sentences of eight random words, in two classes that one word tells apart."""
    drawn = torch.Generator().manual_seed(0)
    words = torch.randint(1, 50, (64, 8), generator=drawn)
    labels = torch.arange(64) % 2
    words[:, 0] = 50 + labels
    data = (words[:48], labels[:48]), (words[48:], labels[48:])
    recipe = {"optimizer": "adam", "lr": 3e-3, "batch": 8, "updates": 60, "schedule": "cosine"}
    return Task(
        "sentences", *data, lambda: SumOfWords(51, 8, 0.1), classification_loss, accuracy, recipe, classes=2
    )


@pytest.mark.parametrize("optimizer", ["adam", "momentum,lr=0.5", "adamw,weight_decay=3"])
def test_the_rescaling_is_exact(optimizer: str) -> None:
    """Weights 40 times as large with outputs and steps rescaled train like the small ones, to rounding."""
    task = sentences()
    recipe = parse(f"optimizer:{optimizer}").apply(task.recipe())
    large = parse("init:40").apply(recipe)
    rescaled = parse(f"{FOLDER / 'levers.py'}:Rescale:40").apply(large)
    losses = [train(one, task, (0,))[0].curve.train_loss for one in (recipe, large, rescaled)]
    assert losses[2] == pytest.approx(losses[0], rel=1e-3)
    assert losses[1] != pytest.approx(losses[0], rel=0.1)
    neutral = parse(f"{FOLDER / 'levers.py'}:Rescale:1").apply(recipe)
    assert np.array_equal(train(neutral, task, (0,))[0].curve.train_loss, losses[0])


class TestBaselines:
    found: Any = benchmark.committed("baselines")

    def test_every_task_has_its_seeds(self) -> None:
        assert list(EXPECTED["tasks"]) == list(MARKERS)
        assert set(self.found["tasks"]) == set(MARKERS)
        for name, entry in self.found["tasks"].items():
            assert [run["seed"] for run in entry["runs"]] == list(range(EXPECTED["tasks"][name]["seeds"]))

    @pytest.mark.parametrize("task", list(MARKERS))
    def test_baselines_are_those_of_the_second_implementation(self, task: str) -> None:
        rules = EXPECTED["tolerances"]["baseline"]
        checks = benchmark.judge_baseline(self.found["tasks"][task], EXPECTED["tasks"][task], rules)
        assert [check for check in checks if check.passed is False] == []
        assert sum(check.passed is True for check in checks) == 1 + (task == "m30k")

    @pytest.mark.parametrize("task", list(MARKERS))
    def test_another_level_does_not_pass(self, task: str) -> None:
        entry, expected = copy.deepcopy(self.found["tasks"][task]), EXPECTED["tasks"][task]
        for run in entry["runs"]:
            run["metric"] += 10 * expected["sd"]
        checks = benchmark.judge_baseline(entry, expected, EXPECTED["tolerances"]["baseline"])
        assert checks[0].passed is False
        one_less = {**entry, "runs": self.found["tasks"][task]["runs"][1:]}
        assert benchmark.judge_baseline(one_less, expected, {"pooled_sd": 99})[0].passed is False


def test_tolerances_are_those_of_the_reference() -> None:
    """Widening a tolerance is not a way to pass."""
    assert EXPECTED["tolerances"] == {
        "baseline": {"pooled_sd": 3},
        "gap": {"relative": 0.35, "standard_errors": 3},
        "recovered": {"absolute": 0.15, "at_least": 0.7},
    }


@pytest.mark.parametrize("case", DONE)
class TestCases:
    def test_result_answers_its_spec(self, case: str) -> None:
        spec, found = read_spec(FOLDER / f"{case}.yaml"), benchmark.committed(case)
        assert found["task"] == without_folder(spec.task)
        assert found["change"] == [without_folder(text) for text in spec.change]
        controls = [entry["lever"] for entry in found["controls"]]
        assert controls == [without_folder(text) for text in spec.control]
        assert (found["tolerance"], found["gap"]["n"]) == (spec.tolerance, spec.looks[0])

    def test_case_comes_out_as_it_must(self, case: str) -> None:
        checks = benchmark.judge_case(
            benchmark.committed(case), EXPECTED["cases"][case], EXPECTED["tolerances"]
        )
        wrong = [f"{check.what}: {check.ours} ({check.allowed})" for check in checks if check.passed is False]
        assert not wrong, "; ".join(wrong)

    def test_no_path_of_a_machine(self, case: str) -> None:
        for suffix in ("yaml", "json", "svg"):
            text = (FOLDER / f"{case}.{suffix}").read_text(encoding="utf-8")
            assert not re.search(r"/(work|tmp|root|home|Users|var|mnt)/", text), suffix
        assert (FOLDER / f"{case}.svg").stat().st_size < 200_000

    def test_wrong_results_do_not_pass(self, case: str) -> None:
        def failed(change: str) -> set[str]:
            result = copy.deepcopy(benchmark.committed(case))
            if change == "verdict":
                result["verdict"] = "broken"
            if change == "gap":
                own = result["gap"]
                shift = abs(own["mean"]) + 3 * (own["high"] - own["low"])
                result["gap"] |= {key: own[key] + shift for key in ("mean", "low", "high")}
            checks = benchmark.judge_case(result, EXPECTED["cases"][case], EXPECTED["tolerances"])
            return {check.what for check in checks if check.passed is False}

        assert failed("") == set()
        assert failed("verdict") == {"verdict"}
        assert failed("gap") == {"gap"}


def test_the_page_shows_what_is_committed() -> None:
    page = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert benchmark.task_table() in page
    assert benchmark.table(benchmark.judged()) in page
    assert json.loads(benchmark.BASELINES.read_text(encoding="utf-8"))["environment"]["threads"] == 1
