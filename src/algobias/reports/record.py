"""What a report is made from: one finished (or interrupted) study as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from algobias.answer.answer import Answer
from algobias.answer.look import LookEntry
from algobias.errors import clean_text as clean_text
from algobias.json_values import JsonObject, clean
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
