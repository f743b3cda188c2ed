"""Runs of a command side by side: slots, the graphics cards of each, second and third tries."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from algobias.jobs.job import GROUP, RESULT, Job, Result
from algobias.jobs.worker import end_strays
from algobias.running.executor import OutOfTime
from algobias.running.processes import asked_to_end, available_cores
from algobias.whole_files import disk

TRIES = 3
"""How often a run is begun that a signal, or a lost machine, ended."""

_PAUSE = 0.05


class Lock(Protocol):
    """Held by whoever carries out a run."""

    def acquire(self, *, blocking: bool) -> object:
        """Take it.

        Raises:
            TimeoutError: Somebody else has it.
        """

    def release(self) -> None:
        """Let go of it."""


@dataclass
class Task:
    """A job that is to be carried out.

    Attributes:
        job: The job.
        lock: Held while it is carried out.
        done: Asked before it is begun: has somebody else carried it out meanwhile?
        tries: How often it has been begun.
    """

    job: Job
    lock: Lock
    done: Callable[[], bool] = lambda: False
    tries: int = 0


@dataclass
class _Slot:
    """A place for one run at a time."""

    cards: tuple[str, ...] | None
    task: Task | None = None
    worker: subprocess.Popen[bytes] | None = None


@dataclass
class Slots:
    """Carries out jobs, at most so many at a time.

    Attributes:
        count: How many; None: one for each graphics card, or for each core.
        cards: Names of the graphics cards, which are shared out evenly; None: those that there are.
        deadline: When to stop, on ``time.monotonic()``; None: never.
    """

    count: int | None = None
    cards: tuple[str, ...] | None = None
    deadline: float | None = None
    _slots: list[_Slot] = field(default_factory=list)

    def __post_init__(self) -> None:
        cards = visible_cards() if self.cards is None else self.cards
        count = self.count or (len(cards) or available_cores())
        each = len(cards) // count if cards else 0
        shares = [cards[place * each : (place + 1) * each] for place in range(count)]
        self._slots = [_Slot(share if each else None) for share in shares]

    @property
    def places(self) -> int:
        """How many runs are carried out at a time."""
        return len(self._slots)

    def run(self, tasks: Sequence[Task], finished: Callable[[Task, Result], None]) -> None:
        """Carry out jobs; on return every one has ended, or somebody else has carried it out.

        Args:
            tasks: The jobs.
            finished: Told of each when it has ended for good.

        Raises:
            KeyboardInterrupt: Interrupted; no process is left behind.
            OutOfTime: The time is over; no process is left behind.
        """
        waiting = list(tasks)
        with asked_to_end() as pressed:
            try:
                while waiting or any(slot.task for slot in self._slots):
                    if pressed.why is not None:
                        raise pressed.why
                    if self.deadline is not None and time.monotonic() > self.deadline:
                        raise OutOfTime
                    for slot in self._slots:
                        self._look_after(slot, waiting, finished)
                    time.sleep(_PAUSE)
            finally:
                self._end()

    def _look_after(self, slot: _Slot, waiting: list[Task], finished: Callable[[Task, Result], None]) -> None:
        if slot.worker is not None and slot.task is not None and slot.worker.poll() is not None:
            task, slot.task, slot.worker = slot.task, None, None
            result = Result.read(task.job.folder)
            _clear(task.job.folder)
            lost = result is None or (result.signal is not None and result.reason is None)
            try:
                if lost and task.tries < TRIES:
                    waiting.insert(0, task)
                else:
                    gone = Result(None, None, 0.0, 0.0, "the process that carried it out was killed")
                    finished(task, result or gone)
            finally:
                # Whoever waits for the run finds its outcome once the lock is free.
                task.lock.release()
        if slot.task is None:
            for task in waiting:
                if self._begin(slot, task):
                    waiting.remove(task)
                    break

    def _begin(self, slot: _Slot, task: Task) -> bool:
        """Begin a job in a slot; False where somebody else is at it. One that is done needs no slot."""
        try:
            task.lock.acquire(blocking=False)
        except TimeoutError:
            return False
        if task.done():
            task.lock.release()
            return True
        task.tries += 1
        _clear(task.job.folder)
        _empty(task.job.folder)
        job = task.job
        if slot.cards is not None:
            job = replace(job, environment={**job.environment, "CUDA_VISIBLE_DEVICES": ",".join(slot.cards)})
        path = job.write()
        command = [sys.executable, "-m", "algobias.jobs.worker", "--parent", str(os.getpid()), str(path)]
        # A session of its own: Ctrl-C at the terminal reaches this process alone, which ends its workers.
        slot.worker = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        slot.task = task
        return True

    def _end(self) -> None:
        """End every worker, and with it the process group of its run."""
        busy = [slot for slot in self._slots if slot.worker is not None]
        for slot in busy:
            assert slot.worker is not None
            slot.worker.terminate()
        for slot in busy:
            assert slot.worker is not None
            assert slot.task is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                slot.worker.wait(20)
            slot.worker.kill()
            slot.worker.wait()
            _clear(slot.task.job.folder)
            slot.task.lock.release()
            slot.task, slot.worker = None, None


def visible_cards() -> tuple[str, ...]:
    """Names of the graphics cards that may be used: those of ``CUDA_VISIBLE_DEVICES``, or all there are."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return tuple(name.strip() for name in given.split(",") if name.strip() not in ("", "-1"))
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(str(place) for place, _ in enumerate(listed.stdout.strip().splitlines()))


def _clear(folder: Path) -> None:
    """End what is left of a run whose worker was killed before it could."""
    path = folder / GROUP
    if path.exists() and not (folder / RESULT).exists():
        end_strays(folder)
    path.unlink(missing_ok=True)


def _empty(folder: Path) -> None:
    """Remove what an earlier try has left."""
    with disk(folder), contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
