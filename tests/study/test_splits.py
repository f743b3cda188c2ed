"""A loss that is no plain mean, computed in pieces: the audit says that they do not add up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import algobias
from algobias.levers.registry import parse_many
from algobias.tasks.task import Task
from algobias.training.before.splits import split_doubt

WEIGHT = torch.tensor([1.0, 4.0, 2.0])


def mean(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


def by_class(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1], weight=WEIGHT)


def summed(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1], reduction="sum") / 6


def unlabelled(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1], ignore_index=0)


def task(loss: Any, weight: Any = None) -> Task:
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(120, 4, generator=drawn)
    y = torch.randint(3, (120,), generator=drawn)
    return Task(
        "drawn",
        (x[:60], y[:60]),
        (x[60:], y[60:]),
        lambda: nn.Linear(4, 3),
        loss,
        lambda model, batch: 100.0 * (model(batch[0]).argmax(-1) == batch[1]),
        {"lr": 0.1, "batch": 6, "updates": 20},
        trivial=33.3,
        classes=3,
        weight=weight,
    )


def doubt(made: Task, levers: str) -> str | None:
    recipe = made.recipe()
    for lever in parse_many(levers):
        recipe = lever.apply(recipe)
    return split_doubt(recipe, made)


@pytest.mark.parametrize("lever", ["accumulate:3", "workers:3"])
def test_what_pieces_of_a_batch_add_up_to(lever: str) -> None:
    name = lever.partition(":")[0]
    assert doubt(task(mean), lever) is None
    assert doubt(task(by_class), "lr:x2") is None
    found = doubt(task(by_class), lever)
    assert found is not None
    assert found.startswith(f"{name}: pieces of a batch do not add up")
    assert "class weights" in found
    assert "is a sum" in str(doubt(task(summed), lever))
    assert "give the task a weight" in str(doubt(task(unlabelled), lever))
    assert doubt(task(by_class, lambda batch: WEIGHT[batch[1]]), lever) is None
    assert doubt(task(unlabelled, lambda batch: (batch[1] != 0).float()), lever) is None


def test_the_audit_says_so(tmp_path: Path) -> None:
    asked = {"tolerance": 5.0, "looks": 2, "probes": "none", "store": tmp_path}
    warned = algobias.audit(task(by_class), "accumulate:3", **asked).result["warnings"]
    assert sum("variant: accumulate: pieces of a batch" in text for text in warned) == 1
    plain = algobias.audit(task(mean), "accumulate:3", **asked).result["warnings"]
    assert not any("pieces of a batch" in text for text in plain)
