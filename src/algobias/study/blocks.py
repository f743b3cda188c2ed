"""What is to be trained, and how it is shared out over processes. Pure data, no processes here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import Literal

from algobias.recipe import Recipe
from algobias.training.horizon import Horizon

OVERHEAD_SEEDS = 7.0
"""A stacked update costs about as much as ``7 + seeds`` units: fitted to the measured throughputs of a small
MLP, 843, 1390, 2462, 3244, 5150 seed-updates per second at 1, 2, 4, 8, 20 stacked seeds."""


@dataclass(frozen=True)
class Job:
    """Runs of one recipe.

    Attributes:
        arm: The arm it is for, as it is shown.
        recipe: What to train.
        task: The task as on the command line.
        address: Address of the recipe's runs in the store.
        seeds: One run for each.
        parent: Address of the same recipe without extension, whose runs can be gone on with.
        device: A torch device.
        stacked: Whether the seeds of one process are stacked (else one after the other, and dividing them
            over more processes costs nothing).
        fingerprint: Where given, the task must still have this fingerprint when it is trained.
    """

    arm: str
    recipe: Recipe
    task: str
    address: str
    seeds: tuple[int, ...]
    parent: str | None = None
    device: str = "cpu"
    stacked: bool = True
    fingerprint: str | None = None


@dataclass(frozen=True)
class Block:
    """Some seeds of one job, trained together in one process."""

    job: Job
    seeds: tuple[int, ...]

    @property
    def device(self) -> str:
        """Where it is trained."""
        return self.job.device

    @property
    def cost(self) -> float:
        """Relative time: updates times the cost of one update of so many seeds."""
        seeds = len(self.seeds)
        each = OVERHEAD_SEEDS + seeds if self.job.stacked else (OVERHEAD_SEEDS + 1) * seeds
        return Horizon(self.job.recipe).latest * each

    def __str__(self) -> str:
        seeds = ", ".join(map(str, self.seeds))
        return f"{self.job.arm}, seed{'s' if len(self.seeds) > 1 else ''} {seeds}"


@dataclass(frozen=True)
class Event:
    """What happens to a run.

    Attributes:
        kind: ``progress`` (a check), ``resumed`` (from a snapshot), ``waiting`` (another process trains it),
            ``finished`` (its outcome is in the store, perhaps from earlier), ``measured`` (readings of one of
            its moments are).
        arm: The job's arm.
        seed: The run's seed.
        update: Updates made.
        total: Updates after which the run ends at the latest.
        train_loss: At the last check, if known.
        test_metric: At the last check, if known; when finished, at the planned end.
    """

    kind: Literal["progress", "resumed", "waiting", "finished", "measured"]
    arm: str
    seed: int
    update: int
    total: int
    train_loss: float | None = None
    test_metric: float | None = None


def share_out(jobs: Sequence[Job], workers: int) -> list[Block]:
    """Divide jobs into blocks so that all processes together are done soonest; longest blocks first.

    Dividing a job uses more processes but loses the speed of stacking, so each job starts whole and is
    divided only where that shortens the estimated schedule. Results do not depend on the division. A job
    on an accelerator stays whole.

    Args:
        jobs: With the seeds that are still missing.
        workers: Number of processes.
    """
    jobs = [job for job in jobs if job.seeds]
    parts = [1] * len(jobs)
    choices = [_choices(job, workers) for job in jobs]
    best = _loads(jobs, parts, workers)
    improved = True
    while improved:
        improved = False
        for place, choice in enumerate(choices):
            for count in choice:
                tried = [*parts[:place], count, *parts[place + 1 :]]
                loads = _loads(jobs, tried, workers)
                if loads < best:
                    best, parts, improved = loads, tried, True
    blocks = [block for job, count in zip(jobs, parts, strict=True) for block in _divide(job, count)]
    return sorted(blocks, key=lambda block: -block.cost)


def _choices(job: Job, workers: int) -> list[int]:
    """Numbers of blocks worth trying: the smallest for each size of the largest block."""
    if job.device.partition(":")[0] != "cpu":
        return [1]
    seeds = len(job.seeds)
    most = seeds if not job.stacked else min(seeds, workers)
    sizes = {math.ceil(seeds / count) for count in range(1, most + 1)}
    return sorted(math.ceil(seeds / size) for size in sizes)


def _divide(job: Job, count: int) -> list[Block]:
    """Consecutive seeds in ``count`` blocks whose sizes differ by at most one."""
    size, larger = divmod(len(job.seeds), count)
    blocks, start = [], 0
    for place in range(count):
        end = start + size + (place < larger)
        blocks.append(Block(job, job.seeds[start:end]))
        start = end
    return blocks


def _loads(jobs: Sequence[Job], parts: Sequence[int], workers: int) -> list[float]:
    """Load of each process, largest first, when the next longest block goes to the least loaded one."""
    costs = [block.cost for job, count in zip(jobs, parts, strict=True) for block in _divide(job, count)]
    loads = [0.0] * workers
    heapify(loads)
    for cost in sorted(costs, reverse=True):
        heapreplace(loads, loads[0] + cost)
    return sorted(loads, reverse=True)
