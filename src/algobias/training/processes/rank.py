"""One process of a distributed run: its updates, the checks that all take part in, its snapshots."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from algobias.levers.step import Layout
from algobias.recipe import Recipe
from algobias.runs.observer import Interrupted, Observer, Snapshot
from algobias.runs.outcome import Outcome
from algobias.seeding.states import own_randomness
from algobias.tasks.task import Task
from algobias.training.before.sums import require_mean
from algobias.training.before.trivial import trivial_metrics
from algobias.training.checkpoints import load_snapshot, save_snapshot
from algobias.training.device import exact_arithmetic
from algobias.training.memory import pack, unpack
from algobias.training.processes.strategies import KINDS, Parallel, put_back, state_and_memory
from algobias.training.records import Record, check, outcome_of
from algobias.training.setup import Setup

JOINING = {"synchronous": "workers", "local": "local_sgd"}
"""Parts whose workers each have a piece of the batch, by how they share out the work."""

SNAPSHOT_SECONDS = 10.0

GOING, SAVE, STOP = 0, 1, 2

ENDED = 0
"""Instead of the update at which a run ends at the latest, which is never 0."""


def train_rank(
    recipe: Recipe,
    task: Task,
    seed: int,
    parallel: Parallel,
    *,
    device: str = "cpu",
    folder: Path | None = None,
    observers: Sequence[Observer] = (),
    should_stop: Callable[[], bool] = lambda: False,
    snapshot_seconds: float = SNAPSHOT_SECONDS,
    sent: Callable[[Layout, int], float] = lambda layout, updates: 0.0,
) -> Outcome:
    """Train one seed as one of several processes; every process calls this and gets the same outcome.

    The process group must have been initialised. Evaluation is done by every process on the common network;
    when the run ends is what process 0 finds, so that all end at the same update also where their arithmetic
    differs. Observers are those of process 0 only.

    Args:
        recipe: Without the part that shares out the work.
        task: Where data, network, loss and metric come from.
        seed: Seed of the run.
        parallel: How the work is shared out.
        device: Where this process's tensors live.
        folder: Where each process keeps its snapshots; a run that was cut off goes on from there.
        observers: Told of checks and weights.
        should_stop: Process 0 asks it at every check.
        snapshot_seconds: At least so long from one snapshot to the next.
        sent: (layout, updates) -> bytes that one worker sends in them.

    Raises:
        BadInput: The recipe is impossible for the task.
        Interrupted: ``should_stop`` said so; snapshots are stored.
    """
    setup = Setup(recipe.edit(engine="looped"), task, torch.device(device))
    if parallel.kind != "server" and parallel.workers > 1:
        require_mean([JOINING[parallel.kind]], setup.network)
    address = recipe.address(f"{parallel}")
    with own_randomness(), exact_arithmetic(setup.network.device):
        strategy = KINDS[parallel.kind](setup, parallel, seed, setup.initial((seed,)))
        record = Record(seed)
        update = 0
        found = _latest(folder, address, seed)
        if found is None:
            record.trivial = trivial_metrics(setup, strategy.state)[0]
        else:
            update = found.update
            record.restore(found)
            put_back(strategy, *unpack([found], *state_and_memory(strategy), stacked=False))
        step_cost = setup.step_cost()
        clock = saved = time.perf_counter()
        while (last := _decided(setup.horizon.next_stop(record.checks) or ENDED)) != ENDED:
            before = setup.network.gradients
            setup.network.left_out = 0
            while True:
                strategy.step(update)
                update += 1
                if update in setup.horizon.checks or update >= last:
                    break
            now = time.perf_counter()
            made = torch.tensor(float(setup.network.gradients - before - setup.network.left_out))
            dist.all_reduce(made)
            record.gradients += int(made)
            record.seconds += now - clock
            clock = now
            check(setup, [record], update, setup.evaluated(strategy.averaged(), (seed,)), observers)
            save = folder is not None and now - saved > snapshot_seconds
            order = _decided(STOP if should_stop() else SAVE if save else GOING)
            if order != GOING and folder is not None:
                tensors, numbers = pack(*state_and_memory(strategy))
                if record.per_example is not None:
                    tensors["per_example"] = record.per_example
                snapshot = Snapshot(update, tensors, {**numbers, **record.numbers()}, tuple(record.checks))
                _save(folder, snapshot, address, seed)
                saved = time.perf_counter()
            if order == STOP:
                raise Interrupted
    outcome = outcome_of(setup, step_cost, record)
    bytes_sent = sent(setup.network.layout, update)
    return replace(outcome, cost=replace(outcome.cost, bytes_sent=bytes_sent))


def _decided(found: int) -> int:
    """What process 0 has found, known to all."""
    told = torch.tensor([found])
    dist.broadcast(told, src=0)
    return int(told)


def _path(folder: Path, rank: int, update: int) -> Path:
    return folder / f"process{rank}-{update}.safetensors"


def _save(folder: Path, snapshot: Snapshot, address: str, seed: int) -> None:
    """Every process its own file; the ones before go only once all have written theirs."""
    rank = dist.get_rank()
    save_snapshot(_path(folder, rank, snapshot.update), snapshot, address=address, seed=seed)
    dist.barrier()
    for old in folder.glob(f"process{rank}-*.safetensors"):
        if old != _path(folder, rank, snapshot.update):
            old.unlink(missing_ok=True)


def _latest(folder: Path | None, address: str, seed: int) -> Snapshot | None:
    """This process's part of the latest point that every process has."""
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    count = dist.get_world_size()
    names = [{path.name for path in folder.glob(f"process{rank}-*.safetensors")} for rank in range(count)]
    updates = [{int(name.partition("-")[2].partition(".")[0]) for name in each} for each in names]
    common = set.intersection(*updates)
    dist.barrier()  # nobody removes a file before all have looked
    if not common:
        return None
    return load_snapshot(_path(folder, dist.get_rank(), max(common)), address=address, seed=seed)
