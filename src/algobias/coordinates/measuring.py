"""Measuring moments of stored runs: from kept weights, or from the same training done again up to there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.kept.runfiles import RunFolder
from algobias.kept.store import Store
from algobias.probes.base import Probe
from algobias.probes.measure import take, unavailable
from algobias.probes.monitor import KEPT, thinned
from algobias.probes.reading import Reading
from algobias.probes.registry import parse_many
from algobias.recipe import Recipe, recipe_from
from algobias.running.work import Event, Workplace
from algobias.runs.observer import Check, Interrupted, SilentObserver
from algobias.seeding.states import own_randomness
from algobias.tasks.task import Task
from algobias.training.checkpoints import load_weights, save_weights
from algobias.training.device import exact_arithmetic
from algobias.training.loop import train
from algobias.training.subjects import subject_of

DIFFERS = "replay differs"

ROUNDING = 1e-3
"""Relative difference of training losses up to which a replay is the stored run.

A stack of other seeds, or of another size, may round products of unevenly shaped matrices otherwise (the
library of matrix products goes by where a row lies in memory), and training lets that grow."""


@dataclass(frozen=True)
class Target:
    """One moment of one run.

    Attributes:
        seed: The run's seed.
        update: Updates made.
        train_loss: Training loss at that check, as stored: a replay must give it, up to :data:`ROUNDING`.
        addresses: Where kept weights of the run may lie, its own address first (a run that was gone on with
            has those of its first part elsewhere).
    """

    seed: int
    update: int
    train_loss: float
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Measuring:
    """Moments of runs of one recipe, measured in one process; replayed as one stack where they must be.

    Attributes:
        arm: The arm, for messages.
        task: The task as on the command line.
        fingerprint: The task must still have this fingerprint.
        address: Address of the runs.
        targets: The moments.
        probes: Probes as spelled.
        device: Where to replay and measure.
        revisions: Revisions of the probes: a user's file may not change while a study reads. None: any.
    """

    arm: str
    task: str
    fingerprint: str
    address: str
    targets: tuple[Target, ...]
    probes: tuple[str, ...]
    device: str = "cpu"
    revisions: tuple[int, ...] | None = None

    def __str__(self) -> str:
        seeds = ", ".join(str(seed) for seed in dict.fromkeys(target.seed for target in self.targets))
        return f"{self.arm}, seeds {seeds}, measured"

    def carry_out(
        self, place: Workplace, emit: Callable[[Event], None], should_stop: Callable[[], bool]
    ) -> None:
        """Measure what is not stored yet, and tell of every moment that is done."""

        def done(target: Target) -> None:
            emit(Event("measured", self.arm, target.seed, target.update, target.update, target.train_loss))

        task = place.task(self.task, self.fingerprint)
        measure_moments(self, place.store, task, should_stop, done)


def stored_reading(store: Store, address: str, target: Target, probe: Probe) -> Reading | None:
    """What is stored of a moment; a probe whose file has moved is the same probe."""
    for name in dict.fromkeys((probe.kept_as(), probe.spelling())):  # earlier versions kept it by its path
        reading = store.reading(address, target.seed, target.update, name, probe.revision)
        if reading is not None:
            return replace(reading, probe=probe.spelling())
    return None


def missing(store: Store, address: str, target: Target, probes: Sequence[Probe]) -> list[Probe]:
    """Probes without a stored reading of this moment; a failed replay is tried again."""
    found = []
    for probe in probes:
        known = stored_reading(store, address, target, probe)
        if known is None or known.details.get("moment") == DIFFERS:
            found.append(probe)
    return found


def measure_moments(
    block: Measuring,
    store: Store,
    task: Task,
    should_stop: Callable[[], bool],
    told: Callable[[Target], None] = lambda target: None,
) -> None:
    """Measure what is not stored yet; each reading is stored as soon as it is there.

    Random vectors come from the seed of the run, so that they are independent over seeds (their error is part
    of the spread over seeds) and the same for both arms of a seed. Weights that had to be trained again are
    kept in the run's folder. Cost: the probes', and at most one training of the recipe for all targets.

    Args:
        block: What to measure.
        store: Where runs are, and readings go.
        task: The task.
        should_stop: Asked between readings and while training.
        told: Told of every moment that is done.

    Raises:
        Interrupted: ``should_stop`` said so; the readings so far are stored.
        BadInput: Kept weights are damaged or belong to another recipe, the disk is full, the file of a probe
            is another one than when the study began.
    """
    probes = parse_many(block.probes)
    if block.revisions is not None:
        _check_revisions(probes, block.revisions)
    due = {target: missing(store, block.address, target, probes) for target in block.targets}
    due = {target: wanted for target, wanted in due.items() if wanted}
    for target in block.targets:
        if target not in due:
            told(target)
    if not due:
        return
    recipe = _recipe(store.folder(block.address, next(iter(due)).seed))
    again = [target for target in due if kept_folder(store, target) is None]
    if again:
        _replay(recipe, task, again, store, block, should_stop)
    for target, wanted in due.items():
        if should_stop():
            raise Interrupted
        for probe, reading in zip(wanted, _readings(block, store, task, recipe, target, wanted), strict=True):
            key = (block.address, target.seed, target.update, probe.kept_as(), probe.revision)
            store.save_reading(*key, reading)
        told(target)


def _check_revisions(probes: Sequence[Probe], revisions: Sequence[int]) -> None:
    for probe, revision in zip(probes, revisions, strict=True):
        if probe.revision != revision:
            allowed = "a file that stays as it is while a study reads with it; ask again: its runs are stored"
            raise BadInput("probes", probe.source or probe.name, allowed)


def _readings(
    block: Measuring, store: Store, task: Task, recipe: Recipe, target: Target, probes: Sequence[Probe]
) -> list[Reading]:
    folder = kept_folder(store, target)
    if folder is None:
        reason = (
            f"{DIFFERS}: the same training does not give the stored training loss {target.train_loss:.6g} "
            f"after {target.update} updates within {100 * ROUNDING:g} % (another machine or torch "
            "version, or a network that draws random numbers unseen?)"
        )
        return [replace(unavailable(probe, reason), details={"moment": DIFFERS}) for probe in probes]
    history: list[tuple[int, dict[str, Tensor]]] = []
    if any("history" in probe.card.needs for probe in probes):
        history = _history(store, target)
    with own_randomness(), exact_arithmetic(torch.device(block.device)):
        subject = subject_of(
            task,
            recipe,
            load_weights(folder.weights_path(target.update), address=folder.address),
            seed=target.seed,
            history=history,
            updates=target.update,
            device=block.device,
            where=str(folder.weights_path(target.update)),
        )
        return take(replace(subject, seed=target.seed), probes)


def _recipe(folder: RunFolder) -> Recipe:
    record = folder.read_outcome()
    if record is None:
        raise RuntimeError(f"run {folder.address[:12]} seed {folder.seed} is not in the store")
    return recipe_from(record[1])


def kept_folder(store: Store, target: Target) -> RunFolder | None:
    """The folder that has the weights of a moment, or None."""
    for address in target.addresses:
        folder = store.folder(address, target.seed)
        if folder.weights_path(target.update).exists():
            return folder
    return None


def _history(store: Store, target: Target) -> list[tuple[int, dict[str, Tensor]]]:
    kept: dict[int, RunFolder] = {}
    for address in target.addresses:
        folder = store.folder(address, target.seed)
        kept |= {update: folder for update in folder.weights() if update not in kept}
    earlier: list[tuple[int, dict[str, Tensor]]] = [(u, {}) for u in sorted(kept) if u < target.update]
    return [
        (update, load_weights(kept[update].weights_path(update), address=kept[update].address))
        for update, _ in thinned(earlier, KEPT)
    ]


def _replay(
    recipe: Recipe,
    task: Task,
    targets: Sequence[Target],
    store: Store,
    block: Measuring,
    should_stop: Callable[[], bool],
) -> None:
    """Train again up to the last of the targets, and keep the weights of those that come out the same."""
    watch = _Replay(targets, store, block.address, should_stop)
    seeds = list(dict.fromkeys(target.seed for target in targets))
    try:
        train(recipe, task, seeds, device=block.device, observers=(watch,))
    except Interrupted:
        if not watch.done:
            raise


class _Replay(SilentObserver):
    """Observer that takes the weights of its targets and ends the training after the last of them."""

    def __init__(
        self, targets: Sequence[Target], store: Store, address: str, should_stop: Callable[[], bool]
    ) -> None:
        self._wanted = {(target.seed, target.update): target.train_loss for target in targets}
        self._updates = {target.update for target in targets}
        self._held: dict[tuple[int, int], dict[str, Tensor]] = {}
        self._store, self._address, self._should_stop = store, address, should_stop

    @property
    def done(self) -> bool:
        """Every target has been passed."""
        return not self._wanted

    def wants_weights(self, update: int) -> bool:
        return update in self._updates

    def on_live_weights(self, seed: int, update: int, tensors: dict[str, Tensor]) -> None:
        if (seed, update) in self._wanted:
            self._held[seed, update] = tensors

    def on_check(self, seed: int, check: Check) -> None:
        key = seed, check.update
        tensors = self._held.pop(key, None)
        if tensors is None:
            return
        stored = self._wanted.pop(key)
        both_nan = math.isnan(check.train_loss) and math.isnan(stored)
        if both_nan or math.isclose(check.train_loss, stored, rel_tol=ROUNDING):
            folder = self._store.folder(self._address, seed)
            path = folder.weights_path(check.update)
            save_weights(path, tensors, address=self._address, seed=seed, update=check.update)

    def should_stop(self) -> bool:
        return self.done or self._should_stop()
