"""One run by itself has the bits it has in a stack."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from algobias import Task
from algobias.levers.step import State
from algobias.training.engine.alone import SMALL, Alone, twice, twins_of
from algobias.training.engine.layouts import layout_of, state_of
from algobias.training.loop import train
from algobias.training.setup import Setup
from algobias.trees import map_trees


def numbers(n: int, seed: int, outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, 8, generator=draw), torch.randn(n, outputs, generator=draw)


def squared(model, batch):
    x, y = batch
    return ((model(x) - y) ** 2).mean()


def absolute(model, batch):
    x, y = batch
    return -(model(x) - y).abs().mean(1)


def regression(outputs: int, width: int, optimizer: str) -> Task:
    return Task(
        name="regression",
        train=numbers(200, 0, outputs),
        test=numbers(96, 1, outputs),
        model=lambda: nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, outputs)),
        loss=squared,
        metric=absolute,
        recipe={"optimizer": optimizer, "lr": 0.003, "batch": 20, "updates": 30},
    )


@pytest.mark.parametrize(("outputs", "width"), [(1, 64), (2, 64), (1, 512), (1, 2400)])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_run_alone_is_the_run_in_a_stack(outputs: int, width: int, optimizer: str) -> None:
    """One output: products of a single matrix are rounded in another order than those of several."""
    task = regression(outputs, width, optimizer)
    recipe = task.recipe()
    alone = train(recipe, task, [4])[0].curve
    for seeds in ([3, 4, 5], [4, 9]):
        stacked = next(run for run in train(recipe, task, seeds) if run.seed == 4).curve
        assert np.array_equal(alone.train_loss, stacked.train_loss)
        assert np.array_equal(alone.test_metric, stacked.test_metric)


def state(width: int) -> State:
    model = nn.Linear(width, 1)
    one = state_of(model, layout_of(model))
    return State(one.params[None], {}, one.layout)


@pytest.mark.parametrize("same", [True, False])
def test_a_large_network_is_computed_twice_only_where_that_gives_other_bits(same: bool) -> None:
    asked: list[str] = []

    def alone() -> torch.Tensor:
        asked.append("alone")
        return torch.ones(1, 3) if same else torch.zeros(1, 3)

    def of_two() -> torch.Tensor:
        asked.append("two")
        return torch.ones(2, 3)

    choose, run = Alone(), state(SMALL)
    for _ in range(3):
        assert torch.equal(choose("shape", run, alone, of_two), torch.ones(1, 3))
    assert asked == ["two", "alone", *(["alone", "alone"] if same else ["two", "two"])]


def test_a_small_network_is_always_one_of_two() -> None:
    assert torch.equal(
        Alone()("shape", state(8), lambda: pytest.fail("alone"), lambda: torch.ones(2)), torch.ones(1)
    )


def test_twins_have_everything_twice() -> None:
    run = state(8)
    pair = twins_of(run)
    assert torch.equal(pair.params[0], pair.params[1])
    assert pair.params.shape == (2, 9)
    assert map_trees(twice, {"x": torch.zeros(1, 5), "k": torch.tensor(3.0)})["x"].shape == (2, 5)


def test_the_cost_of_a_run_alone_is_that_of_one_run() -> None:
    task = regression(1, 64, "sgd")
    recipe = task.recipe()
    parameters, batch = 8 * 64 + 64 + 64 + 1, recipe.batch
    cost = Setup(recipe, task, torch.device("cpu")).step_cost()
    products = 8 * 64 + 64  # multiply-adds of one forward pass of one example
    assert cost.flops_per_gradient == pytest.approx(2 * (products + products + 64), rel=1e-6)
    assert cost.peak_memory < 4 * (2 * parameters + parameters + 3 * batch * (8 + 64 + 64 + 1 + 1))
