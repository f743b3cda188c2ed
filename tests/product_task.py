"""A small task as a user writes it, in a file: the sign of a product, too few updates for a cheaper run."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from algobias import Task

made = torch.Generator().manual_seed(0)
x = torch.randn(300, 6, generator=made)
y = (x[:, 0] * x[:, 1] > 0).long()


def net() -> nn.Module:
    """A small ReLU network."""
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Cross-entropy."""
    return cross_entropy(model(batch[0]), batch[1])


def metric(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Accuracy of each example."""
    return 100.0 * (model(batch[0]).argmax(-1) == batch[1])


task = Task(
    "product",
    (x[:80], y[:80]),
    (x[80:], y[80:]),
    net,
    loss,
    metric,
    {"lr": 0.3, "batch": 10, "updates": 120},
    trivial=50.0,
)
