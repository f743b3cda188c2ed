"""Tracebacks without the frames that lie between a script and torch only because something sits there."""

from __future__ import annotations

import os
import sys
from types import TracebackType

FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep


def install() -> None:
    """Show exceptions that nobody catches as the script's own, unless it shows them in a way of its own."""
    shown = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        _strip_all(error)
        shown(kind, error, error.__traceback__)

    sys.excepthook = show


def _strip_all(error: BaseException) -> None:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = stripped(one.__traceback__)
            waiting += [one.__cause__, one.__context__]


def stripped(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback without frames of this room's files."""
    frames = []
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(FOLDER):
            frames.append(traceback)
        traceback = traceback.tb_next
    following = None
    for frame in reversed(frames):
        frame.tb_next = following
        following = frame
    return following
