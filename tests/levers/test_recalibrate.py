"""Recalibrated BatchNorm statistics: against torch's own, in what they touch, and where nothing happens."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from test_local_sgd import made, normalised
from torch.optim.swa_utils import update_bn

from algobias.levers.registry import parse
from algobias.recipe import Recipe
from algobias.runs.observer import Snapshot
from algobias.seeding.streams import generator
from algobias.tasks.registry import load_task
from algobias.training.loop import train
from algobias.training.setup import Setup

TASK = normalised()


class Last:
    """Keeps the weights that were evaluated last, and those that training goes on from."""

    def __init__(self) -> None:
        self.evaluated: dict[str, torch.Tensor] = {}
        self.trained: Any = None

    def on_check(self, seed: int, check: Any) -> None: ...
    def on_weights(self, seed: int, update: int, tensors: dict[str, torch.Tensor]) -> None:
        self.evaluated = tensors

    def wants_weights(self, update: int) -> bool:
        return False

    def on_live_weights(self, seed: int, update: int, tensors: dict[str, torch.Tensor]) -> None: ...
    def on_snapshot(self, seed: int, snapshot: Snapshot) -> None:
        self.trained = snapshot.tensors["params"]

    def wants_snapshot(self) -> bool:
        return False

    def should_stop(self) -> bool:
        return False


def after(recipe: Recipe) -> tuple[Last, Any]:
    last = Last()
    (outcome,) = train(recipe, TASK, (3,), observers=[last])
    return last, outcome


@pytest.mark.parametrize("before", ["ema:0.9", "local_sgd:8,workers=4,buffers=keep", "ghost_norm:16"])
def test_statistics_are_those_of_torch(before: str) -> None:
    recipe = made(before, "recalibrate:6", task=TASK)
    last, _ = after(recipe)
    setup = Setup(recipe, TASK, torch.device("cpu"))
    model = setup.network._build(3)
    tensors = {name: last.evaluated[name] for name in model.state_dict()}
    model.load_state_dict(copy.deepcopy(tensors))
    order = torch.from_numpy(generator(3, "recalibrate", 0).permutation(len(TASK.train)))[: 6 * 16]
    inputs = TASK.train.data[0]  # type: ignore[attr-defined]
    update_bn([inputs[part] for part in order.split(16)], model)
    for name, tensor in model.state_dict().items():
        if "running" in name:
            assert torch.allclose(tensors[name], tensor, rtol=1e-5, atol=1e-7), name


def test_only_what_is_evaluated_changes() -> None:
    plain, before = after(made("ema:0.9", task=TASK))
    anew, now = after(made("ema:0.9", "recalibrate:8", task=TASK))
    assert torch.equal(plain.trained, anew.trained)
    differ = {n for n in plain.evaluated if not torch.equal(plain.evaluated[n], anew.evaluated[n])}
    assert differ == {n for n in plain.evaluated if "running" in n}
    assert before.cost.gradients == now.cost.gradients
    assert not np.array_equal(before.curve.test_metric, now.curve.test_metric) or not np.array_equal(
        before.curve.train_loss, now.curve.train_loss
    )


def test_statistics_of_workers_that_never_met_are_mended() -> None:
    """Weights far from the last ones: their own statistics fit them, those of training do not."""
    loss = {
        lever: after(made("optimizer:sgd,lr=0.5,momentum=0", "ema:0.99", *lever, task=TASK))[
            1
        ].curve.train_loss[-1]
        for lever in ((), ("recalibrate:20",))
    }
    assert loss[("recalibrate:20",)] < loss[()]


def test_without_batch_norm_nothing_happens() -> None:
    digits = load_task("digits")
    recipe = digits.recipe().edit(budget={"updates": 12})
    for engine in ("stacked", "looped"):
        one = train(recipe.edit(engine=engine), digits, (0, 1))
        two = train(parse("recalibrate:4").apply(recipe.edit(engine=engine)), digits, (0, 1))
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a.curve.train_loss, b.curve.train_loss)


def test_more_batches_than_there_are_is_one_pass_without_a_rest_of_one() -> None:
    x, y = TASK.train.data  # type: ignore[attr-defined]
    task = copy.copy(TASK)
    task.train = type(TASK.train)((x[:65], y[:65]))  # four batches and one example, which has no spread
    recipe = made("recalibrate:100", task=task)
    last = Last()
    train(recipe, task, (3,), observers=[last])
    setup = Setup(recipe, task, torch.device("cpu"))
    model = setup.network._build(3)
    model.load_state_dict({name: last.evaluated[name] for name in model.state_dict()})
    order = torch.from_numpy(generator(3, "recalibrate", 0).permutation(65))
    update_bn([x[part] for part in order[:64].split(16)], model)
    for name, tensor in model.state_dict().items():
        if "running" in name:
            assert torch.allclose(last.evaluated[name], tensor, rtol=1e-5, atol=1e-7)
