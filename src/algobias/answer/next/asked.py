"""The command that made a record, and those that follow from it: with an option more, of more seeds."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Protocol

from algobias.answer.answer import Answer

CARRIED = ("--store", "--data")
"""Options of a command that the next one needs as well."""

AS_GIVEN = "as given"
"""Where a tolerance comes from that somebody gave."""

SWITCHES = ("--json", "--quiet", "-q", "--plan")
"""Options that say how an answer is shown; they are no part of the question."""


class Commanded(Protocol):
    """An answer and the command that makes it again."""

    @property
    def answer(self) -> Answer:
        """What the study answers."""

    @property
    def command(self) -> str:
        """How it was asked for; empty where that is not known."""


def again(record: Commanded, *option: str, instead: bool = False) -> str:
    """Make the command of this record again, an option added, or set; empty where it was no command.

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
        ours = _without(ours, option[0])
    return shlex.join([*ours, *option, *asked[end:]])


def with_carried(record: Commanded, *command: str) -> str:
    """Make a command with the store and the data folder of the one that made the record."""
    asked, kept = words_of(record.command), list[str]()
    if "--" in asked:  # what follows is somebody else's command
        asked = asked[: asked.index("--")]
    for place, word in enumerate(asked):
        name, equals, _ = word.partition("=")
        if name in CARRIED:
            kept += [word] if equals else asked[place : place + 2]
    return shlex.join([*command, *kept])


def again_of_tables(record: Commanded, seeds: int | None = None) -> str:
    """Make the command of a comparison again, with the tolerance that was used, once it is known.

    Args:
        record: The record.
        seeds: Seeds of each arm that there will be; ``--seeds`` and ``--looks`` grow with them.
    """
    asked, tolerance = again(record), record.answer.tolerance
    words = words_of(asked)
    if (
        tolerance is not None
        and record.answer.tolerance_reason != AS_GIVEN
        and not _has(words, "--tolerance")
    ):
        words = _set(words, "--tolerance", f"{tolerance:g}")
    for option in ("--seeds", "--looks"):
        numbers = _numbers(words, option)
        if seeds is None or not numbers:
            continue
        if option == "--looks":
            more = [seeds] if seeds > max(numbers) else []
        else:
            first = max(numbers) + 1
            more = [*range(first, first + max(0, seeds - len(numbers)))]
        words = _set(words, option, ",".join(map(str, [*numbers, *more])))
    return shlex.join(words) if asked else ""


def _set(words: Sequence[str], option: str, value: str) -> list[str]:
    """Set an option, in front of where only names of files follow."""
    others = _without(words, option)
    end = others.index("--") if "--" in others else len(others)
    return [*others[:end], option, value, *others[end:]]


def _has(words: Sequence[str], option: str) -> bool:
    return any(word == option or word.startswith(f"{option}=") for word in words)


def _numbers(words: Sequence[str], option: str) -> list[int]:
    """Read the whole numbers of an option; none where it is not there."""
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == option:
            text = value if equals else "".join(words[place + 1 : place + 2])
            try:
                return [int(part) for part in text.split(",")]
            except ValueError:
                return []
    return []


def words_of(command: str) -> list[str]:
    """Split a command as a shell does; no words where its quotes do not close."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _without(asked: Sequence[str], option: str) -> list[str]:
    kept, skip = list[str](), False
    for word in asked:
        if skip:
            skip = False
        elif word == option:
            skip = True
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return kept
