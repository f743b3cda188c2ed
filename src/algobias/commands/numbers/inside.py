"""What sits inside of a run: the orders it is given, and what its events say of the run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from algobias.answer.measured.reading import Reading
from algobias.attached.events import (
    Applied,
    Counters,
    Events,
    Metric,
    ProbeReading,
    Process,
    Refused,
    Start,
    TrainLoss,
    read,
)
from algobias.attached.orders import SCHEMA, FitOrders, Orders
from algobias.commands.numbers.curves import Point
from algobias.errors import BadInput
from algobias.inference.statistics import t_quantile
from algobias.jobs.job import EVENTS
from algobias.json_values import JsonObject

NORMAL = 1.96
"""Standard errors that an interval of 95 % reaches where they are known exactly."""

EVALUATIONS = ("eval", "val", "test", "dev", "valid", "validation")
"""What the name of a metric of an evaluation begins with, or has as a word."""


def orders_json(orders: Orders) -> JsonObject:
    """Write orders as plain data."""
    plain: JsonObject = asdict(orders)
    plain["levers"], plain["probes"] = list(orders.levers), list(orders.probes)
    return {"schema": SCHEMA, **plain}


def orders_for(
    folder: Path,
    *,
    seed: int | None,
    levers: Sequence[str],
    fit: FitOrders | None,
    stop_after: int | None = None,
    null_control: bool = False,
    probes: Sequence[str] = (),
    probe_seed: int = 0,
) -> Orders:
    """Say what is wanted inside of a run.

    Args:
        folder: The folder of the run.
        seed: Offset of the seeds that the script sets; None: its command has the seed.
        levers: What is injected.
        fit: Which examples the training loss is taken on; None: none.
        stop_after: End after so many updates; None: never.
        null_control: Take every gradient twice.
        probes: What is read at evaluations, as spelled; only where there is a training loss.
        probe_seed: Seed of the random vectors of probes.
    """
    return Orders(
        events=str(folder / EVENTS),
        seed=seed,
        levers=tuple(levers),
        fit=fit,
        replay=fit is not None,
        null_control=null_control,
        metrics=True,
        stop_after=stop_after,
        probes=() if fit is None else tuple(probes),
        probe_seed=probe_seed,
    )


@dataclass(frozen=True)
class Told:
    """What the events of a run say.

    Attributes:
        events: All of them.
    """

    events: Events

    @classmethod
    def of(cls, folder: Path) -> Told:
        """Read what a run wrote."""
        return cls(read(folder / EVENTS))

    @property
    def main(self) -> Process | None:
        """The process that trained."""
        return self.events.main

    @property
    def updates(self) -> int:
        """Updates made."""
        return 0 if self.main is None else self.main.updates

    @property
    def refusals(self) -> tuple[Refused, ...]:
        """What was not done."""
        return () if self.main is None else self.main.of(Refused)

    @property
    def start(self) -> Start | None:
        """How the process that trained began."""
        begun = () if self.main is None else self.main.of(Start)
        return begun[0] if begun else None

    def rates(self) -> list[float]:
        """Learning rates as they were noted, in order."""
        noted = () if self.main is None else self.main.of(Counters)
        return [event.lr for event in noted if event.lr is not None]

    @property
    def counters(self) -> Counters | None:
        """How training went by the end."""
        noted = () if self.main is None else self.main.of(Counters)
        return noted[-1] if noted else None

    def readings(self) -> dict[tuple[int, str], Reading]:
        """Coordinates that were read in the process that trained, by update and probe.

        Raises:
            BadInput: A reading that is none.
        """
        noted = () if self.main is None else self.main.of(ProbeReading)
        readings: dict[tuple[int, str], Reading] = {}
        for event in noted:
            try:
                readings[event.update, event.probe] = Reading.from_json(json.loads(event.reading))
            except (LookupError, TypeError, ValueError) as error:
                raise BadInput("events", event.reading, f"a reading ({error})") from error
        return readings

    def times_applied(self, lever: str) -> int:
        """How often an injected lever acted, in the process that trained."""
        noted = () if self.main is None else self.main.of(Applied)
        return max((event.count for event in noted if event.lever == lever), default=0)

    def refusal(self, what: str) -> str | None:
        """Why something was not done, or None."""
        return next((event.why for event in self.refusals if event.what == what), None)

    def timed_losses(self) -> list[Point]:
        """Training losses that can be compared, with their updates, times and standard errors.

        Those on the shared examples, or reported by the script; where there are none, those on examples of
        the run's own that stand in for them.
        """
        main = self.main
        if main is None:
            return []
        told = [
            (event, noted)
            for event, noted in zip(main.events, main.times, strict=True)
            if isinstance(event, TrainLoss)
        ]
        points = [
            Point(event.update, event.value, noted)
            for event, noted in told
            if event.exact or event.fit_set is None
        ]
        if points:
            return points
        errors = [(event, noted, error_of(event)) for event, noted in told]
        return [
            Point(event.update, event.value, noted, error)
            for event, noted, error in errors
            if error is not None
        ]

    def losses(self) -> list[TrainLoss]:
        """Training losses that can be compared: on the shared examples, or reported by the script."""
        noted = () if self.main is None else self.main.of(TrainLoss)
        return [event for event in noted if event.exact or event.fit_set is None]

    @property
    def incomplete(self) -> bool:
        """A loss was taken before the fit set, which this run kept, was complete."""
        noted = () if self.main is None else self.main.of(TrainLoss)
        return any(not event.exact and event.fit_set is not None for event in noted)

    @property
    def own_examples(self) -> float | None:
        """Standard error of the last loss, where it is on stand-ins of the run's own; or None."""
        points = self.timed_losses()
        return points[-1].error if points and points[-1].error else None

    def logged(self) -> list[Metric]:
        """Numbers that the script handed to loggers, in every process."""
        return list(self.events.of(Metric))

    def points(self, name: str) -> list[Point]:
        """Read one logged number, from whichever logger had it first."""
        events = [event for event in self.logged() if event.name == name]
        sources = dict.fromkeys(event.source for event in events)
        source = next(iter(sources), None)
        return [Point(event.update, event.value) for event in events if event.source == source]

    def names(self) -> list[str]:
        """Names of numbers that look like those of an evaluation, else of all."""
        every = list(dict.fromkeys(event.name for event in self.logged() if math.isfinite(event.value)))
        return [name for name in every if _of_evaluation(name)] or every


