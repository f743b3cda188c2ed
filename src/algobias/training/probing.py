"""Readings during a training of our own loop: an observer, with the same code as afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor

from algobias.probes.base import Probe
from algobias.probes.cadence import Cadence
from algobias.probes.measure import take
from algobias.probes.monitor import KEPT, Measured, keys_of, thinned
from algobias.probes.registry import parse_many
from algobias.probes.subject import Meter, Subject
from algobias.recipe import Recipe
from algobias.runs.observer import SilentObserver
from algobias.tasks.task import Task
from algobias.training.device import exact_arithmetic
from algobias.training.subjects import put_into, subject_of, training_of


class Probing(SilentObserver):
    """Observer that measures every run while it is trained.

    The weights measured are those that the run would be evaluated with. Every run is measured at its first
    update, then at every update divisible by k (``every=k``: also the same after a run is resumed), or as
    often as a share of the time allows. Measuring has a network of its own: the training cannot be disturbed.

    Example:
        >>> from algobias.tasks.registry import load_task
        >>> from algobias.training.loop import train
        >>> task = load_task("digits")
        >>> recipe = task.recipe().edit(budget={"updates": 4})
        >>> probing = Probing(task, recipe, "weight_norm", cadence="every=2")
        >>> _ = train(recipe, task, [0], observers=[probing])
        >>> [measured.update for measured in probing.readings[0]]
        [1, 2, 4]

    Args:
        task: The task that is trained.
        recipe: The recipe that is trained.
        probes: A preset, or probes by name.
        cadence: ``every=500``, ``2%``, or a :class:`~algobias.probes.cadence.Cadence`.
        examples: How many training examples are read, see :func:`~algobias.training.subjects.subject_of`.
        device: Where to measure.
        warm: Start every measurement of a run from where the last one ended, as far as a probe can.
        sink: Told the seed and the readings of every moment.

    Attributes:
        readings: By seed, in order.

    Memory: one network, one batch of the examples read, and for each seed its initial weights, what probes
    keep, and up to 12 earlier weights where a probe needs a history.

    Raises:
        BadInput: Unknown probes, a bad cadence.
    """

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        probes: str | Sequence[str | Probe] = "cheap",
        *,
        cadence: str | Cadence = "2%",
        examples: int | Literal["all"] | None = None,
        device: str = "cpu",
        warm: bool = True,
        sink: Callable[[int, Measured], None] | None = None,
    ) -> None:
        self.task, self.recipe, self.probes = task, recipe, parse_many(probes)
        self.cadence = Cadence.parse(cadence) if isinstance(cadence, str) else cadence
        self.readings: dict[int, list[Measured]] = {}
        self._examples, self._device, self._sink = examples, device, sink
        self._remembers = any("history" in probe.card.needs for probe in self.probes)
        self._starts_warm = warm
        self._subject: Subject | None = None
        self._runs: dict[int, _Run] = {}
        self._asked = 0

    def wants_weights(self, update: int) -> bool:
        """Whether measuring is due."""
        self.cadence.begin()
        if self.cadence.every is not None:
            return update == 1 or update % self.cadence.every == 0
        if update <= self._asked:  # runs that are not stacked come one after the other
            self.cadence.restart()
        self._asked = update
        return self.cadence.due(update)

    def on_live_weights(self, seed: int, update: int, tensors: dict[str, Tensor]) -> None:
        """Measure."""
        start = time.perf_counter()
        subject = self._about(seed, update, tensors)
        with exact_arithmetic(subject.device):
            readings = tuple(take(subject, self.probes))
        if self._remembers:
            run = self._runs[seed]
            run.history = thinned([*run.history, (update, tensors)], KEPT)
        self.cadence.done(update, time.perf_counter() - start)
        measured = Measured(update, self.cadence.elapsed, readings, keys_of(self.probes))
        self.readings.setdefault(seed, []).append(measured)
        if self._sink is not None:
            self._sink(seed, measured)

    def _about(self, seed: int, update: int, tensors: dict[str, Tensor]) -> Subject:
        if self._subject is None or seed not in self._runs:
            made = subject_of(
                self.task, self.recipe, tensors, seed=seed, examples=self._examples, device=self._device
            )
            assert made.initial is not None
            self._runs[seed] = _Run(dict(made.initial), self._starts_warm)
            self._subject = self._subject or made
        put_into(self._subject.model, tensors, f"update {update}")
        run = self._runs[seed]
        return replace(
            self._subject,
            training=training_of(self.task, self.recipe, update),
            initial=run.initial,
            history=tuple(run.history),
            updates=update,
            warm=run.warm,
            meter=Meter(),
            memo={},
        )


class _Run:
    """What is kept of one run between its measurements."""

    def __init__(self, initial: dict[str, Tensor], warm: bool) -> None:
        self.initial = initial
        self.history: list[tuple[int, dict[str, Tensor]]] = []
        self.warm: dict[str, Any] | None = {} if warm else None
