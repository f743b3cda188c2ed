"""Monitor: readings during anybody's training loop, without a trace in the training."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from algobias.errors import BadInput, unknown_name
from algobias.lazy import no_grad
from algobias.probes.base import Probe
from algobias.probes.cadence import Cadence
from algobias.probes.measure import MODULE, check_loss, take
from algobias.probes.optimizers import training_from
from algobias.probes.passes.batches import lasting
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.registry import parse_many
from algobias.probes.subject import Loss, Subject
from algobias.tasks.checks import check_module

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

EVERY = 500
"""Updates between measurements where nothing else is said."""

KEPT = 12
"""Earlier weights kept for probes that need a history."""

OWN = {"model", "batches", "loss", "updates", "history", "warm", "meter", "memo"}
"""Fields of a subject that the monitor fills in."""

Sink = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Measured:
    """The readings of one moment.

    Attributes:
        update: Updates made.
        elapsed: Seconds since the first step that was watched.
        readings: One for each probe.
        keys: What a tracker calls each of them, ``curvature/top_eigenvalue``; empty: as they are spelled.
    """

    update: int
    elapsed: float
    readings: tuple[Reading, ...]
    keys: tuple[str, ...] = ()

    def plain(self) -> dict[str, float]:
        """One flat dict of numbers for a tracker: ``update``, ``curvature/top_eigenvalue``,
        ``curvature/top_eigenvalue/low``, ``.../high``; what has no finite value is left out."""
        numbers: dict[str, float] = {"update": self.update}
        for key, one in zip(self.keys or [one.probe for one in self.readings], self.readings, strict=True):
            for end, value in (("", one.value), ("/low", one.low), ("/high", one.high)):
                if value is not None and math.isfinite(value):
                    numbers[key + end] = value
        return numbers

    def lines(self) -> str:
        """One JSON line for each reading."""
        about = {"update": self.update, "elapsed": self.elapsed}
        return "".join(json.dumps({**about, **one.to_json()}) + "\n" for one in self.readings)


class Monitor:
    """Measures a network while it is trained, when it is due; call :meth:`step` after every update.

    A training with a monitor gives the same weights, to the last bit, as one without: parameters, buffers,
    gradients, modes, hooks and random states are as they were after every measurement, which is checked.
    Consecutive readings start from where the last one ended, as far as a probe can.

    Example:
        >>> import torch
        >>> net = torch.nn.Linear(2, 1)
        >>> data = [(torch.eye(2), torch.zeros(2, 1))]
        >>> def mse(model, batch): return (model(batch[0]) - batch[1]).square().mean()
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> monitor = Monitor(net, data, mse, ["weight_norm"], every=2, optimizer=optimizer)
        >>> for update in range(1, 5):
        ...     mse(net, data[0]).backward()
        ...     optimizer.step()
        ...     optimizer.zero_grad()
        ...     found = monitor.step(update)
        >>> [measured.update for measured in monitor.readings]
        [1, 2, 4]

    Args:
        model: The network that is being trained.
        batches: What to measure on, in all measurements: a list, or a data loader (one that shuffles is
            read into a list). Some hundred to some thousand training examples are usual.
        loss: ``loss(model, batch)``, a scalar.
        probes: A preset, or probes by name.
        every: Updates between measurements (500 where neither this nor ``share`` is given).
        share: Instead: the largest share of wall time that measuring may take, like 0.02.
        optimizer: Torch's; stability probes then see its present learning rate, momentum and second moment.
        batch: Batch size of the training, for stability probes.
        sink: Called with a flat dict of numbers after each measurement, for trackers.
        file: Appended to: one JSON line for each reading.
        about: Further fields of :class:`~algobias.probes.subject.Subject`. ``initial`` is a copy of the
            weights at this moment where it is not given (None: no such copy).

    Attributes:
        readings: What has been measured, in order.

    Memory: one copy of the parameters for ``initial``, up to 12 more where a probe needs a history, what
    probes keep between readings, and what the probes need while they measure.

    Raises:
        BadInput: Unknown probes, both or bad cadences, batches that are none; layers without weights yet.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[Any],
        loss: Loss,
        probes: str | Sequence[str | Probe] = "cheap",
        *,
        every: int | None = None,
        share: float | None = None,
        optimizer: Optimizer | None = None,
        batch: int | None = None,
        sink: Sink | None = None,
        file: str | PathLike[str] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        **about: Any,
    ) -> None:
        check_module(model, MODULE)
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.batches = lasting(batches)
        self.probes = parse_many(probes)
        self.cadence = Cadence(EVERY if every is None and share is None else every, share, clock)
        self.batch, self.sink, self.file = batch, sink, None if file is None else Path(file)
        known = {field.name for field in fields(Subject)} - OWN
        for name in about:
            if name in OWN:
                raise BadInput(name, type(about[name]).__name__, "nothing: the monitor sees to it itself")
            if name not in known:
                raise unknown_name("monitor", name, known)
        self.about = {"initial": _weights(model), **about}
        self.readings: list[Measured] = []
        self._clock = clock
        self._warm: dict[str, Any] = {}
        self._history: list[tuple[int, dict[str, Tensor]]] = []

    def step(self, update: int) -> list[Reading] | None:
        """Measure where it is due.

        Args:
            update: Updates made so far.

        Returns:
            The readings, or None where nothing was due.

        What a probe raises ends no training: its reading is ``unavailable``, with the reason.

        Raises:
            BadInput: At the first measurement: a pattern in ``parameters`` that fits nothing, a loss that
                gives more than one number. A file that cannot be written. A probe of one's own has changed
                the network in a way that cannot be put back: the training is no longer the same.
            Altered: So has a probe of ours: a defect.
        """
        if not self.cadence.due(update):
            return None
        start = self._clock()
        subject = self._subject(update)
        if not self.readings:
            check_loss(subject)
            with suppress(Unavailable):  # the readings tell it
                subject.trained  # noqa: B018 - raises where a pattern fits nothing
        readings = take(subject, self.probes, strict=False)
        if any("history" in probe.card.needs for probe in self.probes):
            self._history = thinned([*self._history, (update, _weights(self.model))], KEPT)
        measured = Measured(update, self.cadence.elapsed, tuple(readings), keys_of(self.probes))
        self.readings.append(measured)
        self._tell(measured)
        self.cadence.done(update, self._clock() - start)
        return readings

    def series(self, probe: str) -> list[tuple[int, float]]:
        """(update, value) of one probe, as it was spelled, where there was a value.

        Raises:
            BadInput: A probe that this monitor does not read.
        """
        names = [one.spelling() for one in self.probes]
        if probe not in names:
            raise unknown_name("probe of this monitor", probe, names)
        pairs = [(one.update, reading) for one in self.readings for reading in one.readings]
        return [(u, r.value) for u, r in pairs if r.probe == probe and r.value is not None]

    def state_dict(self) -> dict[str, Any]:
        """What a training that is resumed needs to go on measuring as before: numbers and tensors.

        Readings already taken are not part of it: they are in ``readings``, the file and the sink.
        """
        return {
            "cadence": self.cadence.state_dict(),
            "initial": self.about["initial"],
            "history": list(self._history),
            "warm": dict(self._warm),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`, which may have been through ``torch.save``.

        Raises:
            BadInput: It is none; the monitor is as it was.
        """
        allowed = "what state_dict() of a monitor gave: a dict with cadence, initial, history and warm"
        if not isinstance(state, Mapping):
            raise BadInput("state", state, allowed)
        kinds = {"cadence": Mapping, "initial": Mapping | None, "history": list | tuple, "warm": Mapping}
        for key, kind in kinds.items():
            if key not in state:
                raise BadInput("state", f"without {key}", allowed)
            if not isinstance(state[key], kind):
                raise BadInput(f"state[{key!r}]", type(state[key]).__name__, allowed)
        self.cadence.load_state_dict(state["cadence"])
        self.about["initial"] = state["initial"]
        self._history, self._warm = list(state["history"]), dict(state["warm"])

    def _subject(self, update: int) -> Subject:
        subject = Subject(
            self.model,
            self.batches,
            self.loss,
            updates=update,
            history=tuple(self._history),
            warm=self._warm,
            **self.about,
        )
        if self.optimizer is None or "training" in self.about:
            return subject
        try:
            return replace(subject, training=training_from(self.optimizer, subject.trained, self.batch))
        except Unavailable as error:
            return replace(subject, unknown={**subject.unknown, "training": str(error)})

    def _tell(self, measured: Measured) -> None:
        if self.sink is not None:
            self.sink(measured.plain())
        if self.file is not None:
            try:
                with open(self.file, "a", encoding="utf-8") as opened:
                    opened.write(measured.lines())
            except OSError as error:
                raise BadInput("file", str(self.file), f"a file that can be written to ({error})") from error


def keys_of(probes: Sequence[Probe]) -> tuple[str, ...]:
    """What a tracker calls the readings of some probes: family and name, with the file only where it must."""
    labels = [probe.label() for probe in probes]
    names = [
        label if labels.count(label) == 1 else probe.spelling()
        for label, probe in zip(labels, probes, strict=True)
    ]
    return tuple(f"{probe.card.family}/{name}" for probe, name in zip(probes, names, strict=True))


def thinned(
    history: Sequence[tuple[int, dict[str, Tensor]]], most: int
) -> list[tuple[int, dict[str, Tensor]]]:
    """At most ``most`` moments of a history, the first and last among them, about evenly spaced in log time.

    Args:
        history: (update, weights), in order.
        most: How many to keep, at least 2.
    """
    kept = list(history)
    while len(kept) > most:
        logs = [math.log(max(update, 1)) for update, _ in kept]
        # The one whose neighbours are closest to each other is missed least.
        place = min(range(1, len(kept) - 1), key=lambda i: logs[i + 1] - logs[i - 1])
        del kept[place]
    return kept


@no_grad
def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}
