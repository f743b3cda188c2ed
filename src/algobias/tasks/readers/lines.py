"""Lines and texts from files, plain or gzipped; sizes are capped before anything is unpacked."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from algobias.errors import BadInput

LARGEST = 2**29
"""Characters of a text that are read at most."""


def read_text(path: Path, name: str, encoding: str = "utf-8", largest: int = LARGEST) -> str:
    """A whole text.

    Args:
        path: The file; ``.gz`` is unpacked on the way.
        name: Of the task, for messages.
        encoding: Of its characters.
        largest: Bytes of the text, unpacked.

    Raises:
        BadInput: Unreadable, empty, of another encoding, cut off, or larger than ``largest``.
    """
    try:
        opened = gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")  # noqa: SIM115
        with opened as file:
            data = file.read(largest + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, name, str(error) or type(error).__name__) from error
    if len(data) > largest:
        raise _damaged(path, name, f"more than {largest} bytes")
    if not data.strip():
        raise _damaged(path, name, "empty")
    if b"\0" in data[:65_536]:
        raise _damaged(path, name, "not a text: it holds zero bytes")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise _damaged(path, name, f"not {encoding}: byte {error.start}") from error


def read_lines(path: Path, name: str, encoding: str = "utf-8", largest: int = LARGEST) -> list[str]:
    """The lines of a text, without the last empty one; errors as for :func:`read_text`."""
    lines = read_text(path, name, encoding, largest).replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines and not lines[-1] else lines


def _damaged(path: Path, name: str, reason: str) -> BadInput:
    return BadInput(f"data of {name}", str(path), f"a whole text file ({reason})")
