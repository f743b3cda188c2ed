"""Orders: what the process that starts a command wants of the processes it starts, as a JSON file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from algobias.errors import BadInput

SCHEMA = 1
VARIABLE = "ALGOBIAS_ATTACH"
"""The environment variable that names the file."""

ARMED = "armed"
"""Name of the empty file beside the events that a process makes as it finds orders, with torch or not."""


@dataclass(frozen=True)
class FitOrders:
    """Which training examples the loss is taken on.

    Attributes:
        keep: File that the first backward passes of this run are kept in; None: nowhere.
        use: File of kept passes whose inputs take the place of this run's own; None: its own are used.
        examples: How many examples at least are kept, as far as training has that many.
    """

    keep: str | None = None
    use: str | None = None
    examples: int = 2000


@dataclass(frozen=True)
class Orders:
    """What is to be done inside of a run.

    Attributes:
        events: Absolute path of the folder that events are written to.
        seed: Added to the seeds that the script sets; seeds the global generators at their import too. None:
            seeds are left alone.
        levers: What to inject, as spelled on the command line.
        fit: Which examples the training loss is taken on; None: no training loss.
        replay: Take the training loss at evaluations.
        null_control: Take the gradient of every update a second time, at the same weights.
        metrics: Listen to what the script tells its loggers.
        stop_after: End the process after so many updates; None: never.
        probes: Probes to read, as spelled on the command line.
        probe_seed: Seed of their random vectors: independent over runs, the same in both arms of a seed.
    """

    events: str
    seed: int | None = None
    levers: tuple[str, ...] = ()
    fit: FitOrders | None = None
    replay: bool = False
    null_control: bool = False
    metrics: bool = True
    stop_after: int | None = None
    probes: tuple[str, ...] = ()
    probe_seed: int = 0

    def write(self, path: Path) -> None:
        """Write them to a file, whole or not at all."""
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_text(json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1), encoding="utf-8")
        beside.replace(path)


def read_orders(path: Path) -> Orders:
    """Read a file of orders.

    Raises:
        BadInput: The file cannot be read, or a field is not what it must be.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput("orders", str(path), f"a readable JSON file ({error})") from error
    if not isinstance(content, dict):
        raise BadInput("orders", content, "an object")
    if content.get("schema") != SCHEMA:
        raise BadInput("orders.schema", content.get("schema"), str(SCHEMA))
    fit = content.get("fit")
    return Orders(
        events=_folder(content.get("events")),
        seed=_whole("seed", content.get("seed")),
        levers=_texts("levers", content.get("levers", [])),
        fit=None if fit is None else _fit(fit),
        replay=_switch("replay", content.get("replay", False)),
        null_control=_switch("null_control", content.get("null_control", False)),
        metrics=_switch("metrics", content.get("metrics", True)),
        stop_after=_whole("stop_after", content.get("stop_after"), least=1),
        probes=_texts("probes", content.get("probes", [])),
        probe_seed=_whole("probe_seed", content.get("probe_seed", 0)) or 0,
    )


def _folder(value: object) -> str:
    if not isinstance(value, str) or not os.path.isabs(value):
        raise BadInput("orders.events", value, "an absolute path")
    return value


def _whole(field: str, value: object, least: int | None = None) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or (least is not None and value < least):
        raise BadInput(
            f"orders.{field}", value, "a whole number" if least is None else f"{least} or more, or null"
        )
    return value


def _switch(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadInput(f"orders.{field}", value, "true or false")
    return value


def _texts(field: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadInput(f"orders.{field}", value, "a list of texts")
    return tuple(value)


def _path(field: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise BadInput(f"orders.fit.{field}", value, "a path, or null")
    return value


def _fit(value: object) -> FitOrders:
    if not isinstance(value, dict):
        raise BadInput("orders.fit", value, "an object, or null")
    examples = _whole("fit.examples", value.get("examples", 2000), least=1)
    return FitOrders(
        keep=_path("keep", value.get("keep")),
        use=_path("use", value.get("use")),
        examples=2000 if examples is None else examples,
    )
