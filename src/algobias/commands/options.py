"""Options of a command as its words: read, replaced, appended."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from algobias.errors import BadInput

ARGS = "{args}"
"""Where new options go in a command; without it, to its end."""

_NUMBER = re.compile(r"-\.?\d")
_ASSIGNED = re.compile(r"[A-Za-z_+~][\w.@/+-]*=")
_SUFFIX = re.compile(r"\w\.[A-Za-z]\w*$")


@dataclass(frozen=True)
class Option:
    """One option as it is typed.

    Attributes:
        name: ``--lr``, ``-b``, or ``optim.lr`` where values are assigned without dashes.
        values: What follows it; none of a switch.
        joined: Written as one word, ``--lr=.1``.
    """

    name: str
    values: tuple[str, ...] = ()
    joined: bool = False

    def words(self) -> list[str]:
        """Spell the option as it was typed."""
        return [f"{self.name}={self.values[0]}"] if self.joined else [self.name, *self.values]


def begins_option(word: str) -> bool:
    """Whether a word begins an option: dashes that are no negative number, or ``name=value``."""
    return (word.startswith("-") and word != "-" and not _NUMBER.match(word)) or bool(_ASSIGNED.match(word))


def read_options(text: str, field: str) -> tuple[Option, ...]:
    """Read options as a shell would split them.

    Args:
        text: Such as ``--batch_size=64 --lr 0.1 --nesterov``.
        field: What they are given with, for messages.

    Raises:
        BadInput: Quotes that do not close, a word before the first option, an option twice.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadInput(field, text, f"words as a shell splits them ({error})") from error
    if not words:
        raise BadInput(field, text, "options, like '--batch_size=64 --lr 0.1'")
    options: list[Option] = []
    for word in words:
        if begins_option(word):
            name, equals, value = word.partition("=")
            options.append(Option(name, (value,) if equals else (), bool(equals)))
        elif not options or options[-1].joined:
            raise BadInput(field, word, "options only: words that begin with - or look like name=value")
        else:
            options[-1] = Option(options[-1].name, (*options[-1].values, word))
    names = [option.name for option in options]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(field, name, "each option once")
    return tuple(options)


def place_of(words: Sequence[str], name: str, field: str) -> int | None:
    """Find an option in a command, or None.

    Raises:
        BadInput: It stands there more than once, so that nobody knows which one is meant.
    """
    places = [at for at, word in enumerate(words) if word == name or word.startswith(f"{name}=")]
    if len(places) > 1:
        raise BadInput(
            field, name, f"an option that the command has once; it stands there {len(places)} times"
        )
    return places[0] if places else None


def value_of(words: Sequence[str], name: str, field: str) -> str | None:
    """Read the single value of an option in a command; None where it is not there, or is a switch."""
    at = place_of(words, name, field)
    if at is None:
        return None
    _, equals, value = words[at].partition("=")
    if equals:
        return value
    follows = words[at + 1 : at + 2]
    return follows[0] if follows and not begins_option(follows[0]) else None


def _end_of(words: Sequence[str], at: int, option: Option, field: str) -> int:
    """Find the end of what new values of an option replace.

    A command does not say which words after an option are its values. A first word is; others are where they
    look like it, or like the new value in their place.

    Args:
        words: The command.
        at: Where the option stands.
        option: It with its new values.
        field: What it is given with, for messages.

    Raises:
        BadInput: One more word looks like a value of it.
    """
    end = at + 1
    for place, value in enumerate(option.values):
        if not _may_be_value(words, end):
            return end
        if place and _look(words[end]) not in (_look(value), _look(words[end - 1])):
            return end
        end += 1
    before = _look(words[end - 1]) if option.values else "number"
    if not option.joined and _may_be_value(words, end) and _look(words[end]) == before:
        stop = end
        while _may_be_value(words, stop):
            stop += 1
        allowed = f"as many values as in the command, if these are its values: {' '.join(words[at:stop])}"
        if len(option.values) == 1:
            allowed += (
                f"; or {option.name}={option.values[0]}, which leaves {' '.join(words[end:stop])} there"
            )
        raise BadInput(field, " ".join(option.words()), allowed)
    return end


def _may_be_value(words: Sequence[str], at: int) -> bool:
    return at < len(words) and words[at] != ARGS and not begins_option(words[at])


def _look(word: str) -> str:
    """Say what a value looks like: ``number``, ``path`` or ``word``."""
    try:
        float(word.replace("{seed}", "0"))
    except ValueError:
        return "path" if "/" in word or _SUFFIX.search(word) or word == "{out}" else "word"
    return "number"


def with_options(words: Sequence[str], options: Sequence[Option], field: str) -> list[str]:
    """Replace what stands in a command, and append the rest, or put it where ``{args}`` stands.

    Args:
        words: The command.
        options: What is to be set.
        field: What they are given with, for messages.

    Raises:
        BadInput: An option stands in the command more than once, or perhaps with more values than are given.
    """
    changed, new = list(words), list[str]()
    for option in options:
        at = place_of(changed, option.name, field)
        if at is None:
            new += option.words()
            continue
        if "=" in changed[at]:
            joined = len(option.values) == 1
            changed[at : at + 1] = [f"{option.name}={option.values[0]}"] if joined else option.words()
            continue
        changed[at : _end_of(changed, at, option, field)] = [option.name, *option.values]
    if ARGS in changed:
        at = changed.index(ARGS)
        changed[at : at + 1] = new
        return changed
    return changed + new
