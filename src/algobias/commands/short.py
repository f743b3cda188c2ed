"""Runs of a command that end after a few updates: what is found out in them costs little."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from algobias.attached.events import End
from algobias.attached.orders import FitOrders
from algobias.commands.numbers.inside import Told, orders_for, orders_json
from algobias.commands.placed import Placed
from algobias.commands.runner import Runner
from algobias.commands.trace import Left, left_by
from algobias.jobs.job import Job, Result
from algobias.jobs.slots import Slots, Task
from algobias.judge.design import Request
from algobias.whole_files import disk

SHORT_RUNS = "preflight"
"""The folder of short runs, in the folder of the baseline's first run; it goes with them."""


@dataclass(frozen=True)
class ShortRun:
    """A short run that has ended.

    Attributes:
        name: What it is for.
        result: How it ended.
        told: What its events say.
        folder: Where it was carried out.
        left: What it left behind, before another run could change it.
    """

    name: str
    result: Result
    told: Told
    folder: Path
    left: Left

    def apart(self, other: ShortRun) -> bool | None:
        """Say whether two runs differ in what was trained; where nobody knows it, in what they left behind.

        None where there is nothing to compare.
        """
        if self.weights is None and other.weights is None:
            return self.left.apart(other.left)
        return self.weights != other.weights

    @property
    def weights(self) -> str | None:
        """Hash of what was trained; None where nothing inside was seen."""
        main = self.told.main
        ends = () if main is None else main.of(End)
        return ends[-1].weights if ends else None


class _NoLock:
    """Nobody else carries out a short run."""

    def acquire(self, *, blocking: bool) -> None:
        """Take it."""

    def release(self) -> None:
        """Let go of it."""


@contextmanager
def short_runs(runner: Runner, updates: int) -> Iterator[ShortRuns]:
    """Make short runs in a folder that goes when they have been read.

    Args:
        runner: What carries out runs of the study.
        updates: Updates of each.
    """
    place = runner.first.folder.parent / SHORT_RUNS
    with disk(place):
        shutil.rmtree(place, ignore_errors=True)  # of one that was killed
        place.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=place) as temporary:
        yield ShortRuns(runner, Path(temporary), updates)


@dataclass(frozen=True)
class ShortRuns:
    """Makes short runs.

    Attributes:
        runner: What carries out runs of the study.
        folder: Where short ones are carried out.
        updates: Updates of each.
    """

    runner: Runner
    folder: Path
    updates: int

    def run(
        self,
        name: str,
        *,
        arm: str = "baseline",
        replicate: int = 0,
        fit: bool = False,
        null_control: bool = False,
    ) -> ShortRun:
        """Carry out one short run."""
        placed: Placed = self.runner.place(Request(arm, replicate))
        folder = self.folder / name.replace(" ", "-")
        here = replace(placed, folder=folder)
        examples = self.runner.question.fit
        orders = orders_for(
            folder,
            seed=None if here.command.has("seed") else here.seed,
            levers=here.command.levers,
            fit=FitOrders(keep=str(folder / "fit-set"), examples=examples) if fit and examples else None,
            stop_after=self.updates,
            null_control=null_control,
            probes=self.runner.question.spelled_probes,
        )
        job: Job = replace(self.runner.job(here), orders=orders_json(orders))
        ended: list[Result] = []
        slots = Slots(1, deadline=self.runner.slots.deadline)
        slots.run([Task(job, _NoLock())], lambda task, result: ended.append(result))
        told = Told.of(folder)
        return ShortRun(name, ended[0], told, folder, left_by(folder, told, self.runner.question))
