"""Training or measuring one block of seeds, with locks, files and progress; and the process that does so."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from algobias.errors import BadInput, shown
from algobias.runs.observer import Check, Interrupted, Snapshot
from algobias.runs.outcome import Outcome
from algobias.study.blocks import Block, Event, Job
from algobias.study.distributed.launch import ProcessLost, run_processes
from algobias.study.measuring import Measuring, Target, measure_moments
from algobias.study.runfiles import RunFiles
from algobias.study.store import Store
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.checkpoints import disk
from algobias.training.horizon import Horizon
from algobias.training.loop import train
from algobias.training.processes.parts import divided, over_processes
from algobias.user_code import told_as_bad_input

POLL_SECONDS = 0.2

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a process that has ended in order after SIGTERM."""

Train = Callable[..., list[Outcome]]
Load = Callable[[str, Path | None], Task]
Work = Block | Measuring


class BlockTrainer:
    """Trains blocks into a store.

    Args:
        store: Where outcomes go.
        data_dir: Folder of the data sets.
        train: The training loop.
        load: Finds a task by its text.
    """

    def __init__(
        self, store: Store, data_dir: Path | None = None, train: Train = train, load: Load = load_task
    ) -> None:
        self.store, self.data_dir, self._train, self._load = store, data_dir, train, load
        self._tasks: dict[str, Task] = {}

    def carry_out(self, work: Work, emit: Callable[[Event], None], should_stop: Callable[[], bool]) -> None:
        """Train or measure, whichever it is."""
        if isinstance(work, Block):
            self.run(work, emit, should_stop)
            return

        def told(target: Target) -> None:
            emit(Event("measured", work.arm, target.seed, target.update, target.update, target.train_loss))

        task = self._task(work.task, work.fingerprint)
        measure_moments(work, self.store, task, should_stop, told)

    def run(self, block: Block, emit: Callable[[Event], None], should_stop: Callable[[], bool]) -> None:
        """Train what is missing of a block; wait for runs that another process is training.

        Args:
            block: The seeds.
            emit: Told of every event.
            should_stop: Asked every so many updates.

        Raises:
            BadInput: The recipe or task cannot be trained, a checkpoint is damaged, the disk is full.
            Interrupted: ``should_stop`` said so; snapshots are stored.
        """
        missing = list(block.seeds)
        told = False
        while missing:
            # Only runs that are free now are held: waiting while holding others could block both sides.
            with self._held(block.job.address, missing) as held:
                to_train = [seed for seed in held if self.store.get(block.job.address, seed) is None]
                if to_train:
                    self._train_seeds(block, to_train, emit, should_stop)
            for seed in held:
                emit(finished(block, seed, self.store.get(block.job.address, seed)))
            missing = [seed for seed in missing if seed not in held]
            if missing:
                if not told:
                    told = True
                    for seed in missing:
                        emit(Event("waiting", block.job.arm, seed, 0, Horizon(block.job.recipe).latest))
                if should_stop():
                    raise Interrupted
                time.sleep(POLL_SECONDS)

    def _train_seeds(
        self,
        block: Block,
        seeds: Sequence[int],
        emit: Callable[[Event], None],
        should_stop: Callable[[], bool],
    ) -> None:
        job = block.job
        task = self._task(job.task, job.fingerprint)
        groups: dict[int, dict[int, Snapshot | None]] = {}
        for seed in seeds:
            snapshot = self._start(block, seed)
            groups.setdefault(snapshot.update if snapshot else 0, {})[seed] = snapshot
        for update, starts in sorted(groups.items()):
            resume = {seed: snapshot for seed, snapshot in starts.items() if snapshot is not None}
            files = RunFiles({seed: self.store.folder(job.address, seed) for seed in starts}, resume)
            watch = _Watch(block, emit, should_stop)
            for seed in resume:
                emit(Event("resumed", job.arm, seed, update, watch.total))
            if over_processes(job.recipe):
                outcomes = [self._over_processes(job, seed, should_stop) for seed in starts]
            else:
                outcomes = self._train(
                    job.recipe,
                    task,
                    tuple(starts),
                    device=job.device,
                    resume=resume,
                    observers=(files, watch),
                )
            for outcome in outcomes:
                self.store.put(job.address, outcome.seed, outcome, job.recipe, job.task)
                if job.recipe.schedule.decays:  # is never gone on with: its end is the end of the schedule
                    path = self.store.folder(job.address, outcome.seed).snapshot_path
                    with disk(path):
                        path.unlink(missing_ok=True)

    def _over_processes(self, job: Job, seed: int, should_stop: Callable[[], bool]) -> Outcome:
        """One seed over the processes that its recipe asks for; they keep snapshots of their own."""
        folder = self.store.folder(job.address, seed)
        folder.make()
        return run_processes(
            job.recipe,
            job.task,
            seed,
            divided(job.recipe)[1].processes,
            folder.path / "processes",
            data=self.data_dir,
            device=job.device.partition(":")[0],
            should_stop=should_stop,
        )

    def _start(self, block: Block, seed: int) -> Snapshot | None:
        """The run's own snapshot, else the end of its parent, else None."""
        own = self.store.snapshot(block.job.address, seed)
        parent = block.job.parent
        if own is not None or parent is None or self.store.get(parent, seed) is None:
            return own
        return self.store.snapshot(parent, seed)

    def _task(self, text: str, fingerprint: str | None) -> Task:
        if text not in self._tasks:
            self._tasks[text] = self._load(text, self.data_dir)
        task = self._tasks[text]
        if fingerprint is not None and task.fingerprint() != fingerprint:
            raise BadInput("task", text, "a file and data that stay as they are during a study; run it again")
        return task

    @contextmanager
    def _held(self, address: str, seeds: Sequence[int]) -> Iterator[list[int]]:
        """Lock those runs that nobody else has locked."""
        locks: dict[int, FileLock] = {}
        try:
            for seed in seeds:
                lock = self.store.lock(address, seed)
                with disk(self.store.path), suppress(Timeout):
                    lock.acquire(blocking=False)
                    locks[seed] = lock
            yield list(locks)
        finally:
            for lock in locks.values():
                lock.release()