def error_of(loss: TrainLoss) -> float | None:
    """Standard error of a loss on a run's own examples, as the loss on those that all runs share.

    Both are samples of the training data, so that the difference of the two means has the variance
    ``s^2 / own + s^2 / shared``. From few batches the error is itself uncertain: it is widened as Student's
    t is at 95 %.

    Args:
        loss: A training loss.

    Returns:
        None where the examples stand in for no others, or are one batch.
    """
    own, shared, batches = loss.examples, loss.shared, loss.batches
    if loss.exact or not own or not shared or not batches or batches < 2 or loss.se is None:
        return None
    return loss.se * math.sqrt(1 + own / shared) * t_quantile(0.025, batches - 1) / NORMAL


def _of_evaluation(name: str) -> bool:
    words = name.replace("/", "_").replace("-", "_").replace(".", "_").lower().split("_")
    return any(word in EVALUATIONS for word in words)


RUNTIME = (
    "runtime",
    "samples_per_second",
    "steps_per_second",
    "epoch",
    "step",
    "time",
    "lr",
    "learning_rate",
)
"""Ends of names that are no measure of how good a model is."""


def the_metric(told: Told) -> str:
    """Choose the number that is the test metric: what the script reports as it, else the only one of an
    evaluation that it logs.

    Args:
        told: A finished run of the baseline.

    Raises:
        BadInput: None, or several: a question with the candidates.
    """
    reported = next((event.name for event in told.logged() if event.source == "report"), None)
    if reported is not None:
        return reported
    names = [name for name in told.names() if not name.lower().endswith(RUNTIME)]
    if len(names) == 1:
        return names[0]
    if not names:
        raise BadInput(
            "--metric",
            "auto",
            "a script that logs a metric (transformers, Lightning, wandb, mlflow, TensorBoard, trackio, "
            "algobias.report); this one logs none: say where it is, like --metric 'stdout:val loss (\\S+)'",
        )
    raise BadInput("--metric", "auto", "one of the numbers it logs: " + ", ".join(f"auto:{n}" for n in names))
