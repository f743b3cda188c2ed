"""Random numbers inside of a network: a function of seed, update, pass and worker, and of nothing else."""

# ruff: noqa: NPY002 (the legacy generator is what networks draw from)

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from algobias.errors import BadInput
from algobias.levers.registry import parse_many
from algobias.seeding.states import own_randomness, reseed
from algobias.tasks.task import Task
from algobias.training.before.soundness import check_network
from algobias.training.loop import train
from algobias.training.setup import Setup

CPU = torch.device("cpu")
drawn: list[tuple[float, float, float]] = []


class Drawing(nn.Module):
    """Draws from all three global generators in train mode, and keeps what it has drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        numbers = random.random(), float(np.random.rand()), float(torch.rand(()))
        if self.training:
            drawn.append(numbers)
        return self.a(x) * (1 + sum(numbers))


class Jittered(nn.Module):
    """Python's own generator, in training and in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) * (1 + random.random())


class Numpy(Jittered):
    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) * (1 + float(np.random.rand()))


def task_of(model: Any) -> Task:
    made = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 6, generator=made), torch.randint(3, (64,), generator=made)

    def loss(model: Any, batch: Any) -> Tensor:
        return functional.cross_entropy(model(batch[0]), batch[1])

    def metric(model: Any, batch: Any) -> Tensor:
        return (model(batch[0]).argmax(-1) == batch[1]).double()

    words = {"optimizer": "sgd", "lr": 0.05, "batch": 16, "epochs": 2}
    return Task("random", (x, y), (x, y), model, loss, metric, words, trivial=33.0)


def draws(levers: str, update: int = 3) -> list[tuple[float, float, float]]:
    """What the passes of one update draw."""
    task, recipe = task_of(Drawing), task_of(Drawing).recipe()
    for lever in parse_many(levers) if levers else ():
        recipe = lever.apply(recipe)
    setup = Setup(recipe, task, CPU)
    state = setup.initial((5,))
    batch, key = setup.sampler(update, (5,))
    point = setup.transform.at(state, setup.transform.init(state), key)
    drawn.clear()
    with own_randomness():
        setup.grad(point, batch, key)
    return list(drawn)


def stream_of_today() -> tuple[float, float, float]:
    with own_randomness():
        reseed(5, "model", 3)
        return random.random(), float(np.random.rand()), float(torch.rand(()))


@pytest.mark.parametrize(
    ("levers", "passes"),
    [
        ("workers:4", 4),
        ("accumulate:4", 4),
        ("local_sgd:4,workers=4", 4),
        ("gradient_noise:4,kind=additive,chunks=4", 4),
        ("accumulate:2+workers:2", 4),
        ("accumulate:2+local_sgd:4,workers=4", 8),
    ],
)
def test_every_pass_of_every_worker_draws_its_own(levers, passes):
    found = draws(levers)
    assert len(found) == passes
    for place in range(3):
        assert len({numbers[place] for numbers in found}) == passes
    assert found[0] == stream_of_today()


def test_a_single_pass_and_both_passes_of_sam_draw_the_same():
    assert draws("") == [stream_of_today()]
    assert draws("sam:0.1") == [stream_of_today()] * 2


def test_the_passes_of_sam_share_the_draws_of_each_worker():
    found = draws("workers:2+sam:0.1")
    assert found[:2] == found[2:]
    assert found[0] != found[1]


@pytest.mark.parametrize("model", [Jittered, Numpy])
def test_a_network_that_draws_outside_of_torch_is_looped_and_depends_on_nothing_else(model):
    task = task_of(model)
    recipe = task.recipe()
    assert not Setup(recipe, task, CPU).network.stacked
    check_network(recipe, task)
    random.seed(1), np.random.seed(1)
    together = train(recipe, task, [0, 1])
    random.seed(2), np.random.seed(2)
    random.random()
    alone = train(recipe, task, [1])[0]
    assert np.array_equal(together[1].curve.train_loss, alone.curve.train_loss)
    assert np.array_equal(together[1].per_example, alone.per_example)


def test_a_run_puts_random_states_back():
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    expected = random.random(), np.random.rand(), float(torch.rand(()))
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    train(task_of(Jittered).recipe(), task_of(Jittered), [0])
    assert (random.random(), np.random.rand(), float(torch.rand(()))) == expected


def test_it_is_refused_where_stacking_is_asked_for():
    task = task_of(Jittered)
    with pytest.raises(BadInput, match=r"engine: .*stacked"):
        check_network(task.recipe().edit(engine="stacked"), task)


class OwnGenerator(Jittered):
    """A generator of its own, which goes on from run to run."""

    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) * (1 + self.random.random())


@pytest.mark.parametrize("engine", ["auto", "looped"])
def test_a_generator_of_the_networks_own_is_refused(engine):
    task = task_of(OwnGenerator)
    with pytest.raises(BadInput, match="a random generator of its own"):
        check_network(task.recipe().edit(engine=engine), task)
