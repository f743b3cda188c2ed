"""The command of a comparison again: of more seeds, with the tolerance that was used."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from algobias.answer.next.lengths import values_of
from algobias.answer.next.typed import SWITCHES, Commanded, again, without, words_of

NEW_RUNS = "NEW_RUNS"
"""Stands for logs that are still to be made."""

COLUMNS = "--columns"

_OF_TABLES = "--lower-is-better --alters-data --alters-loss --decays --unpaired --as-is --one-run"
_SWITCHES = (*SWITCHES, *_OF_TABLES.split())
"""Options of a comparison that have no value."""

AS_GIVEN = "as given"
"""Where a tolerance comes from that somebody gave."""

AS_BESIDE = "as compare.yaml says"
"""Where a tolerance comes from that stands in the file beside the baseline's table."""


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
        and record.answer.tolerance_reason not in (AS_GIVEN, AS_BESIDE)
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


def of_new_runs(asked: str) -> str:
    """Put a placeholder for new runs where a comparison names the variant.

    Args:
        asked: The command.
    """
    words = words_of(asked)
    end = words.index("--") if "--" in words else len(words)
    places, skip = list[int](), False
    for place, word in enumerate(words[:end]):
        if skip or place < 2:
            skip = False
        elif word.startswith("-") and word != "-":
            skip = "=" not in word and word not in _SWITCHES
        else:
            places.append(place)
    places += range(end + 1, len(words))
    if len(places) != 2:
        return asked
    words[places[1]] = NEW_RUNS
    return shlex.join(words)


def doubted_columns(doubt: str) -> str:
    """Read from a doubt about columns what ``--columns`` would say to settle it; else nothing."""
    _, option, rest = doubt.rpartition(f"{COLUMNS} ")
    told = words_of(rest)
    return told[0] if option and len(told) == 1 else ""


def with_columns(asked: str, columns: str) -> str:
    """Add to what a comparison says of columns.

    Args:
        asked: The command.
        columns: ``role=column`` pairs.
    """
    words = words_of(asked)
    before = [text for text in values_of(words, COLUMNS) if text]
    return shlex.join(_set(words, COLUMNS, ",".join([*before, columns])))


def _set(words: Sequence[str], option: str, value: str) -> list[str]:
    """Set an option, in front of where only names of files follow."""
    others = without(words, option)
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
