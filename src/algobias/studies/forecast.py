"""What an audit may cost, before anything is trained (``--plan``)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from algobias.answer.answer import SCHEMA
from algobias.answer.forecast import Forecast, ForecastReadings
from algobias.coordinates.asked import along_training
from algobias.coordinates.moments import TRAJECTORY_MOMENTS, TRAJECTORY_SEEDS
from algobias.probes.measure import take
from algobias.probes.registry import parse_many
from algobias.running.arms import Arms
from algobias.running.asked import NO_PROBES
from algobias.running.costs import ArmCost, study_costs
from algobias.running.processes import available_cores
from algobias.seeding.states import own_randomness
from algobias.training.device import exact_arithmetic, one_thread
from algobias.training.setup import Setup
from algobias.training.subjects import subject_of


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
