"""What a report is made from: one finished (or interrupted) study as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from algobias.answer.answer import Answer
from algobias.answer.look import LookEntry
from algobias.errors import clean_text as clean_text
from algobias.json_values import JsonObject
from algobias.runs.run import Run


@dataclass(frozen=True)
class StudyRecord:
    """One study, ready to be shown.

    Everything is cleaned on the way in: characters that steer a terminal or are illegal in XML become
    U+FFFD, and numbers that are not finite become None (JSON has no NaN), but for those in the curves of
    ``runs``. A user's task may carry any name; no view has to think of it again.

    Attributes:
        result: The object that ``--json`` prints; every key may be absent.
        runs: All runs of all arms, with curves.
        differences: Recipe of the variant against the baseline's, one line each, in words.
        recipes: Arm -> its recipe as YAML.
        command: The command that makes the study again.
        environment: Name -> version or description of what it ran on.
        decisions: The looks as they are stored.
        answer: What the study answers, read from ``result``.
        looks: What was seen and decided at each look, read from ``decisions``.

    Raises:
        ValueError: The result or a look is not of their shape; names what is missing or misshapen.
    """

    result: JsonObject
    runs: Sequence[Run] = ()
    differences: list[str] = field(default_factory=list)
    recipes: dict[str, str] = field(default_factory=dict)
    command: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    decisions: list[JsonObject] = field(default_factory=list)
    answer: Answer = field(init=False)
    looks: tuple[LookEntry, ...] = field(init=False)

    def __post_init__(self) -> None:
        for name in ("result", "differences", "recipes", "command", "environment", "decisions"):
            object.__setattr__(self, name, clean(getattr(self, name)))
        runs = tuple(replace(run, arm=clean_text(run.arm)) for run in self.runs)
        object.__setattr__(self, "runs", runs)
        object.__setattr__(self, "answer", Answer.from_json(self.result))
        looks = tuple(LookEntry.from_json(look, "look") for look in self.decisions)
        object.__setattr__(self, "looks", looks)


def number_or_none(value: object) -> float | None:
    """A finite float, or None for anything that is not a finite number (text, NaN, bool, None)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def clean_object(data: Mapping[str, object]) -> dict[str, object]:
    """:func:`clean` of an object."""
    return {clean_text(str(key)): clean(item) for key, item in data.items()}


def clean(value: object) -> object:
    """Copy plain data with non-finite numbers as None and unprintable characters as U+FFFD."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return clean_object(value)
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return clean(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
