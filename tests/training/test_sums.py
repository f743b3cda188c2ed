"""A loss that is a sum over the batch: what takes batches in pieces is refused, nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

import algobias
from algobias.errors import BadInput
from algobias.levers.registry import parse_many
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.before.soundness import check_parts
from algobias.training.before.sums import is_sum
from algobias.training.loop import train
from algobias.training.processes.rank import train_rank
from algobias.training.processes.strategies import Parallel
from algobias.training.setup import Setup

DRAWN = torch.Generator().manual_seed(0)
X, Y = torch.randn(80, 6, generator=DRAWN), torch.randint(3, (80,), generator=DRAWN)


def mean(model: Any, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


def total(model: Any, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1], reduction="sum")


def total_over_eight(model: Any, batch: Any) -> Tensor:
    return total(model, batch) / 8


def squares(model: Any) -> Tensor:
    return torch.stack([p.square().sum() for p in model.parameters()]).sum()


def total_and_penalty(model: Any, batch: Any) -> Tensor:
    return total(model, batch) + squares(model)


def mean_and_penalty(model: Any, batch: Any) -> Tensor:
    return mean(model, batch) + squares(model)


def by_class(model: Any, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1], weight=torch.tensor([1.0, 4.0, 2.0]))


def comparing(model: Any, batch: Any) -> Tensor:
    out = normalize(model(batch[0]), dim=-1)
    return cross_entropy(out @ out.T, torch.arange(len(out)))


def task(loss: Any) -> Task:
    return Task(
        "made",
        (X[:40], Y[:40]),
        (X[40:], Y[40:]),
        lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)),
        loss,
        lambda model, batch: 100.0 * (model(batch[0]).argmax(-1) == batch[1]),
        {"lr": 0.01, "batch": 8, "updates": 6},
    )


def made(loss: Any, levers: str = "") -> tuple[Any, Task]:
    it = task(loss)
    recipe = it.recipe()
    for lever in parse_many(levers) if levers else ():
        recipe = lever.apply(recipe)
    return recipe, it


SUMS = [total, total_over_eight, total_and_penalty]
MEANS = [mean, mean_and_penalty, by_class, comparing]
PIECES = [
    "accumulate:4",
    "workers:4",
    "local_sgd:1,workers=4",
    "compress:sign,workers=2",
    "drop_compute:p=0.5",
    "gradient_noise:2,kind=additive",
]
WHOLE = [
    "accumulate:1",
    "workers:1",
    "workers:4,norm=synchronous",
    "compress:sign",
    "drop_compute:p=0",
    "gradient_noise:2",
    "batch:x2",
    "",
]


@pytest.mark.parametrize("loss", [*SUMS, *MEANS])
def test_a_sum_is_told_from_a_mean(loss: Any) -> None:
    recipe, it = made(loss)
    assert is_sum(Setup(recipe, it, torch.device("cpu")).network) == (loss in SUMS)


WANTED = "ALGOBIAS_DATA is not set: no sentences to read"
DATA = pytest.mark.skipif(not os.environ.get("ALGOBIAS_DATA"), reason=WANTED)


@pytest.mark.parametrize("name", ["digits", pytest.param("polarity", marks=[pytest.mark.data, DATA])])
def test_tasks_of_the_library_are_means(name: str) -> None:
    it = load_task(name)
    recipe = it.recipe().edit(engine="looped")
    assert not is_sum(Setup(recipe, it, torch.device("cpu")).network)


@pytest.mark.parametrize("levers", PIECES)
def test_pieces_of_a_sum_are_refused_by_the_name_of_the_lever(levers: str) -> None:
    for loss in SUMS:
        recipe, it = made(loss, levers)
        for asked in (check_parts, lambda *given: train(*given, [0])):
            with pytest.raises(BadInput, match=r"the loss of a batch is a sum .*at 8 times the rate") as told:
                asked(recipe, it)
            assert told.value.field == levers.partition(":")[0]
    for loss in MEANS:
        check_parts(*made(loss, levers))


@pytest.mark.parametrize("levers", WHOLE)
def test_what_takes_a_batch_as_a_whole_goes_with_a_sum(levers: str) -> None:
    for loss in SUMS:
        recipe, it = made(loss, levers)
        check_parts(recipe, it)
        Setup(recipe, it, torch.device("cpu"))


@pytest.mark.parametrize(("kind", "name"), [("synchronous", "workers"), ("local", "local_sgd")])
def test_real_processes_refuse_it_too(kind: str, name: str) -> None:
    recipe, it = made(total)
    with pytest.raises(BadInput, match=f"{name}: .*is a sum"):
        train_rank(recipe, it, 0, Parallel(kind, 2))


def test_at_the_batch_size_times_the_rate_the_mean_trains_as_the_sum_does() -> None:
    """What the refusal advises."""
    recipe, it = made(total)
    summed = train(recipe, it, [0])[0].curve.test_metric
    recipe, it = made(mean)
    meant = train(recipe.edit(optimizer__lr=0.08), it, [0])[0].curve.test_metric
    assert list(meant) == pytest.approx(list(summed))


def test_the_audit_says_what_a_sum_means(tmp_path: Path) -> None:
    asked = {"tolerance": 50.0, "looks": 2, "probes": "none", "store": tmp_path}
    warned = algobias.audit(task(total), "lr:x0.5", **asked).result["warnings"]
    assert sum("the loss of a batch is a sum" in text for text in warned) == 1
    plain = algobias.audit(task(mean), "lr:x0.5", **asked).result["warnings"]
    assert not any("is a sum" in text for text in plain)
    with pytest.raises(BadInput, match=r"workers: .*is a sum"):
        algobias.audit(task(total), "workers:4", **asked)
