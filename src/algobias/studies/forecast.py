"""What an audit may cost, before anything is trained (``--plan``)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from algobias.answer.answer import SCHEMA
from algobias.coordinates.asked import along_training
from algobias.coordinates.moments import TRAJECTORY_MOMENTS, TRAJECTORY_SEEDS
from algobias.probes.measure import take
from algobias.probes.registry import parse_many
from algobias.running.arms import NOISE_SEEDS, Arms, spoken
from algobias.running.processes import available_cores
from algobias.running.spec import NO_PROBES
from algobias.running.timing import measure_update
from algobias.runs.arm_name import ArmName
from algobias.seeding.states import own_randomness
from algobias.training.device import exact_arithmetic, one_thread
from algobias.training.setup import Setup
from algobias.training.subjects import subject_of

EXTENSION = 8.0
SHORTER = 0.875
"""Full-schedule runs at 1/8, 1/4 and 1/2 together, as a multiple of one planned run."""
LONGER = 15.0
"""Full-schedule runs at 1, 2, 4 and 8 together."""

KEPT_WEIGHTS = 16
"""Moments at which weights are kept: the training loss halves about so often, plus the ends."""


def forecast(
    arms: Arms, workers: int | None = None, *, stored: Collection[str] = (), longer: bool = True
) -> dict[str, Any]:
    """Arms, seeds, worst-case updates, time and disk of a study.

    Time per update is measured on a few gradient evaluations of each arm, one run alone; stacked seeds are
    faster, so the time is an upper bound on an idle machine. Nothing is trained or stored.

    Args:
        arms: Recipes by arm.
        workers: Processes; None means one per core.
        stored: Arms whose planned runs are there: only what may come besides is counted.
        longer: Treated arms may be trained longer, or again with other lengths of their schedule.
    """
    spec = arms.spec
    workers = workers or available_cores()
    rows = [{**row, "name": spoken(row["name"], spec)} for row in arm_rows(arms, workers, stored, longer)]
    if spec.tolerance is None:
        first = rows[0]
        seconds = first["seconds_per_update"] * first["updates"] * NOISE_SEEDS / workers
        noise = {"name": "noise", "seeds": NOISE_SEEDS, "worst_case_updates": first["updates"]}
        rows.append({**first, **noise, "worst_case_seconds": seconds})
    readings = _readings(arms, rows, workers)
    return {
        "schema": SCHEMA,
        "task": arms.recipes["baseline"].task,
        "change": list(spec.change),
        "derivations": list(arms.derivations),
        "remarks": list(arms.remarks),
        "replaced": list(arms.replaced),
        "looks": list(spec.looks),
        "first_look_seeds": spec.looks[0],
        "workers": workers,
        "arms": rows,
        "worst_case_updates": sum(row["worst_case_updates"] * row["seeds"] for row in rows),
        "readings": readings,
        "worst_case_seconds": sum(row["worst_case_seconds"] for row in rows) + readings["worst_case_seconds"],
        "worst_case_bytes": sum(row["worst_case_bytes"] for row in rows),
    }


def arm_rows(
    arms: Arms, workers: int, stored: Collection[str] = (), longer: bool = True
) -> list[dict[str, Any]]:
    """What each arm costs at worst, with all seeds of the last look, under the planner's names of the arms.

    Every figure but those of one run is proportional to the seeds. Arguments as for :func:`forecast`.
    """
    seeds = arms.spec.looks[-1]
    decays = any(recipe.schedule.decays for recipe in arms.recipes.values())
    rows: list[dict[str, Any]] = []
    known: dict[str, tuple[float, int, bool]] = {}
    for name, recipe in arms.recipes.items():
        factor = 1.0 if ArmName.parse(name).control is not None and not longer else _factor(name, decays)
        factor -= name in stored
        if factor == 0:
            continue
        updates = recipe.planned_end
        seconds, size, stacked = measure_update(arms, recipe, known)
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
    return rows


def _readings(arms: Arms, rows: list[dict[str, Any]], workers: int) -> dict[str, Any]:
    """What the readings cost at worst: the probes on every run, two runs of two arms along training, replays.

    The cost of the probes is measured on the untrained network; a trained one may ask for more or fewer
    products. A run whose weights at the matched check were not kept is trained again up to there.
    """
    spec = arms.spec
    if spec.probes == NO_PROBES:
        return {"probes": [], "gradient_equivalents": 0.0, "moments": 0, "worst_case_seconds": 0.0}
    probes, recipe = parse_many(spec.probes), arms.recipes["baseline"]
    with one_thread(), own_randomness(), exact_arithmetic(torch.device(spec.device)):
        network = Setup(recipe.edit(engine="looped"), arms.task, torch.device(spec.device)).network
        state = network.initial(spec.seed)
        weights = {**state.layout.views(state.params), **state.buffers}
        subject = subject_of(arms.task, recipe, weights, seed=spec.seed, updates=0, device=spec.device)
        costs = [reading.cost for reading in take(subject, probes)]
    seeds, decays = spec.looks[-1], any(one.schedule.decays for one in arms.recipes.values())
    along = 2 * TRAJECTORY_SEEDS * TRAJECTORY_MOMENTS if along_training(probes) else 0
    moments = seeds * len(arms.recipes) * (2 if decays else 1) + along
    again = 0.0 if decays else sum(row["worst_case_seconds"] for row in rows if row["name"] != "noise")
    return {
        "probes": [probe.spelling() for probe in probes],
        "gradient_equivalents": sum(cost.gradient_equivalents for cost in costs),
        "moments": moments,
        "worst_case_seconds": moments * sum(cost.seconds for cost in costs) / workers + again,
    }


def _factor(name: str, decays: bool) -> float:
    """How much longer than planned the runs of an arm can be together."""
    if name == "rate_only":
        return 1.0
    if decays:
        return (1 + SHORTER) if name.startswith("baseline") else (LONGER + SHORTER)
    return 1.0 if name == "baseline" else EXTENSION
