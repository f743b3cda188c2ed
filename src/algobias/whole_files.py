"""Files for their owner alone, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from algobias.errors import StoreError

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
"""Nobody but the owner reads what is in a store."""


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Tell trouble with a file or folder (full, read-only, in the way) in one sentence.

    Raises:
        StoreError: An OSError happened inside.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        allowed = (
            f"a place that can be written to, with free space ({reason}); what was stored stays as it was"
        )
        raise StoreError(str(path), allowed) from error


def new_file(path: Path, mode: int = PRIVATE_FILE) -> BinaryIO:
    """Open a file to be written from its beginning, which only its owner may read.

    What stood there is removed first, so that a symbolic link is never followed.

    Raises:
        OSError: It cannot be made.
    """
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")


def replace_file(path: Path, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """Write a file so that a reader, or a crash at any moment, sees the old or the new one, never a part.

    Args:
        path: The file; its folder must exist.
        data: All of its content.
        mode: Who may read and write it, as for ``os.open``.

    Raises:
        OSError: The disk is full or cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with new_file(temporary, mode) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: bytes) -> None:
    """:func:`replace_file` for the store: trouble is told in one sentence.

    Raises:
        BadInput: The disk is full or cannot be written to.
    """
    with disk(path):
        replace_file(path, data)
