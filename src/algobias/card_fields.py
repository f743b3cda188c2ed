"""The fields of a card as whoever writes one may fill them in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from algobias.errors import BadInput, unknown_name


def text(card: Any, *names: str, optional: bool = False) -> None:
    """Refuse fields that are no text.

    Raises:
        BadInput: The first of them.
    """
    for name in names:
        value = getattr(card, name)
        if not (isinstance(value, str) or (optional and value is None)):
            raise BadInput(f"card.{name}", _given(value), "a text")


def texts(card: Any, name: str, among: Collection[str] = ()) -> None:
    """Make a tuple of a field that holds several texts.

    Args:
        card: The card.
        name: The field.
        among: What may stand in it; empty: anything.

    Raises:
        BadInput: It holds something else; a single text, which has no comma behind it, too.
    """
    value = getattr(card, name)
    if not isinstance(value, tuple | list) or not all(isinstance(one, str) for one in value):
        raise BadInput(f"card.{name}", _given(value), 'a tuple of texts; of one, ("...",) with a comma')
    for one in value:
        if among and one not in among:
            raise unknown_name(f"card.{name}", one, among)
    object.__setattr__(card, name, tuple(value))


def choice(card: Any, name: str, among: Collection[str], *, optional: bool = False) -> None:
    """Refuse a field that has none of the texts that may stand there.

    Raises:
        BadInput: With the nearest.
    """
    value = getattr(card, name)
    if optional and value is None:
        return
    if not isinstance(value, str):
        raise BadInput(f"card.{name}", _given(value), ", ".join(among))
    if value not in among:
        raise unknown_name(f"card.{name}", value, among)


def flag(card: Any, *names: str) -> None:
    """Refuse fields that are neither True nor False.

    Raises:
        BadInput: The first of them.
    """
    for name in names:
        if not isinstance(getattr(card, name), bool):
            raise BadInput(f"card.{name}", _given(getattr(card, name)), "True or False")


def _given(value: object) -> object:
    return "None" if value is None else value
