"""The runs of two arms as tables, and which seeds of them are compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from algobias.errors import BadInput
from algobias.inference.resolution import of_values
from algobias.judge.design import Run
from algobias.kept.logged import Killed, Log, logs_of
from algobias.logs.arm import Arm

MOST_NAMED = 5
"""Seeds that a message names."""


@dataclass(frozen=True)
class Table:
    """The runs of one table."""

    name: str
    logs: tuple[Log, ...]

    @classmethod
    def of(cls, name: str, arm: Arm) -> Table:
        """The runs of an arm's logs."""
        alone = len(arm.runs) == 1
        logs = [log for run in arm.runs for log in logs_of(name if alone else run.name, run.rows)]
        return cls(name, tuple(logs))

    @property
    def seeds(self) -> list[int]:
        """Seeds in the order in which they appear."""
        return list(dict.fromkeys(log.seed for log in self.logs))

    def without(self, killed: Sequence[Killed]) -> Table:
        """The table without some runs."""
        gone = {(one.log.seed, one.log.length) for one in killed}
        return Table(self.name, tuple(log for log in self.logs if (log.seed, log.length) not in gone))

    def numbered(self, seeds: Sequence[int]) -> list[tuple[int, Log]]:
        """Runs of some seeds, each with the place of its seed among them."""
        places = {seed: place for place, seed in enumerate(seeds)}
        kept = [(places[log.seed], log) for log in self.logs if log.seed in places]
        return sorted(kept, key=lambda pair: pair[0])


def resolution_of(tables: Iterable[Table], runs: Sequence[Run]) -> float:
    """Smallest step between two test metrics that are judged; of a constant one its last written digit."""
    values = np.concatenate([run.outcome.curve.test_metric for run in runs])
    step = of_values(values)
    if step > 0:
        return step
    digits = (row.last_digit for table in tables for log in table.logs for row in log.rows)
    return min((digit for digit in digits if digit > 0), default=0.0)


def pairs_of(
    tables: dict[str, Table], decays: bool, warnings: list[str], unpaired: bool, known: set[int]
) -> dict[str, list[int]]:
    """Seeds of both arms in the order of replicates: those with a run of the planned length.

    A warning names the others, but for those ``known`` to be missing.
    """
    seeds = {}
    for arm, table in tables.items():
        whole = {log.seed for log in table.logs if log.length == 1 or (log.length > 1 and not decays)}
        seeds[arm] = [seed for seed in table.seeds if seed in whole]
        cut = [seed for seed in table.seeds if seed not in whole | known]
        if cut:
            warnings.append(
                f"{len(cut)} seeds of {table.name} have no run of length 1 and are left out: {cut[:5]}"
            )
    if unpaired:
        for arm, those in seeds.items():
            if len(those) < 2:
                raise BadInput("seeds", f"{len(those)} in {tables[arm].name}", "at least 2 whole runs")
        return seeds
    theirs = set(seeds["variant"])
    common = [seed for seed in seeds["baseline"] if seed in theirs]
    if len(common) < 2:
        shown = {arm: _named(those) for arm, those in seeds.items()}
        raise BadInput(
            "seeds",
            f"{shown['baseline']} against {shown['variant']}",
            "at least 2 whole runs of seeds that both tables have (or --unpaired, where Welch's interval "
            "decides; or --as-is, where runs that end early were not killed; or --one-run, where one run "
            "of each arm is all there is)",
        )
    both = set(common)
    for arm, those in seeds.items():
        alone = [seed for seed in those if seed not in both | known]
        if alone:
            counted = "1 seed is" if len(alone) == 1 else f"{len(alone)} seeds are"
            warnings.append(f"{counted} only in {tables[arm].name} and left out: {_named(alone)}")
    return {"baseline": common, "variant": common}


def _named(seeds: Sequence[int]) -> str:
    """The first few seeds, and a sign where there are more."""
    first = ", ".join(map(str, seeds[:MOST_NAMED])) or "none"
    return f"{first}, ..." if len(seeds) > MOST_NAMED else first
