"""Who carries out work: the contract, for the executors here and for anybody's own."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from algobias.errors import CutOff
from algobias.kept.store import Store
from algobias.running.job import Block, Job, finished
from algobias.running.processes import asked_to_end
from algobias.running.sharing import share_out
from algobias.running.work import Event, Work


class OutOfTime(Exception):
    """The deadline has passed; snapshots are stored, and the same command goes on from there."""


class InternalError(Exception):
    """Something failed that is not the user's doing; the first line says where, then the traceback."""


class WorkerDied(CutOff):
    """A process ended without a word, killed from outside or for want of memory."""


WhyStop = Callable[[], type[BaseException] | None]


class Executor(ABC):
    """Carries out work, and trains those runs that are not in the store yet.

    One of your own says how many pieces of work it does at a time (:attr:`workers`) and how it does them
    (:meth:`carry_out`): ``algobias.audit(..., executor=lambda store, data: Mine(store))``. Results do not
    depend on who carries out the work.

    Args:
        store: Where outcomes go, and are found.
        workers: Pieces of work at a time; 0 and 1: one after the other.
    """

    def __init__(self, store: Store, workers: int) -> None:
        self.store, self.workers = store, workers

    @abstractmethod
    def carry_out(
        self,
        work: Sequence[Work],
        on_event: Callable[[Event], None] = lambda event: None,
        deadline: float | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Carry out work by ``work.carry_out(Workplace(store, data_dir), emit, should_stop)``.

        On return all of it is done. Arguments and errors as for :meth:`run`.
        """

    def close(self) -> None:  # noqa: B027
        """Let go of what carries out work."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def run(
        self,
        jobs: Sequence[Job],
        *,
        on_event: Callable[[Event], None] = lambda event: None,
        deadline: float | None = None,
        stopped: Callable[[], bool] = lambda: False,
        study: str | None = None,
    ) -> None:
        """Train every run of ``jobs`` that is not in the store yet; on return all outcomes are there.

        Ctrl-C lets the processes save snapshots first; a second Ctrl-C does not wait for them. So does
        SIGTERM where it is raised as an exception, and SIGTERM to one of the processes.

        Args:
            jobs: What to train.
            on_event: Told of every event, in this process and thread.
            deadline: Time on ``time.monotonic()`` at which to save and stop.
            stopped: Asked every 0.1 s; True is as good as Ctrl-C.
            study: Id of the study these runs are noted to belong to.

        Raises:
            BadInput: As raised where the run was trained.
            KeyboardInterrupt: Ctrl-C, or ``stopped``; snapshots are stored. SIGTERM: its kind Terminated.
            OutOfTime: The deadline has passed; snapshots are stored.
            WorkerDied: A process was killed; everything else is stored.
            InternalError: Anything else that was raised, with its traceback.
        """
        if study is not None:
            self.store.use_runs(study, [(job.address, seed) for job in jobs for seed in job.seeds])
        missing: list[Job] = []
        for job in jobs:
            outcomes = {seed: self.store.get(job.address, seed) for seed in job.seeds}
            for seed, outcome in outcomes.items():
                if outcome is not None:
                    on_event(finished(Block(job, (seed,)), seed, outcome))
            missing.append(replace(job, seeds=tuple(s for s, o in outcomes.items() if o is None)))
        self.carry_out(share_out(missing, max(1, self.workers)), on_event, deadline, stopped)


@contextmanager
def stopping(deadline: float | None, stopped: Callable[[], bool]) -> Iterator[WhyStop]:
    """Ask inside of the block why to stop: the deadline, ``stopped``, Ctrl-C or SIGTERM; None: go on."""
    end = math.inf if deadline is None else deadline
    with asked_to_end() as pressed:

        def why_stop() -> type[BaseException] | None:
            if pressed.why is not None or stopped():
                return pressed.why or KeyboardInterrupt
            return OutOfTime if time.monotonic() >= end else None

        yield why_stop


Make = Callable[[Store, Path | None], Executor]
"""Makes an executor for a store and a folder of data sets."""
