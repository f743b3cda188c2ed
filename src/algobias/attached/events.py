"""Events: what happened inside of a run, written by its processes as it happens, read by who started it."""

from __future__ import annotations

import dataclasses
import json
import math
import time
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeVar

from algobias.errors import BadInput


@dataclass(frozen=True)
class Start:
    """A process has loaded torch.

    Attributes:
        pid: Its number.
        rank: Its rank among the processes of one run.
        argv: Its command line as Python has it.
        torch: Version of torch.
        threads: Threads torch computes with.
        parent: The attached process it was forked from; None: it was started anew.
    """

    kind: ClassVar[str] = "start"
    update: int
    pid: int
    rank: int
    argv: tuple[str, ...]
    torch: str
    threads: int
    parent: int | None = None


@dataclass(frozen=True)
class Metric:
    """The script has told a number to a logger.

    Attributes:
        name: As the script calls it.
        value: At full precision.
        source: To whom: ``transformers``, ``lightning``, ``wandb``, ``mlflow``, ``tensorboard``, ``trackio``,
            ``report``.
        step: What the script gave as the step; None: nothing.
    """

    kind: ClassVar[str] = "metric"
    update: int
    name: str
    value: float
    source: str
    step: float | None = None


@dataclass(frozen=True)
class TrainLoss:
    """The training loss at an evaluation.

    Attributes:
        value: Its mean over the examples.
        se: Standard error, where the examples are this run's own; None over the fit set that all runs share.
        examples: How many; None where the script reported the loss itself.
        fit_set: Hash of the examples; None where the script reported the loss itself.
        exact: Whether the examples are those of the fit set that was given.
        batches: How many passes hold the examples, where they are this run's own.
        shared: Examples in the given fit set, where passes of this run cannot take them and its own stand in.
    """

    kind: ClassVar[str] = "train_loss"
    update: int
    value: float
    se: float | None
    examples: int | None
    fit_set: str | None
    exact: bool
    batches: int | None = None
    shared: int | None = None


@dataclass(frozen=True)
class ProbeReading:
    """A coordinate of the bias was read at an evaluation, on the fit set.

    Attributes:
        probe: As spelled.
        value: The number; None: there is none.
        reading: All of the reading, as JSON.
        fit_set: Hash of the examples.
    """

    kind: ClassVar[str] = "reading"
    update: int
    probe: str
    value: float | None
    reading: str
    fit_set: str


@dataclass(frozen=True)
class Applied:
    """How often an injected lever has acted so far."""

    kind: ClassVar[str] = "applied"
    update: int
    lever: str
    count: int


@dataclass(frozen=True)
class Refused:
    """Something was not done, and the run goes on without it.

    Attributes:
        what: ``replay``, ``capture``, ``attach``, ``probes``, or a lever as spelled.
        why: In plain words.
    """

    kind: ClassVar[str] = "refused"
    update: int
    what: str
    why: str


@dataclass(frozen=True)
class Counters:
    """How training went so far.

    Attributes:
        lr: Learning rate of the main group at its last step, after levers.
        steps: Steps of all optimizers.
        skipped: Steps that a gradient scaler has left out.
        non_finite: Backward passes whose loss was not finite.
    """

    kind: ClassVar[str] = "counters"
    update: int
    lr: float | None
    steps: int
    skipped: int
    non_finite: int


@dataclass(frozen=True)
class End:
    """The process is about to end.

    Attributes:
        updates: Steps of its main optimizer.
        weights: SHA-256 of all parameters and buffers that were trained, in order; None: nothing was.
        reason: ``exit`` or ``stop_after``.
    """

    kind: ClassVar[str] = "end"
    update: int
    updates: int
    weights: str | None
    reason: str


Event: TypeAlias = Start | Metric | TrainLoss | ProbeReading | Applied | Refused | Counters | End
E = TypeVar("E", Start, Metric, TrainLoss, ProbeReading, Applied, Refused, Counters, End)

_KINDS: dict[str, type[Event]] = {
    cls.kind: cls for cls in (Start, Metric, TrainLoss, ProbeReading, Applied, Refused, Counters, End)
}


