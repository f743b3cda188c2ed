"""Real processes against the simulation where more than gradients matters: buffers, weights, other parts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from algobias.components.drop_compute import DropCompute
from algobias.errors import BadInput
from algobias.levers.registry import parse_many
from algobias.recipe import Origin, Recipe
from algobias.running.distributed.__main__ import backend
from algobias.running.distributed.launch import local_only
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.loop import train
from algobias.training.processes.parts import divided
from algobias.training.processes.rank import _decided, train_rank
from real_processes import start
from wide_tests import wide

ROUNDING = 2e-5
"""What docs/parallel.md promises at every check."""


def conv() -> nn.Module:
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
    return nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *layers)


def normalised() -> Task:
    """Digits through a network with running statistics."""
    digits = load_task("digits")
    (x, y), (z, t) = digits.train.data, digits.test.data  # type: ignore[attr-defined]
    words = {"lr": 0.02, "momentum": 0.0, "batch": 16, "updates": 24}
    test = z[:200], t[:200]
    return Task("normalised", (x, y), test, conv, classification_loss, accuracy, words)


def tokens() -> Task:
    """Examples of 1 to 5 tokens, which count as many times."""
    made_up = torch.Generator().manual_seed(0)
    x, y = torch.randn(32, 5, 3, generator=made_up), torch.randint(0, 4, (32, 5), generator=made_up)
    y[torch.arange(5)[None] >= torch.randint(1, 6, (32, 1), generator=made_up)] = -1

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten(), ignore_index=-1)

    def metric(model: nn.Module, batch: Any) -> torch.Tensor:
        return model(batch[0]).sum((1, 2))

    def weight(batch: Any) -> torch.Tensor:
        return (batch[1] != -1).sum(-1).float()

    words = {"lr": 0.3, "batch": 16, "updates": 8}
    return Task(
        "tokens", (x, y), (x, y), lambda: nn.Linear(3, 4), loss, metric, words, weight=weight, trivial=0.0
    )


def dropped() -> Task:
    """Digits through a network that draws a mask in every forward pass."""
    task = normalised()
    task.model = lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))
    return task


TASKS = {"normalised": normalised, "tokens": tokens, "dropped": dropped}


def recipe(task: str, levers: str) -> Recipe:
    made = TASKS[task]().recipe().edit(engine="looped")
    for lever in parse_many(levers):
        made = lever.apply(made)
    return made


def process(rank: int, count: int, task: str, cases: list[str], folder: str, carried: str) -> None:
    torch.set_num_threads(1)
    os.environ |= local_only()
    meeting = f"file://{Path(folder) / 'meeting'}"
    dist.init_process_group(carried, init_method=meeting, rank=rank, world_size=count)
    found = []
    for levers in cases:
        outcome = train_rank(*_asked(recipe(task, levers), TASKS[task]()))
        found.append({"update": outcome.curve.update.tolist(), "loss": outcome.curve.train_loss.tolist()})
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def _asked(made: Recipe, task: Task) -> tuple[Any, ...]:
    base, parallel = divided(made)
    return base, task, 3, parallel


def agree(task: str, count: int, cases: list[str], folder: Path, carried: str = "gloo") -> None:
    """Every process of every case has the simulation's checks, and its losses to rounding."""
    (folder / "meeting").unlink(missing_ok=True)
    arguments = (count, task, cases, str(folder), carried)
    start(process, arguments, count)
    told = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(count)]
    for number, levers in enumerate(cases):
        (simulated,) = train(recipe(task, levers), TASKS[task](), (3,))
        for rank, found in enumerate(told):
            said = f"{levers}, process {rank}"
            assert found[number]["update"] == simulated.curve.update.tolist(), said
            expected = simulated.curve.train_loss
            np.testing.assert_allclose(found[number]["loss"], expected, rtol=ROUNDING, err_msg=said)


@pytest.mark.parametrize("tau", [wide(0), wide(1), 2])
def test_a_server_keeps_running_statistics_and_ends_for_all_at_once(tmp_path: Path, tau: int) -> None:
    delay = f"delay:{tau},kind=workers"
    agree("normalised", tau + 2, [delay, f"{delay}+ema:0.5", f"budget:until=2.1+{delay}"], tmp_path)


def test_a_group_of_several_backends_changes_nothing(tmp_path: Path) -> None:
    """What a GPU needs, on a CPU: a backend for each kind of device."""
    assert backend(on_gpu=False) == "gloo"
    assert backend(on_gpu=True) == "cpu:gloo,cuda:nccl"
    agree("normalised", 3, ["delay:1,kind=workers"], tmp_path, carried="cpu:gloo")
    agree("normalised", 2, ["workers:2", "local_sgd:3,workers=2"], tmp_path, carried="cpu:gloo")


def test_masks_are_those_of_the_simulation(tmp_path: Path) -> None:
    """Of the common weights under ``workers``; of each worker's own between averages."""
    sparse = "sparsity:2:4,high=none,refresh=2"
    agree("normalised", 2, [f"{sparse}+workers:2", f"{sparse},transposable+local_sgd:3,workers=2"], tmp_path)


