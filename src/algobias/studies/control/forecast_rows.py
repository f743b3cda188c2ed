"""How often each setting of a search is run at worst, as rows of a plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from algobias.running.costs import ArmCost
from algobias.studies.control.spec import ControlSpec


def search_costs(
    pairs: Sequence[ArmCost], proposed: Sequence[ArmCost], spec: ControlSpec, limits: int
) -> list[ArmCost]:
    """The settings with the seeds that each may get, dearest first: those stay longest at worst."""
    alive = [*pairs]
    rows: list[ArmCost] = []
    if spec.trials and proposed:
        dearest = max(proposed, key=lambda one: one.worst_case_seconds)
        half = math.ceil(spec.trials / 2)
        label = f"search: {spec.trials} settings that optuna proposes"
        rows.append(_seeded(replace(dearest, label=label), spec.rungs[0] * spec.trials, spec.rungs[-1]))
        alive += [replace(dearest, label=f"search: proposal {number + 1}") for number in range(half)]
    ranked = sorted(alive, key=lambda one: -one.worst_case_seconds)
    survivors = staying(len(ranked), len(spec.rungs), limits)
    for place, one in enumerate(ranked):
        last = max(rung for rung, count in enumerate(survivors) if place < count)
        rows.append(_seeded(one, spec.rungs[last], spec.rungs[-1]))
    return rows


def staying(settings: int, rungs: int, limits: int) -> Sequence[int]:
    """How many settings each rung has at most: half of those before under each limit together, and the
    tuned baseline's."""
    counts = [settings]
    for _ in range(rungs - 1):
        half = math.ceil(counts[-1] / 2)
        counts.append(min(counts[-1], limits * max(1, math.ceil(half / limits)) + 1))
    return counts


def _seeded(row: ArmCost, seeds: int, of: int) -> ArmCost:
    share = seeds / of
    seconds, size = row.worst_case_seconds * share, row.worst_case_bytes * share
    return replace(row, seeds=seeds, worst_case_seconds=seconds, worst_case_bytes=size)
