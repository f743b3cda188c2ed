"""Ghost batch normalisation: chunk statistics, running statistics, conversion of a model."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from algobias.levers.registry import parse
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.before.checks import activity_check
from algobias.training.loop import train


class Activated(nn.BatchNorm1d):
    """A normalisation with an activation behind it, as model libraries have them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(super().forward(x)) + 0.5


def test_a_lever_trains_such_a_network_as_with_a_layer_of_its_own() -> None:
    x, y = torch.randn(64, 3), torch.randint(2, (64,))
    losses = []
    for norm in (lambda: [Activated(4)], lambda: [nn.BatchNorm1d(4), nn.ReLU(), Half()]):
        task = Task(
            "net",
            (x, y),
            (x, y),
            lambda norm=norm: nn.Sequential(nn.Linear(3, 4), *norm(), nn.Linear(4, 2)),
            lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
            lambda model, batch: (model(batch[0]).argmax(-1) == batch[1]).float(),
            {"lr": 0.1, "batch": 32, "updates": 5},
            trivial=0.0,
        )
        (run,) = train(parse("ghost_norm:8").apply(task.recipe()), task, (0,))
        losses.append(run.curve.train_loss)
    np.testing.assert_allclose(*losses, rtol=1e-6)


class Half(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.5


def test_without_batch_norm_the_activity_check_says_so() -> None:
    task = load_task("digits")
    baseline = task.recipe()
    assert not activity_check(baseline, parse("ghost_norm:4").apply(baseline), task).active
