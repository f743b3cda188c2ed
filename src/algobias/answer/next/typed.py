"""What is typed next: a step, and commands about the study that a record is of."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from algobias.answer.answer import Answer

CARRIED = ("--store", "--data")
"""Options of a command that the next one needs as well."""

SWITCHES = ("--json", "--quiet", "-q", "--plan")
"""Options that say how an answer is shown; they are no part of the question."""

_IN_PYTHON = {
    "--most": "most={}",
    "--keep": 'keep="{}"',
    "--candidate": 'candidates=["{}"]',
    "--only": 'only=["{}"]',
}
"""How options of a control study are given in Python."""

_ID = re.compile("[0-9a-f]{4,}")
"""What may be the id of a study, or its beginning."""


class Commanded(Protocol):
    """An answer and the command that makes it again."""

    @property
    def answer(self) -> Answer:
        """What the study answers."""

    @property
    def command(self) -> str:
        """How it was asked for; empty where that is not known."""


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        what: In words.
        command: What to type, word by word; empty where nothing has to be typed.
    """

    what: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.command}" if self.command else self.what


def about(record: Commanded, verb: str, study: str | None = None, *more: str) -> str:
    """A command about a study of this record's store."""
    name = str(record.answer.study) if study is None else study
    if record.command.startswith("algobias."):
        pairs = zip(more[::2], more[1::2], strict=True)
        named = [f", {_IN_PYTHON[option].format(value)}" for option, value in pairs]
        return f'algobias.{verb}("{name}"{"".join(named)})'
    return carrying(record, "algobias", verb, name, *more)


def again(record: Commanded, *option: str, instead: bool = False) -> str:
    """The command of this record, with an option added, or set; empty where it was no command.

    Args:
        record: The record.
        option: Name and value.
        instead: The option is there at most once.
    """
    asked = words_of(record.command)
    if not asked or record.command.startswith("algobias."):
        return ""
    # What follows -- is somebody's own command.
    end = asked.index("--") if "--" in asked else len(asked)
    ours = [word for word in asked[:end] if word not in SWITCHES]
    if option and instead:
        ours = without(ours, option[0])
    return shlex.join([*ours, *option, *asked[end:]])


def repeated(record: Commanded) -> str:
    """Spell the command of a record so that it means the same tomorrow: the audit's id where ``last`` stood.

    Args:
        record: The record; the command of a study about no other one is left as it is.
    """
    audited, asked = record.answer.control_of or record.answer.explain_of, words_of(record.command)
    if audited is None or len(asked) < 2 or record.command.startswith("algobias."):
        return record.command
    for place, word in enumerate(asked[2:], 2):
        of_option = asked[place - 1].startswith("-") and asked[place - 1] not in SWITCHES
        if word == "last" and not of_option:
            return shlex.join([*asked[:place], audited, *asked[place + 1 :]])
    if any(_ID.fullmatch(word) for word in asked[2:]):
        return record.command
    return shlex.join([*asked[:2], audited, *asked[2:]])


def carrying(record: Commanded, *command: str) -> str:
    """A command with the store and the data folder of the one that made the record."""
    asked, kept = words_of(record.command), list[str]()
    if "--" in asked:  # what follows is somebody else's command
        asked = asked[: asked.index("--")]
    for place, word in enumerate(asked):
        name, equals, _ = word.partition("=")
        if name in CARRIED:
            kept += [word] if equals else asked[place : place + 2]
    return shlex.join([*command, *kept])


def words_of(command: str) -> list[str]:
    """Split a command as a shell does; no words where its quotes do not close."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def without(asked: Sequence[str], option: str) -> list[str]:
    """Leave an option and its value out of words."""
    kept, skip = list[str](), False
    for word in asked:
        if skip:
            skip = False
        elif word == option:
            skip = True
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return kept
