"""Runs of one recipe: what is to be trained, and a share of it, which trains itself into the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from filelock import FileLock, Timeout

from algobias.kept.runfiles import RunFiles
from algobias.recipe import Recipe
from algobias.running.distributed.launch import run_processes
from algobias.running.work import Event, Workplace
from algobias.runs.observer import Check, Interrupted, SilentObserver, Snapshot
from algobias.runs.outcome import Outcome
from algobias.training.horizon import Horizon
from algobias.training.processes.parts import divided, over_processes
from algobias.whole_files import disk

POLL_SECONDS = 0.2

OVERHEAD_SEEDS = 7.0
"""A stacked update costs about as much as ``7 + seeds`` units: fitted to the measured throughputs of a small
MLP, 843, 1390, 2462, 3244, 5150 seed-updates per second at 1, 2, 4, 8, 20 stacked seeds."""


@dataclass(frozen=True)
class Job:
    """Runs of one recipe.

    Attributes:
        arm: The arm it is for, as it is shown.
        recipe: What to train.
        task: The task as on the command line.
        address: Address of the recipe's runs in the store.
        seeds: One run for each.
        parent: Address of the same recipe without extension, whose runs can be gone on with.
        device: A torch device.
        stacked: Whether the seeds of one process are stacked (else one after the other, and dividing them
            over more processes costs nothing).
        fingerprint: Where given, the task must still have this fingerprint when it is trained.
    """

    arm: str
    recipe: Recipe
    task: str
    address: str
    seeds: tuple[int, ...]
    parent: str | None = None
    device: str = "cpu"
    stacked: bool = True
    fingerprint: str | None = None


@dataclass(frozen=True)
class Block:
    """Some seeds of one job, trained together in one process."""

    job: Job
    seeds: tuple[int, ...]

    @property
    def device(self) -> str:
        """Where it is trained."""
        return self.job.device

    @property
    def cost(self) -> float:
        """Relative time: updates times the cost of one update of so many seeds."""
        seeds = len(self.seeds)
        each = OVERHEAD_SEEDS + seeds if self.job.stacked else (OVERHEAD_SEEDS + 1) * seeds
        return Horizon(self.job.recipe).latest * each

    def __str__(self) -> str:
        seeds = ", ".join(map(str, self.seeds))
        return f"{self.job.arm}, seed{'s' if len(self.seeds) > 1 else ''} {seeds}"

    def carry_out(
        self, place: Workplace, emit: Callable[[Event], None], should_stop: Callable[[], bool]
    ) -> None:
        """Train the seeds that are missing; wait for runs that another process is training.

        Args:
            place: The store, the tasks, and the training loop.
            emit: Told of every event.
            should_stop: Asked every so many updates.

        Raises:
            BadInput: The recipe or task cannot be trained, a checkpoint is damaged, the disk is full.
            Interrupted: ``should_stop`` said so; snapshots are stored.
        """
        missing = list(self.seeds)
        told = False
        while missing:
            # Only runs that are free now are held: waiting while holding others could block both sides.
            with self._held(place, missing) as held:
                to_train = [seed for seed in held if place.store.get(self.job.address, seed) is None]
                if to_train:
                    self._train_seeds(place, to_train, emit, should_stop)
            for seed in held:
                emit(finished(self, seed, place.store.get(self.job.address, seed)))
            missing = [seed for seed in missing if seed not in held]
            if missing:
                if not told:
                    told = True
                    for seed in missing:
                        emit(Event("waiting", self.job.arm, seed, 0, Horizon(self.job.recipe).latest))
                if should_stop():
                    raise Interrupted
                time.sleep(POLL_SECONDS)

    def _train_seeds(
        self,
        place: Workplace,
        seeds: Sequence[int],
        emit: Callable[[Event], None],
        should_stop: Callable[[], bool],
    ) -> None:
        job = self.job
        task = place.task(job.task, job.fingerprint)
        groups: dict[int, dict[int, Snapshot | None]] = {}
        for seed in seeds:
            snapshot = self._start(place, seed)
            groups.setdefault(snapshot.update if snapshot else 0, {})[seed] = snapshot
        for update, starts in sorted(groups.items()):
            resume = {seed: snapshot for seed, snapshot in starts.items() if snapshot is not None}
            files = RunFiles({seed: place.store.folder(job.address, seed) for seed in starts}, resume)
            watch = _Watch(self, emit, should_stop)
            for seed in resume:
                emit(Event("resumed", job.arm, seed, update, watch.total))
            if over_processes(job.recipe):
                outcomes = [self._over_processes(place, seed, should_stop) for seed in starts]
            else:
                outcomes = place.train(
                    job.recipe,
                    task,
                    tuple(starts),
                    device=job.device,
                    resume=resume,
                    observers=(files, watch),
                )
            for outcome in outcomes:
                place.store.put(job.address, outcome.seed, outcome, job.recipe, job.task)
                if job.recipe.schedule.decays:  # is never gone on with: its end is the end of the schedule
                    path = place.store.folder(job.address, outcome.seed).snapshot_path
                    with disk(path):
                        path.unlink(missing_ok=True)

    def _over_processes(self, place: Workplace, seed: int, should_stop: Callable[[], bool]) -> Outcome:
        """One seed over the processes that its recipe asks for; they keep snapshots of their own."""
        job = self.job
        folder = place.store.folder(job.address, seed)
        folder.make()
        return run_processes(
            job.recipe,
            job.task,
            seed,
            divided(job.recipe)[1].processes,
            folder.path / "processes",
            data=place.data_dir,
            device=job.device.partition(":")[0],
            should_stop=should_stop,
        )

    def _start(self, place: Workplace, seed: int) -> Snapshot | None:
        """The run's own snapshot, else the end of its parent, else None."""
        own = place.store.snapshot(self.job.address, seed)
        parent = self.job.parent
        if own is not None or parent is None or place.store.get(parent, seed) is None:
            return own
        return place.store.snapshot(parent, seed)

    @contextmanager
    def _held(self, place: Workplace, seeds: Sequence[int]) -> Iterator[list[int]]:
        """Lock those runs that nobody else has locked."""
        locks: dict[int, FileLock] = {}
        try:
            for seed in seeds:
                lock = place.store.lock(self.job.address, seed)
                with disk(place.store.path), suppress(Timeout):
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


class _Watch(SilentObserver):
    """Observer that passes progress on and asks whether to stop."""

    def __init__(self, block: Block, emit: Callable[[Event], None], should_stop: Callable[[], bool]) -> None:
        self.arm, self.total = block.job.arm, Horizon(block.job.recipe).latest
        self._emit, self._should_stop = emit, should_stop

    def on_check(self, seed: int, check: Check) -> None:
        self._emit(
            Event("progress", self.arm, seed, check.update, self.total, check.train_loss, check.test_metric)
        )

    def should_stop(self) -> bool:
        return self._should_stop()
