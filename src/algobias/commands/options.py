"""Options of a command as its words: read, replaced, appended."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from algobias.errors import BadInput

_NUMBER = re.compile(r"-\.?\d")
_ASSIGNED = re.compile(r"[A-Za-z_+~][\w.@/+-]*=")


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


def with_options(words: Sequence[str], options: Sequence[Option], field: str) -> list[str]:
    """Replace what stands in a command, and append the rest, or put it where ``{args}`` stands.

    Args:
        words: The command.
        options: What is to be set.
        field: What they are given with, for messages.

    Raises:
        BadInput: An option stands in the command more than once.
    """
    changed, new = list(words), list[str]()
    for option in options:
        at = place_of(changed, option.name, field)
        if at is None:
            new += option.words()
            continue
        if "=" in changed[at] and len(option.values) == 1:
            changed[at] = f"{option.name}={option.values[0]}"
            continue
        end = at + 1
        while end < len(changed) and end - at <= len(option.values) and not begins_option(changed[end]):
            end += 1
        changed[at:end] = [option.name, *option.values]
    if ARGS in changed:
        at = changed.index(ARGS)
        changed[at : at + 1] = new
        return changed
    return changed + new


ARGS = "{args}"
"""Where new options go in a command; without it, to its end."""
