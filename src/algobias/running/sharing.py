"""How jobs are shared out over processes. Pure: nothing is trained here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heapify, heapreplace

from algobias.running.job import Block, Job


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
