"""What an audit may cost, before anything is trained (``--plan``)."""

from __future__ import annotations

import time
from typing import Any

import torch

from algobias.recipe import Recipe
from algobias.study.arms import NOISE_SEEDS, Arms
from algobias.study.processes import available_cores
from algobias.study.result import SCHEMA
from algobias.training.device import exact_arithmetic, one_thread, wait_for
from algobias.training.loop import Setup
from algobias.training.network import own_randomness

EXTENSION = 8.0
SHORTER = 0.875
"""Full-schedule runs at 1/8, 1/4 and 1/2 together, as a multiple of one planned run."""
LONGER = 15.0
"""Full-schedule runs at 1, 2, 4 and 8 together."""

KEPT_WEIGHTS = 16
"""Moments at which weights are kept: the training loss halves about so often, plus the ends."""


def forecast(arms: Arms, workers: int | None = None) -> dict[str, Any]:
    """Arms, seeds, worst-case updates, time and disk of a study.

    Time per update is measured on a few gradient evaluations of each arm, one run alone; stacked seeds are
    faster, so the time is an upper bound on an idle machine. Nothing is trained or stored.
    """
    spec = arms.spec
    seeds = spec.looks[-1]
    workers = workers or available_cores()
    decays = any(recipe.schedule.decays for recipe in arms.recipes.values())
    rows: list[dict[str, Any]] = []
    for name, recipe in arms.recipes.items():
        factor = _factor(name, decays)
        updates = recipe.planned_updates
        seconds, size, stacked = _measure(arms, recipe)
        rows.append(
            {
                "name": name,
                "seeds": seeds,
                "updates": updates,
                "worst_case_updates": round(updates * factor),
                "seconds_per_update": seconds,
                "stacked": stacked,
                "worst_case_seconds": seconds * updates * factor * seeds / workers,
                "worst_case_bytes": seeds * size * (KEPT_WEIGHTS + 2),
            }
        )
    if spec.tolerance is None:
        first = rows[0]
        seconds = first["seconds_per_update"] * first["updates"] * NOISE_SEEDS / workers
        noise = {"name": "noise", "seeds": NOISE_SEEDS, "worst_case_updates": first["updates"]}
        rows.append({**first, **noise, "worst_case_seconds": seconds})
    return {
        "schema": SCHEMA,
        "task": arms.recipes["baseline"].task,
        "change": list(spec.change),
        "looks": list(spec.looks),
        "first_look_seeds": spec.looks[0],
        "workers": workers,
        "arms": rows,
        "worst_case_updates": sum(row["worst_case_updates"] * row["seeds"] for row in rows),
        "worst_case_seconds": sum(row["worst_case_seconds"] for row in rows),
        "worst_case_bytes": sum(row["worst_case_bytes"] for row in rows),
    }


def _factor(name: str, decays: bool) -> float:
    """How much longer than planned the runs of an arm can be together."""
    if name == "rate_only":
        return 1.0
    if decays:
        return (1 + SHORTER) if name.startswith("baseline") else (LONGER + SHORTER)
    return 1.0 if name == "baseline" else EXTENSION


def _measure(arms: Arms, recipe: Recipe) -> tuple[float, int, bool]:
    """Seconds of one update of one run, bytes of its weights, and whether seeds are stacked."""
    setup = Setup(recipe, arms.task, torch.device(arms.spec.device))
    with one_thread():
        return _timed(setup, arms.spec.seed)


def _timed(setup: Setup, seed: int) -> tuple[float, int, bool]:
    with own_randomness(), exact_arithmetic(setup.network.device):
        state = setup.initial((seed,))
        memory = setup.transform.init(state)
        times = []
        for update in range(6):
            started = time.perf_counter()
            batch, key = setup.sampler(update, (seed,))
            grads, after = setup.grad(state, batch, key)
            setup.transform.update(grads, memory, after)
            wait_for(setup.network.device)
            times.append(time.perf_counter() - started)
    size = state.params.nbytes + sum(buffer.nbytes for buffer in state.buffers.values())
    # The first is slower than the rest; the median of the others is what an update takes.
    return sorted(times[1:])[2], size, setup.network.stacked
