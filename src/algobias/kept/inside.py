"""Paths inside a store: never through a symbolic link, and made for their owner alone.

A store may come from somebody else. What it holds decides about names of files, so every path is looked at
before it is used: a link in it would lead reads, writes and deletions out of the store.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TypeGuard

from algobias.errors import StoreError
from algobias.whole_files import PRIVATE_FOLDER, disk

MALFORMED = (ArithmeticError, AttributeError, EOFError, LookupError, RecursionError, TypeError, ValueError)
"""What reading content of the wrong shape may raise."""
STUDY_ID = re.compile(r"[0-9a-f]{12}")
ADDRESS = re.compile(r"[0-9a-f]{8,64}")
MOST = 2**63
"""Whole numbers of the database are below this."""


def is_study_id(value: object) -> TypeGuard[str]:
    """Whether a value can be the id of a study: 12 hexadecimal digits."""
    return isinstance(value, str) and STUDY_ID.fullmatch(value) is not None


def is_run(address: object, seed: object) -> bool:
    """Whether two values can be the address and the seed of a run."""
    whole = isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < MOST
    return whole and isinstance(address, str) and ADDRESS.fullmatch(address) is not None


def inside(root: Path, *parts: str) -> Path:
    """Path of a file or folder of a store, whether it is there or not.

    Args:
        root: The store's folder, which its user has named; it may itself be a link.
        parts: Names below it.

    Raises:
        StoreError: Something on the way is a symbolic link, or neither a file nor a folder.
    """
    path = root
    for part in parts:
        path = path / part
        _no_link(path)
    return path


def only_files(folder: Path) -> None:
    """Refuse a folder of a store in which anything is a symbolic link, or neither a file nor a folder.

    Raises:
        StoreError: There is such a thing in it; names it.
    """
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        _no_link(Path(entry.path))
        if entry.is_dir(follow_symlinks=False):
            only_files(Path(entry.path))


def make_inside(root: Path, *parts: str) -> Path:
    """Make a folder of a store, and those above it.

    Raises:
        StoreError: As for :func:`inside`; the folder cannot be made.
    """
    path = root
    for place in range(len(parts)):
        path = inside(root, *parts[: place + 1])
        with disk(path):
            path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    return path


def _no_link(path: Path) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise StoreError(str(path), f"a path that can be looked at ({error})") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        what = "a symbolic link" if stat.S_ISLNK(mode) else "neither a file nor a folder"
        raise StoreError(str(path), f"files and folders inside of the store; this is {what}")