@dataclass(frozen=True)
class Process:
    """What one process wrote.

    Attributes:
        pid: Its number.
        events: In order.
        times: When each was written, on the clock of the machine that only goes forward; NaN: not noted.
    """

    pid: int
    events: tuple[Event, ...]
    times: tuple[float, ...] = ()

    def of(self, kind: type[E]) -> tuple[E, ...]:
        """Those of one kind."""
        return tuple(event for event in self.events if isinstance(event, kind))

    @property
    def rank(self) -> int:
        """Its rank among the processes of one run."""
        return next((start.rank for start in self.of(Start)), 0)

    @property
    def updates(self) -> int:
        """The last update it wrote of."""
        return max((event.update for event in self.events), default=0)


@dataclass(frozen=True)
class Events:
    """What all processes of a run wrote.

    Attributes:
        processes: In the order of their numbers.
    """

    processes: tuple[Process, ...] = field(default=())

    @property
    def main(self) -> Process | None:
        """The process that trained: of the lowest rank among those with the most updates.

        None where no process has loaded torch.
        """
        order = sorted(self.processes, key=lambda process: (-process.updates, process.rank, process.pid))
        trained = [process for process in order if process.updates]
        return min(trained, key=lambda process: process.rank) if trained else next(iter(order), None)

    def of(self, kind: type[E]) -> tuple[E, ...]:
        """Those of one kind, of all processes."""
        return tuple(event for process in self.processes for event in process.of(kind))


def as_line(event: Event) -> str:
    """An event as the line that is written, with its end and the time."""
    content = {"event": event.kind, "time": round(time.monotonic(), 4), **dataclasses.asdict(event)}
    return json.dumps(content, ensure_ascii=False) + "\n"


def read(folder: Path) -> Events:
    """Read what the processes of a run wrote, also while they write; a torn last line is left out.

    Args:
        folder: The one named in the orders; where it does not exist nothing was written.

    Raises:
        BadInput: A line that is no event, or a field that is missing or not what it must be.
    """
    files = sorted(folder.glob("events-*.jsonl"), key=lambda path: (len(path.name), path.name))
    return Events(tuple(_process(path) for path in files))


def _process(path: Path) -> Process:
    number = path.name.removeprefix("events-").removesuffix(".jsonl")
    if not number.isdecimal():
        raise BadInput("events", path.name, "a file named events-PID.jsonl")
    pairs = list(_events(path))
    return Process(int(number), tuple(event for event, _ in pairs), tuple(noted for _, noted in pairs))


def _events(path: Path) -> Iterator[tuple[Event, float]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BadInput("events", str(path), f"a readable file ({error})") from error
    # What follows the last line end was torn by a kill, or is being written.
    for place, line in enumerate(lines[:-1], start=1):
        if line.strip():
            yield _event(line, f"{path.name}, line {place}")


def _event(line: bytes, where: str) -> tuple[Event, float]:
    try:
        content = json.loads(line.decode("utf-8"))
    except ValueError as error:
        raise BadInput(where, line.decode("utf-8", "replace"), "an event as a JSON object") from error
    kind = _KINDS.get(content.pop("event", "")) if isinstance(content, dict) else None
    if kind is None:
        raise BadInput(where, line.decode("utf-8", "replace"), f"one of the events {', '.join(_KINDS)}")
    values: dict[str, Any] = {}  # checked field by field
    for name, annotation in typing.get_type_hints(kind).items():
        if typing.get_origin(annotation) is ClassVar:
            continue
        values[name] = _value(content.get(name), annotation, f"{where}, {name}")
    noted = content.get("time")
    return kind(**values), float(noted) if isinstance(noted, int | float) else math.nan


def _value(value: object, annotation: object, where: str) -> object:
    options = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    for option in options:
        if option is type(None) and value is None:
            return None
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if option in (int, bool, str) and type(value) is option:
            return value
        if typing.get_origin(option) is tuple and isinstance(value, list):
            return tuple(str(item) for item in value)
    raise BadInput(where, value, str(getattr(annotation, "__name__", annotation)))
