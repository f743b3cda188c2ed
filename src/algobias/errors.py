"""The exceptions that reach a user as a plain message instead of a traceback."""

from __future__ import annotations

import difflib
import reprlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

MOST_SHOWN = 200
"""Characters of a value that a message shows."""

MOST_NAMES = 40
"""A catalogue of more names than these is not printed whole where a name is misspelt."""


class BadInput(Exception):
    """A request that cannot be carried out, told in one sentence.

    Args:
        field: Path of the field that is wrong, in the user's own words (``batch``, ``optimizer.lr``).
        value: The value that was given; None: nothing was, and it is needed.
        allowed: What would have been accepted.
        nearest: The nearest valid name, where the value looks like a misspelt one.
    """

    def __init__(self, field: str, value: object, allowed: str, nearest: str | None = None) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        self.nearest = nearest
        guess = f" (did you mean {nearest!r}?)" if nearest is not None else ""
        wrong = (
            " is missing; needed" if value is None else f": {shown(value)} is not possible{guess}; allowed"
        )
        message = f"{_cut(field, 400)}{wrong}: {_cut(allowed, 4000)}"
        super().__init__(clean_text(message))

    def of(self, field: str) -> BadInput:
        """Say the same of another field."""
        return type(self)(field, self.value, self.allowed, self.nearest)

    def plain(self) -> dict[str, str | None]:
        """Everything about it as text, for another process, which has :func:`from_plain`."""
        return {
            "kind": type(self).__name__,
            "field": self.field,
            "value": None if self.value is None else shown(self.value),
            "allowed": self.allowed,
            "nearest": self.nearest,
        }


class StoreError(BadInput):
    """A store that cannot do its part: locked, full, read-only, damaged, another program's.

    What was asked may be in order: once the way out in the message is taken, the same request can be carried
    out. Whoever handles every :class:`BadInput` handles it too.

    Args:
        place: The file, folder, study or run that it is about.
        needed: What would have been needed, with the way out.
    """

    def __init__(self, place: str, needed: str) -> None:
        super().__init__("store", place, needed)


class Unfit(BadInput):
    """What was seen of a request stands in its way; it is told as it was seen.

    Args:
        field: What it was seen of.
        seen: What was seen, in words.
        needed: What would do.
    """

    def __init__(self, field: str, seen: str, needed: str) -> None:
        super().__init__(field, seen, needed)
        message = f"{_cut(field, 400)}: {_cut(seen, 4000)}; needed: {_cut(needed, 4000)}"
        self.args = (clean_text(message),)

    def of(self, field: str) -> Unfit:
        """Say the same of another field."""
        return type(self)(field, str(self.value), self.allowed)

    def __reduce__(self) -> tuple[type[Unfit], tuple[str, str, str]]:
        """Say how it is made anew elsewhere: by what was seen, not by its message."""
        return type(self), (self.field, str(self.value), self.allowed)

    def plain(self) -> dict[str, str | None]:
        """Everything about it as text; what was seen as it is."""
        return {**super().plain(), "value": str(self.value)}


class _AsShown(str):
    """Text that stands for a value of another process: it is already in the form ``repr`` gives."""

    def __repr__(self) -> str:
        return str(self)


def from_plain(message: Mapping[str, str | None]) -> BadInput:
    """Make the error of another process anew; its message is the same.

    Args:
        message: What :meth:`BadInput.plain` gave there.
    """
    value, allowed = message["value"], str(message["allowed"])
    shown_value = None if value is None else _AsShown(value)
    if message["kind"] == StoreError.__name__ and shown_value is not None:
        return StoreError(shown_value, allowed)
    if message["kind"] == Unfit.__name__ and value is not None:
        return Unfit(str(message["field"]), value, allowed)
    return BadInput(str(message["field"]), shown_value, allowed, message["nearest"])


class CutOff(Exception):
    """Work that was ended from outside, told in one sentence; what was stored is in order."""


class _Short(reprlib.Repr):
    """``repr`` of at most :data:`MOST_SHOWN` characters, which never builds a longer one on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 4, MOST_SHOWN, MOST_SHOWN
        self.maxtuple = self.maxlist = self.maxdict = self.maxset = self.maxfrozenset = 20

    def repr_str(self, value: str, level: int) -> str:
        del level
        text = value[: MOST_SHOWN + 1]
        mark = next((mark for mark in ("'", '"') if mark not in text), None)
        # What is typed with backslashes, as expressions are, is shown as it was typed.
        plain = "\\" in text and mark is not None and text.isprintable()
        return _cut(f"{mark}{text}{mark}" if plain else repr(text), MOST_SHOWN)

    def repr_int(self, value: int, level: int) -> str:
        del level
        if (
            value.bit_length() > 4 * MOST_SHOWN
        ):  # Python refuses to write out what is longer than 4,300 digits
            return f"a number of about {round(value.bit_length() * 0.30103):,} digits"
        return repr(value)


_short = _Short()


def shown(value: object) -> str:
    """A value as a message shows it: ``repr``, at most :data:`MOST_SHOWN` characters of it.

    Backslashes are shown as they were typed, not doubled.

    Cost: bounded, whatever the value contains.
    """
    text = _short.repr(value)
    return _cut(text, MOST_SHOWN)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def unknown_name(field: str, value: str, known: Iterable[str]) -> BadInput:
    """Build the error for a name that is not in a catalogue, with the nearest one that is."""
    names = sorted(known)
    close = difflib.get_close_matches(value[:MOST_SHOWN], names, n=5, cutoff=0.5)
    return BadInput(field, value, _some(names, close), close[0] if close else None)


def _some(names: Sequence[str], close: Sequence[str]) -> str:
    """All names, or of very many those that are near."""
    if not names:
        return "no name: there are none"
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    few = list(dict.fromkeys([*close, *names]))[: max(len(close), 3)]
    return f"{', '.join(few)} and {len(names) - len(few)} other names"


def clean_text(text: str) -> str:
    """Replace control, surrogate and text-direction characters; keep line ends and tabs."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if _steers(char) else char for char in text)


def _steers(char: str) -> bool:
    if char in "\n\t":
        return False
    # U+202A-U+202E and U+2066-U+2069 reverse the order in which text is shown; they are of category Cf.
    if "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069":
        return True
    # Zl and Zp end a line in JavaScript, and so a string in an expression.
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in "\ufffe\uffff"
