"""The one exception that reaches a user as a plain message instead of a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BadInput(Exception):
    """A request that cannot be carried out, told in one sentence.

    Args:
        field: Path of the field that is wrong, in the user's own words (``batch``, ``optimizer.lr``).
        value: The value that was given.
        allowed: What would have been accepted.
        nearest: The nearest valid name, where the value looks like a misspelt one.
    """

    def __init__(self, field: str, value: object, allowed: str, nearest: str | None = None) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        self.nearest = nearest
        shown = repr(value)
        if len(shown) > 200:
            shown = shown[:197] + "..."
        message = f"{field}: {shown} is not possible; allowed: {allowed}"
        if nearest is not None:
            message += f" (did you mean {nearest!r}?)"
        super().__init__(message)


def unknown_name(field: str, value: str, known: Iterable[str]) -> BadInput:
    """Build the error for a name that is not in a catalogue, with the nearest one that is."""
    names = sorted(known)
    close = difflib.get_close_matches(value, names, n=1, cutoff=0.5)
    return BadInput(field, value, ", ".join(names), close[0] if close else None)