def test_orders_and_counts_are_carried_where_a_gpu_has_them(tmp_path: Path) -> None:
    """With the CPU half of what a GPU gets; with the other half alone, as before, orders are not carried."""
    carried = backend(on_gpu=True).split(",")[0]
    dist.init_process_group(carried, init_method=f"file://{tmp_path / 'one'}", rank=0, world_size=1)
    try:
        assert _decided(7) == 7
    finally:
        dist.destroy_process_group()
    dist.init_process_group("cuda:gloo", init_method=f"file://{tmp_path / 'two'}", rank=0, world_size=1)
    try:
        with pytest.raises(RuntimeError, match="No backend type associated with device type cpu"):
            _decided(7)
    finally:
        dist.destroy_process_group()


def test_counts_of_a_deadline_are_carried_where_the_gradients_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def sent(tensor: torch.Tensor, group: Any) -> None:
        raise RuntimeError(f"sent from {tensor.device.type}")

    monkeypatch.setattr(dist, "all_reduce", sent)
    weight = nn.Parameter(torch.ones(2, device="meta"))
    weight.grad = torch.ones(2, device="meta")
    with pytest.raises(RuntimeError, match="sent from meta"):
        DropCompute(1.0, group="theirs").scale([weight])


def test_workers_keep_running_statistics(tmp_path: Path) -> None:
    cases = ["workers:2", "local_sgd:3,workers=2", "local_sgd:3,workers=2,buffers=keep"]
    agree("normalised", 2, [*cases, "accumulate:2+workers:2", "workers:2+accumulate:2"], tmp_path)


@pytest.mark.wide
def test_the_outer_optimizer_and_a_reset_of_momentum(tmp_path: Path) -> None:
    momentum = "optimizer:momentum,momentum=0.9"
    cases = ["local_sgd:3,workers=2,momentum=reset", "local_sgd:3,workers=2,momentum=keep"]
    cases += ["local_sgd:3,workers=2,outer=nesterov", "ema:0.9+local_sgd:3,workers=2,outer=nesterov,post=6"]
    agree("normalised", 2, [f"{momentum}+{case}" for case in cases], tmp_path)


def test_uneven_tokens_count_as_in_the_simulation(tmp_path: Path) -> None:
    agree("tokens", 4, ["workers:4", "local_sgd:1,workers=4", "local_sgd:3,workers=4"], tmp_path)


@pytest.mark.wide
def test_other_parts_act_where_they_stand(tmp_path: Path) -> None:
    """Before the part that shares out the work in each worker, behind it on what workers found together."""
    noise = "gradient_noise:4,kind=additive,chunks=4"
    free = ["workers:2+sam:1", "sam:1+workers:2", f"workers:2+{noise}", f"{noise}+workers:2"]
    free += ["workers:2+clip:0.1", "workers:2+accumulate:2+sam:0.5,every=2+ema:0.9"]
    local = [f"local_sgd:3,workers=2+{part}" for part in ("sam:1", "clip:0.1", "ema:0.9", "recalibrate:2")]
    before = "sam:1", "clip:0.1", "ema:0.9", "accumulate:2", noise, "layerwise:lars,coefficient=0.1"
    local += [f"{part}+local_sgd:3,workers=2" for part in before]
    agree("normalised", 2, free + local, tmp_path)


@pytest.mark.wide
def test_other_parts_act_at_the_worker_or_the_server(tmp_path: Path) -> None:
    parts = "sam:1", "clip:0.1", "gradient_noise:4,kind=additive,chunks=4", "accumulate:2"
    agree("normalised", 3, [f"delay:1,kind=workers+{part}" for part in parts], tmp_path)


@pytest.mark.wide
def test_every_process_draws_the_masks_of_its_worker(tmp_path: Path) -> None:
    noise = "gradient_noise:4,kind=additive,chunks=4"
    cases = ["workers:2", "local_sgd:3,workers=2", "accumulate:2+workers:2", "workers:2+accumulate:2"]
    agree(
        "dropped",
        2,
        [*cases, f"{noise}+workers:2", "workers:2+sam:1", "accumulate:2+local_sgd:3,workers=2"],
        tmp_path,
    )
    (alone,) = train(recipe("dropped", "clip:1000"), dropped(), (3,))
    (shared,) = train(recipe("dropped", "workers:2"), dropped(), (3,))
    one, other = alone.curve.train_loss[1:], shared.curve.train_loss[1:]
    assert not np.allclose(one, other, rtol=10 * ROUNDING, atol=0), "masks of workers are not one mask"


@pytest.mark.parametrize(
    ("levers", "told"),
    [
        ("workers:2+compress:sign,workers=2", "workers with compress.*compress or workers, not both"),
        ("compress:sign,workers=2+workers:2", "workers with compress.*compress or workers, not both"),
        ("delay:1,kind=workers+compress:sign", "delay with compress.*compress or delay, not both"),
        ("local_sgd:3,workers=2,outer=nesterov+ema:0.9", "ema after local_sgd.*ema before local_sgd"),
    ],
)
def test_what_would_mean_something_else_is_refused(levers: str, told: str) -> None:
    made = recipe("normalised", levers)
    with pytest.raises(BadInput, match=told):
        divided(made)


def test_a_run_that_goes_on_from_another_is_refused() -> None:
    made = recipe("normalised", "workers:2")
    origin = Origin(recipe=made.edit(budget__cut=3), start=0)
    with pytest.raises(BadInput, match="a run from its own start"):
        divided(made.edit(origin=origin))
