"""Work carried out by a pool of processes: one per core, one thread each, no run trained twice."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from algobias.errors import BadInput, from_plain
from algobias.kept.store import Store
from algobias.own.user_file import announced
from algobias.running.executor import Executor, InternalError, WhyStop, WorkerDied, stopping
from algobias.running.here import ThisProcess
from algobias.running.processes import Terminated, available_cores, clean_start
from algobias.running.work import Event, Load, Train, Work, Workplace
from algobias.running.worker import TERMINATED, serve
from algobias.tasks.registry import load_task
from algobias.training.loop import train

POLL_SECONDS = 0.1
LEAVE_SECONDS = 5.0


def start_executor(
    store: Store,
    *,
    workers: int | None = None,
    data_dir: Path | None = None,
    train: Train = train,
    load: Load = load_task,
) -> Executor:
    """Choose between a pool of processes and this process.

    Args:
        store: Where outcomes go, and are found.
        workers: Processes; None: one per available core; 0: train in this process.
        data_dir: Folder of the data sets.
        train: The training loop; an importable function.
        load: Finds a task by its text; an importable function unless ``workers`` is 0.

    Raises:
        BadInput: A negative number of processes.
    """
    if workers is not None and workers < 0:
        raise BadInput("workers", workers, "a number of processes, or 0 to train in this one")
    processes = available_cores() if workers is None else workers
    if processes == 0:
        return ThisProcess(store, Workplace(store, data_dir, train, load))
    return ProcessPool(store, processes, data_dir, train, load)


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    block: Work | None = None


class ProcessPool(Executor):
    """A pool of processes, used again for every call of :meth:`run` inside one ``with``.

    Processes are started when there is work for them (a few seconds each) and re-import nothing of the
    caller's main program, so scripts need no ``if __name__ == "__main__"`` and notebooks work.

    Args:
        store: Where outcomes go, and are found.
        workers: Processes.
        data_dir: Folder of the data sets.
        train: The training loop; an importable function.
        load: Finds a task by its text; an importable function.
    """

    def __init__(self, store: Store, workers: int, data_dir: Path | None, train: Train, load: Load) -> None:
        super().__init__(store, workers)
        self._settings = (store.path, data_dir, train, load)
        self._pool: list[_Worker] = []

    def close(self) -> None:
        """End all processes."""
        for worker in self._pool:
            with suppress(OSError):
                worker.connection.send(("leave",))
        deadline = time.monotonic() + LEAVE_SECONDS
        for worker in self._pool:
            worker.process.join(max(0.0, deadline - time.monotonic()))
        self._kill()

    def carry_out(
        self,
        work: Sequence[Work],
        on_event: Callable[[Event], None] = lambda event: None,
        deadline: float | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Carry out work; arguments and errors as for :meth:`run`."""
        if not work:
            return
        with stopping(deadline, stopped) as why_stop:
            try:
                self._run_in_pool(work, on_event, why_stop)
            except BaseException:
                # Whoever is still training does so for nobody; what it had stored is safe.
                if any(worker.block is not None for worker in self._pool):
                    self._kill()
                raise

    def _run_in_pool(
        self,
        blocks: Sequence[Work],
        on_event: Callable[[Event], None],
        why_stop: WhyStop,
    ) -> None:
        todo = list(blocks)
        ending: BaseException | None = None
        while True:
            reason = why_stop() if ending is None else None
            if reason is not None:
                ending = reason()
            if ending is not None and todo:
                todo.clear()
            if ending is None:
                self._hand_out(todo)
            busy = [worker for worker in self._pool if worker.block is not None]
            if not busy and not todo:
                break
            if reason is not None:
                self._stop(busy)
            for ready in wait([worker.connection for worker in busy], POLL_SECONDS):
                worker = next(worker for worker in busy if worker.connection is ready)
                failure = self._hear(worker, on_event)
                if failure is not None and ending is None:
                    ending = failure
                    self._stop(busy)
        if ending is not None:
            raise ending

    def _hand_out(self, todo: list[Work]) -> None:
        """Give blocks to idle processes, starting more where there is work for them."""
        for block in list(todo):
            on_accelerator = block.device.partition(":")[0] != "cpu"
            busy = [worker for worker in self._pool if worker.block is not None]
            if on_accelerator and any(w.block and w.block.device == block.device for w in busy):
                continue  # one process at a time: two would only take each other's memory
            idle = next((worker for worker in self._pool if worker.block is None), None)
            if idle is None and len(self._pool) < self.workers:
                idle = self._start()
            if idle is None:
                return
            idle.block = block
            todo.remove(block)
            with suppress(OSError):  # it has died: hearing from it will tell
                idle.connection.send(("work", block))

    def _hear(self, worker: _Worker, on_event: Callable[[Event], None]) -> BaseException | None:
        """Take one message; returns what is to be raised once the others have stopped."""
        block = worker.block
        assert block is not None
        try:
            kind, *content = worker.connection.recv()
        except (EOFError, OSError):
            return self._bury(worker, block)
        if kind == "event":
            on_event(content[0])
            return None
        worker.block = None
        if kind == "stopped":
            return Terminated()  # nobody here has asked for it, or the answer is no longer wanted
        if kind == "bad_input":
            return from_plain(content[0])
        if kind == "lost":
            return WorkerDied(f"{block}: {content[0]}")
        if kind == "error":
            summary, trace = content
            return InternalError(f"{block} failed: {summary}\n\nIn the worker process:\n{trace}")
        return None

    def _bury(self, worker: _Worker, block: Work) -> BaseException:
        self._pool.remove(worker)
        worker.connection.close()
        worker.process.join()
        code = worker.process.exitcode or 0
        if code in (-signal.SIGTERM, TERMINATED):
            return Terminated()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        hint = " (often: too little memory; use fewer processes)" if code == -9 else ""
        return WorkerDied(
            f"the process for {block} {how}{hint}; the store is in order, "
            "and the same command goes on from there"
        )

    def _stop(self, busy: Sequence[_Worker]) -> None:
        for worker in busy:
            if worker.block is not None:
                with suppress(OSError):
                    worker.connection.send(("stop",))

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, *self._settings, announced()), daemon=True)
        with clean_start():
            process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        worker = _Worker(process, ours)
        self._pool.append(worker)
        return worker

    def _kill(self) -> None:
        for worker in self._pool:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self._pool.clear()
