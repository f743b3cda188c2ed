"""What each arm of a study costs at worst, before anything is trained."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace

from algobias.answer.forecast import ForecastArm
from algobias.running.arms import NOISE_SEEDS, Arms, spoken
from algobias.running.timing import measure_update
from algobias.runs.arm_name import ArmName

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

    Every figure but those of one run is proportional to the seeds.

    Args:
        arms: Recipes by arm.
        workers: Processes.
        stored: Arms whose planned runs are there: only what may come besides is counted.
        longer: Treated arms may be trained longer, or again with other lengths of their schedule.
    """
    seeds = arms.spec.looks[-1]
    decays = any(recipe.schedule.decays for recipe in arms.recipes.values())
    rows: list[ArmCost] = []
    known: dict[str, tuple[float, int, bool]] = {}
    for name, recipe in arms.recipes.items():
        factor = (
            1.0 if ArmName.parse(name).control is not None and not longer else length_factor(name, decays)
        )
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


def length_factor(name: str, decays: bool) -> float:
    """How much longer than planned the runs of an arm can be together."""
    if name == "rate_only":
        return 1.0
    if decays:
        return (1 + SHORTER) if name.startswith("baseline") else (LONGER + SHORTER)
    return 1.0 if name == "baseline" else EXTENSION
