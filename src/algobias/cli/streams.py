"""Standard streams whose reader may have gone, or whose disk may be full, without anything being lost."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from algobias.errors import BadInput

GONE = (errno.EPIPE, errno.ESHUTDOWN, errno.EBADF, errno.ENOTCONN, errno.EIO)
"""What writing to a closed pipe, socket or terminal ends with."""


class Stream:
    """A standard stream that outlives its reader.

    Where the reader has gone (``| head``), what is left is dropped: whoever reads no further has seen enough,
    and the work goes on. Where it cannot be written for want of space, that is told.

    Args:
        stream: What is written to; None where the program was started without it.
        name: ``stdout`` or ``stderr``, for the message.

    Raises:
        BadInput: By ``write`` and ``flush`` of stdout: the disk it is written to is full.
    """

    def __init__(self, stream: TextIO | None, name: str) -> None:
        self._stream: TextIO | None = stream
        self._name = name

    def write(self, text: str) -> int:
        """Write, or drop where nobody reads."""
        with self._guard():
            if self._stream is not None:
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        with self._guard():
            if self._stream is not None:
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether somebody sits before it."""
        return self._stream is not None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        stream = self._stream if self._stream is not None else _nowhere()
        return getattr(stream, name)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: closed within this process
            self._drop()
            if isinstance(error, OSError) and error.errno not in GONE and self._name == "stdout":
                allowed = f"a place with free space ({error.strerror}); what was done is stored"
                raise BadInput("stdout", "what was to be written", allowed) from error

    def _drop(self) -> None:
        """Write no more; what is still held back goes nowhere, also when the program ends."""
        stream, self._stream = self._stream, None
        with suppress(OSError, ValueError):
            if stream is not None:
                os.dup2(_nowhere().fileno(), stream.fileno())


_opened: list[TextIO] = []


def _nowhere() -> TextIO:
    if not _opened:
        _opened.append(open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    return _opened[0]


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Inside, stdout and stderr are :class:`Stream` objects; at the end they are flushed and put back."""
    before = sys.stdout, sys.stderr
    out, err = Stream(sys.stdout, "stdout"), Stream(sys.stderr, "stderr")
    sys.stdout, sys.stderr = out, err
    try:
        yield
        out.flush()
    finally:
        err.flush()
        sys.stdout, sys.stderr = before
