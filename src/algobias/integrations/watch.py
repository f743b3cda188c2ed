"""What all callbacks do: sit inside of a training from its beginning to its end, and note its curve."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from algobias.attached.arm import is_ordered, watched
from algobias.attached.events import Applied, ProbeReading, Refused
from algobias.attached.levers.registry import read
from algobias.attached.metrics.taps import finite
from algobias.attached.orders import FitOrders, Orders
from algobias.attached.probed import check_probes
from algobias.errors import BadInput, unknown_name
from algobias.integrations.curve import Curve

if TYPE_CHECKING:
    from algobias.attached.attachment import Attachment
    from algobias.attached.journal import Notes


MOST_SEED = 2**31
"""Seeds of random vectors are smaller."""


class Options(TypedDict, total=False):
    """Options that every callback has.

    Attributes:
        log: File for the curve, a table that ``algobias compare`` reads; written anew at each evaluation, by
            the process of rank 0.
        fit_set: File of the training examples that the loss is taken on: kept there by the first training,
            used by all others, which makes their losses comparable. Without it each takes its own first ones.
        examples: How many of them.
        levers: Levers to inject, like ``sam:0.05``.
        probes: Coordinates to read at each evaluation, on the fit set: a preset, or probes by name.
    """

    log: str | os.PathLike[str]
    fit_set: str | os.PathLike[str]
    examples: int
    levers: Sequence[str]
    probes: str | Sequence[str]


class Watch:
    """Watch a training for a callback, or several, one after the other.

    Under ``algobias run`` its orders count: there the metric is handed on, and the options do nothing.

    Args:
        metric: Name of the test metric, as the library calls it.
        log: See :class:`Options`.
        fit_set: See :class:`Options`.
        examples: See :class:`Options`.
        levers: See :class:`Options`.
        probes: See :class:`Options`.

    Raises:
        BadInput: A lever that cannot be injected, a probe that there is not, no examples, no name.
    """

    def __init__(
        self,
        metric: str,
        *,
        log: str | os.PathLike[str] | None = None,
        fit_set: str | os.PathLike[str] | None = None,
        examples: int = 2000,
        levers: Sequence[str] = (),
        probes: str | Sequence[str] = (),
    ) -> None:
        if not isinstance(metric, str) or not metric:
            raise BadInput("metric", metric, "the name of the test metric, as it is logged")
        if isinstance(examples, bool) or not isinstance(examples, int) or examples < 1:
            raise BadInput("examples", examples, "a whole number of at least 1")
        if isinstance(levers, str):
            levers = (levers,)
        for spelling in levers:
            read(spelling)
        self.probes = (probes,) if isinstance(probes, str) else tuple(probes)
        if self.probes:
            check_probes(self.probes)
        self.metric = metric
        self.log = None if log is None else Path(log)
        self.fit_set = None if fit_set is None else Path(fit_set).absolute()
        self.examples, self.levers = examples, tuple(levers)
        self.seed = 0
        self._run: Attachment | None = None
        self._notes: Notes | None = None
        self._first = 0

    def begin(self) -> None:
        """Sit inside of the training that begins now."""
        import torch

        self.seed = torch.initial_seed()
        self._run, self._notes, self._first = watched(self._orders())

    def _orders(self) -> Orders:
        kept = self.fit_set if self.fit_set is not None and self.fit_set.is_file() else None
        keep = self.fit_set if kept is None else None
        fit = FitOrders(
            keep=None if keep is None else str(keep),
            use=None if kept is None else str(kept),
            examples=self.examples,
        )
        return Orders(
            events="",
            levers=self.levers,
            fit=fit,
            replay=True,
            metrics=False,
            probes=self.probes,
            probe_seed=self.seed % MOST_SEED,
        )

    def tell(self, values: Mapping[str, object], names: Sequence[str] = ()) -> None:
        """Hand on the test metric of an evaluation; before the first update there is nothing to tell.

        Args:
            values: All that was measured, by name.
            names: Names that the metric may go by; default: its own.

        Raises:
            BadInput: It is not among them, or no number.
        """
        run = self._run
        if run is None or not run.steps.updates:
            return
        name = next((name for name in names or (self.metric,) if name in values), None)
        if name is None:
            raise unknown_name("metric", self.metric, map(str, values))
        run.reported(finite(values[name], f"metric {name}"), None)
        self._write()

    def has(self, values: Mapping[str, object]) -> bool:
        """Whether the metric is among what was measured."""
        return self.metric in values

    def end(self) -> None:
        """Note how the training ended; what the process does afterwards is its own affair."""
        if self._run is not None and not is_ordered():
            self._run.training_ended()
            self._write()

    def _write(self) -> None:
        if self.log is not None and not is_ordered() and os.environ.get("RANK", "0") == "0":
            self.curve.write(self.log)

    @property
    def curve(self) -> Curve:
        """Training loss and test metric by update, so far."""
        events = [] if self._notes is None else self._notes.events[self._first :]
        return Curve.of(events, self.seed)

    @property
    def readings(self) -> list[dict[str, object]]:
        """What was read of each probe at each evaluation, with its ``update``; as ``Monitor`` writes it."""
        events = [] if self._notes is None else self._notes.events[self._first :]
        return [
            {"update": event.update, **json.loads(event.reading)}
            for event in events
            if isinstance(event, ProbeReading)
        ]

    @property
    def refused(self) -> dict[str, str]:
        """What could not be done in this training, and why."""
        events = [] if self._notes is None else self._notes.events[self._first :]
        return {event.what: event.why for event in events if isinstance(event, Refused)}

    @property
    def applied(self) -> dict[str, int]:
        """How often each injected lever has acted in this training, as last noted."""
        events = [] if self._notes is None else self._notes.events[self._first :]
        return {event.lever: event.count for event in events if isinstance(event, Applied)}
