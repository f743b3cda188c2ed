"""From moments of runs to jobs for the worker processes, and back to the readings they stored."""

from __future__ import annotations

from collections.abc import Sequence

from algobias.answer.measured.reading import Reading
from algobias.coordinates.measuring import Measuring, Target, kept_folder, stored_reading
from algobias.coordinates.moments import Moment
from algobias.kept.archive import Place
from algobias.kept.store import Store
from algobias.probes.base import Probe
from algobias.running.trainer import Trainer

STACK = 4
"""Replays are not divided into stacks of fewer seeds."""


class Targets:
    """From moments to what worker processes measure, and back to what they stored.

    Args:
        trainer: Has the runs.
        decays: Runs of different lengths have different schedules.
    """

    def __init__(self, trainer: Trainer, decays: bool) -> None:
        self.trainer, self.decays = trainer, decays
        self.store: Store = trainer.store
        self.places: dict[tuple[str, int], list[Place]] = {}
        for place in trainer.places:
            self.places.setdefault((place.arm, place.replicate), []).append(place)

    def place(self, moment: Moment) -> Place:
        """Where the moment's run lies."""
        known = self.places[moment.arm, moment.replicate]
        return next(place for place in known if place.length == moment.length)

    def of(self, moment: Moment) -> tuple[str, Target]:
        """Address and target of a moment."""
        own = self.place(moment)
        # Where the rate is constant, a run that was gone on with begins with the shorter one.
        others = [] if self.decays else self.places[moment.arm, moment.replicate]
        addresses = dict.fromkeys([own.address, *(place.address for place in others)])
        target = Target(own.seed, moment.update, moment.train_loss, tuple(addresses))
        return own.address, target

    def kept(self, moment: Moment) -> bool:
        """Whether the weights are there."""
        return kept_folder(self.store, self.of(moment)[1]) is not None

    def blocks(self, moments: Sequence[Moment], probes: Sequence[Probe]) -> list[Measuring]:
        """Shared out over processes, longest first: replays of a recipe together, the rest in pieces."""
        workers = max(1, self.trainer.executor.workers)
        grouped: dict[tuple[str, str, bool], list[Target]] = {}
        for moment in moments if probes else ():
            address, target = self.of(moment)
            key = address, moment.arm, kept_folder(self.store, target) is None
            targets = grouped.setdefault(key, [])
            if target not in targets:
                targets.append(target)
        found = []
        for (address, arm, again), targets in grouped.items():
            pieces = max(1, min(workers, len(targets) // STACK)) if again else min(len(targets), 2 * workers)
            for piece in range(pieces):
                found.append(self._block(arm, address, tuple(targets[piece::pieces]), probes))
        return sorted(found, key=lambda block: -max(target.update for target in block.targets))

    def _block(
        self, arm: str, address: str, targets: tuple[Target, ...], probes: Sequence[Probe]
    ) -> Measuring:
        task = self.trainer.arms.task
        return Measuring(
            arm=arm,
            task=task.text or task.name,
            fingerprint=task.fingerprint(),
            address=address,
            targets=targets,
            probes=tuple(probe.spelling() for probe in probes),
            revisions=tuple(probe.revision for probe in probes),
            device=self.trainer.arms.spec.device,
        )

    def stored(self, moments: Sequence[Moment], probes: Sequence[Probe]) -> dict[tuple[Moment, str], Reading]:
        """Readings by moment and probe, all of which are there."""
        found: dict[tuple[Moment, str], Reading] = {}
        for moment in moments:
            address, target = self.of(moment)
            for probe in probes:
                name = probe.spelling()
                reading = stored_reading(self.store, address, target, probe)
                if reading is None:
                    raise RuntimeError(f"{name} of run {address[:12]} is not stored after measuring")
                found[moment, name] = reading
        return found
