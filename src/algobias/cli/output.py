"""Where a command writes: one JSON object at most on stdout, all else on stderr, no control characters."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from algobias.cli.streams import Stream
from algobias.errors import clean_text

if TYPE_CHECKING:
    from algobias.reports.record import StudyRecord

NARROWEST, WIDEST = 20, 1000
"""Widths of a terminal that are believed, in columns."""

_stdout: ContextVar[TextIO | Stream | None] = ContextVar("_stdout", default=None)
"""The real stdout while it is kept for one JSON object."""


class _Plain(Console):
    """A console that takes text as it is: no markup, and no character that steers a terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else clean_text(segment.text)
            yield segment if text is segment.text else Segment(text, segment.style)


def messages() -> Console:
    """Where everything but JSON goes."""
    return _Plain(stderr=True, highlight=False, markup=False, emoji=False)


def tables() -> Console:
    """Where a command prints what it was asked for, without ``--json``: stdout."""
    return _Plain(highlight=False, markup=False, emoji=False)


def one_line(text: object) -> Text:
    """Text from a user or a store as the cell of a table: its line breaks must not look like rows."""
    return Text(" ".join(str(text).splitlines()))


def ending(console: Console, record: StudyRecord, report: Path, *, json: bool) -> None:
    """Print where the report of a study lies and, for readers and not for programs, what to do next."""
    from algobias.answer.next.step import next_text

    console.print(f"report: {report.absolute()}", soft_wrap=True)
    told = next_text(record)
    if told and not json:
        console.print(one_line(f"Next: {told}"), soft_wrap=True)


def print_json(data: dict[str, Any]) -> None:
    """One JSON object on stdout; no NaN, no infinity."""
    stream = _stdout.get() or sys.stdout
    wide = (stream.encoding or "").lower().replace("-", "").startswith("utf")
    text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=not wide) + "\n"
    # half a character (from a file's name, say) has no place in UTF-8, but one in JSON
    stream.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
    stream.flush()


@contextmanager
def only_json() -> Iterator[None]:
    """Keep stdout for :func:`print_json`: whatever else is written to it inside goes to stderr.

    File descriptor 1 itself points to stderr meanwhile, so this holds for what C code, other programs and
    worker processes started inside write as well; and again when Python ends, for what exit handlers write.
    """
    before = sys.stdout
    before.flush()
    kept = os.dup(1)
    own = _descriptor(before) == 1
    with open(kept, "w", encoding="utf-8") as real, contextlib.redirect_stdout(sys.stderr):
        token = _stdout.set(Stream(real, "stdout") if own else before)
        os.dup2(2, 1)
        try:
            yield
        finally:
            _stdout.reset(token)
            if own:
                before.flush()  # what was written to it by those who kept hold of it
            ctypes.CDLL(None).fflush(None)  # what C code has printed and not written yet
            os.dup2(kept, 1)
            atexit.register(os.dup2, 2, 1)


def sensible_width() -> None:
    """Forget a COLUMNS or LINES that is no size of a terminal: with 0 columns nothing would be printed."""
    for name, least in (("COLUMNS", NARROWEST), ("LINES", 1)):
        given = os.environ.get(name)
        if given is not None and not (
            given.isascii() and given.isdigit() and len(given) < 5 and least <= int(given) <= WIDEST
        ):
            del os.environ[name]


def _descriptor(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None
