"""Runs of commands without a process each: scripts inside of this one, or in copies of one that has torch."""

from __future__ import annotations

import contextlib
import functools
import os
import runpy
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from algobias.attached.orders import VARIABLE
from algobias.jobs.job import ERRORS, ORDERS, OUTPUT, Job, Result
from algobias.jobs.slots import Slots, Task
from attached.zygote import Zygote

Carry = Callable[[Job], int]


class Quick:
    """Stands in for ``Slots.run``.

    Args:
        carry: Carries out a job, and returns its exit code.

    Attributes:
        done: Jobs that were carried out.
        stop_after: So many jobs, then Ctrl-C is pressed; None: never.
    """

    def __init__(self, carry: Carry) -> None:
        self.carry = carry
        self.done: list[Job] = []
        self.stop_after: int | None = None

    def install(self, patch) -> Quick:
        patch.setattr(Slots, "run", lambda slots, tasks, finished: self.run(tasks, finished))
        return self

    def run(self, tasks: Sequence[Task], finished: Callable[[Task, Result], None]) -> None:
        for task in tasks:
            if self.stop_after is not None and len(self.done) >= self.stop_after:
                raise KeyboardInterrupt
            if task.done():
                continue
            with task.lock if hasattr(task.lock, "__enter__") else contextlib.nullcontext():
                task.job.write()
                started = time.monotonic()
                code = self.carry(task.job)
                result = Result(code, None, time.monotonic() - started, started)
                result.write(task.job.folder)
                finished(task, result)
                self.done.append(task.job)


def here(job: Job) -> int:
    """Run a script that needs neither torch nor a folder of its own."""
    before = sys.argv
    sys.argv = list(job.words[1:])
    try:
        with (job.folder / OUTPUT).open("w") as out, contextlib.redirect_stdout(out):
            try:
                runpy.run_path(job.words[1], run_name="__main__")
            except SystemExit as ended:
                (job.folder / ERRORS).write_text(str(ended.code))
                return 1
    finally:
        sys.argv = before
    return 0


def with_torch(job: Job) -> int:
    """Run a script in a copy of a process that has loaded torch, and what the orders say inside of it."""
    variables = {**os.environ, **job.environment, VARIABLE: str(job.folder / ORDERS)}
    words = [str(job.cwd / job.words[1]), *job.words[2:]]
    code, _, _ = _zygote().run(job.folder, words, variables)
    for name, kept in (("out.txt", OUTPUT), ("err.txt", ERRORS)):
        Path(job.folder / name).rename(job.folder / kept)
    return code


@functools.cache
def _zygote() -> Zygote:
    return Zygote("sklearn.datasets")