def finished(block: Block, seed: int, outcome: Outcome | None) -> Event:
    """The event for a run whose outcome is in the store."""
    if outcome is None:
        raise RuntimeError(f"{block.job.arm}, seed {seed}: no outcome after training")
    curve, last = outcome.curve, int(outcome.curve.update[-1])
    loss, metric = float(curve.train_loss[-1]), float(curve.test_metric[outcome.planned])
    return Event("finished", block.job.arm, seed, last, last, loss, metric)


class _Watch:
    """Observer that passes progress on and asks whether to stop."""

    def __init__(self, block: Block, emit: Callable[[Event], None], should_stop: Callable[[], bool]) -> None:
        self.arm, self.total = block.job.arm, Horizon(block.job.recipe).latest
        self._emit, self._should_stop = emit, should_stop

    def on_check(self, seed: int, check: Check) -> None:
        self._emit(
            Event("progress", self.arm, seed, check.update, self.total, check.train_loss, check.test_metric)
        )

    def on_weights(self, seed: int, update: int, tensors: dict[str, Tensor]) -> None:
        pass

    def wants_weights(self, update: int) -> bool:
        return False

    def on_live_weights(self, seed: int, update: int, tensors: dict[str, Tensor]) -> None:
        pass

    def on_snapshot(self, seed: int, snapshot: Snapshot) -> None:
        pass

    def wants_snapshot(self) -> bool:
        return False

    def should_stop(self) -> bool:
        return self._should_stop()


def serve(connection: Connection, store: Path, data_dir: Path | None, train: Train, load: Load) -> None:
    """Main function of a worker process: train blocks until told to leave, or until the parent is gone.

    After SIGTERM the block at hand is stopped, its snapshots saved, and the process ends.

    Messages in: ``("block", Work)``, ``("stop",)``, ``("leave",)``. Messages out: ``("event", Event)`` and,
    once per block, ``("done",)``, ``("stopped",)``, ``("lost", ...)``, ``("bad_input", ...)`` or
    ``("error", summary, trace)``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    torch.set_num_threads(1)
    blocks: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
    stop, leaving = threading.Event(), threading.Event()

    def leave(number: int, frame: FrameType | None) -> None:
        leaving.set()
        stop.set()
        blocks.put(None)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one does not wait

    signal.signal(signal.SIGTERM, leave)

    def listen() -> None:
        while True:
            try:
                message = connection.recv()
            except (EOFError, OSError):
                os._exit(1)  # the parent was killed; files and database are safe at any moment
            if message[0] == "block":
                if not leaving.is_set():
                    stop.clear()
                blocks.put(message[1])
            elif message[0] == "stop":
                stop.set()
            else:
                blocks.put(None)

    threading.Thread(target=listen, daemon=True).start()
    trainer: BlockTrainer | None = None
    while (block := blocks.get()) is not None:
        reply: tuple[Any, ...]
        try:
            trainer = trainer or BlockTrainer(Store(store), data_dir, train, load)
            with told_as_bad_input():
                trainer.carry_out(block, lambda event: connection.send(("event", event)), stop.is_set)
            reply = ("done",)
        except Interrupted:
            reply = ("stopped",)
        except BadInput as error:
            reply = ("bad_input", error.field, shown(error.value), error.allowed, error.nearest)
        except ProcessLost as error:
            reply = ("lost", str(error))
        except BrokenPipeError:
            os._exit(1)
        except Exception as error:
            reply = ("error", f"{type(error).__name__}: {error}", traceback.format_exc())
        connection.send(reply)
    if leaving.is_set():
        raise SystemExit(TERMINATED)
