"""Whole numbers given to the plain torch components."""

from __future__ import annotations

from numbers import Integral

from algobias.errors import BadInput


def whole(field: str, value: object, least: int) -> int:
    """The number, where it is a whole one that is large enough.

    Raises:
        BadInput: A fraction, a bool, something that is no number, or a number below ``least``.
    """
    # numpy's integers are Integral too; bool is, but is never meant as a number.
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise BadInput(field, value, f"a whole number of at least {least}")
    return int(value)
