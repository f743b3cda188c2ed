"""What an audit may cost, before anything is trained (``--plan``)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace

import torch

from algobias.answer.answer import SCHEMA
from algobias.answer.forecast import Forecast, ForecastArm, ForecastReadings
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


@dataclass(frozen=True)
class ArmCost:
    """What one arm costs at worst, with all its seeds.

    Attributes:
        name: The arm.
        seeds: Runs.
        updates: Updates of a run as planned.
        worst_case_updates: Updates of each run at most.
        seconds_per_update: Time of an update of one run alone.
        stacked: Runs are stacked.
        worst_case_seconds: Time of all runs at most.
        worst_case_bytes: Disk of all runs at most.
        label: What it is called in a table, where that is not its name.
    """

    name: str
    seeds: int
    updates: int
    worst_case_updates: int
    seconds_per_update: float
    stacked: bool
    worst_case_seconds: float
    worst_case_bytes: float
    label: str | None = None

    def entry(self) -> ForecastArm:
        """The arm as a forecast has it."""
        return ForecastArm.from_json({key: one for key, one in asdict(self).items() if one is not None})


def forecast(
    arms: Arms, workers: int | None = None, *, stored: Collection[str] = (), longer: bool = True
) -> Forecast:
    """Arms, seeds, worst-case updates, time and disk of a study.

    Time per update is measured on a few gradient evaluations of each arm, one run alone; stacked seeds are
    faster, so the time is an upper bound on an idle machine. Nothing is trained or stored.

    Args:
        arms: Recipes by arm.
        workers: Processes; None means one per core.
        stored: Arms whose planned runs are there: only what may come besides is counted.
        longer: Treated arms may be trained longer, or again with other lengths of their schedule.
    """
    workers = workers or available_cores()
    return forecast_of(arms, study_costs(arms, workers, stored, longer), workers)


def forecast_of(arms: Arms, rows: Sequence[ArmCost], workers: int) -> Forecast:
    """Add the readings and the sums to what the arms of a study cost, as :func:`study_costs` has it."""
    spec = arms.spec
    readings, seconds = _readings(arms, rows, workers)
    return Forecast(
        schema=SCHEMA,
        task=arms.recipes["baseline"].task,
        change=spec.change,
        derivations=arms.derivations,
        remarks=arms.remarks,
        replaced=arms.replaced,
        looks=spec.looks,
        first_look_seeds=spec.looks[0],
        workers=workers,
        arms=tuple(row.entry() for row in rows),
        worst_case_updates=sum(row.worst_case_updates * row.seeds for row in rows),
        readings=readings,
        worst_case_seconds=sum(row.worst_case_seconds for row in rows) + seconds,
        worst_case_bytes=sum(row.worst_case_bytes for row in rows),
    )


def study_costs(arms: Arms, workers: int, stored: Collection[str] = (), longer: bool = True) -> list[ArmCost]:
    """What each arm costs at worst, under the names that people read, and the seeds that show the noise."""
    known = arm_costs(arms, workers, stored, longer)
    rows = [replace(row, name=spoken(row.name, arms.spec)) for row in known]
    if arms.spec.tolerance is None:
        first = rows[0]
        seconds = first.seconds_per_update * first.updates * NOISE_SEEDS / workers
        rows.append(
            replace(
                first,
                name="noise",
                seeds=NOISE_SEEDS,
                worst_case_updates=first.updates,
                worst_case_seconds=seconds,
            )
        )
    return rows


def arm_costs(arms: Arms, workers: int, stored: Collection[str] = (), longer: bool = True) -> list[ArmCost]:
    """What each arm costs at worst, with all seeds of the last look, under the planner's names of the arms.

    Every figure but those of one run is proportional to the seeds. Arguments as for :func:`forecast`.
    """
    seeds = arms.spec.looks[-1]
    decays = any(recipe.schedule.decays for recipe in arms.recipes.values())
    rows: list[ArmCost] = []
    known: dict[str, tuple[float, int, bool]] = {}
    for name, recipe in arms.recipes.items():
        factor = 1.0 if ArmName.parse(name).control is not None and not longer else _factor(name, decays)
        factor -= name in stored
        if factor == 0:
            continue
        updates = recipe.planned_end
        seconds, size, stacked = measure_update(arms, recipe, known)
        rows.append(
            ArmCost(
                name=name,
                seeds=seeds,
                updates=updates,
                worst_case_updates=round(updates * factor),
                seconds_per_update=seconds,
                stacked=stacked,
                worst_case_seconds=seconds * updates * factor * seeds / workers,
                worst_case_bytes=seeds * size * (KEPT_WEIGHTS + 2),
            )
        )
    return rows


def _readings(arms: Arms, rows: Sequence[ArmCost], workers: int) -> tuple[ForecastReadings, float]:
    """What the readings cost at worst, and their time: the probes on every run, two runs of two arms along
    training, replays.

    The cost of the probes is measured on the untrained network; a trained one may ask for more or fewer
    products. A run whose weights at the matched check were not kept is trained again up to there.
    """
    spec = arms.spec
    if spec.probes == NO_PROBES:
        return ForecastReadings(probes=(), gradient_equivalents=0.0, moments=0, worst_case_seconds=0.0), 0.0
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
    again = 0.0 if decays else sum(row.worst_case_seconds for row in rows if row.name != "noise")
    seconds = moments * sum(cost.seconds for cost in costs) / workers + again
    readings = ForecastReadings(
        probes=tuple(probe.spelling() for probe in probes),
        gradient_equivalents=sum(cost.gradient_equivalents for cost in costs),
        moments=moments,
        worst_case_seconds=seconds,
    )
    return readings, seconds


def _factor(name: str, decays: bool) -> float:
    """How much longer than planned the runs of an arm can be together."""
    if name == "rate_only":
        return 1.0
    if decays:
        return (1 + SHORTER) if name.startswith("baseline") else (LONGER + SHORTER)
    return 1.0 if name == "baseline" else EXTENSION
