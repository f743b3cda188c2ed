"""Which files of a folder have been written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

MOST_FILES = 20_000
"""Files of the working folder that are looked at for writes outside of ``{out}``."""

IGNORED = {"__pycache__", ".git", ".algobias", ".mypy_cache", ".ipynb_checkpoints"}


def files_of(folder: Path, store: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Go through files of a folder: path, and when it was written with which size.

    Files that this process's own input and outputs go to are left out.
    """
    count, own = 0, _own_files()
    for root, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if name not in IGNORED and not name.startswith(".venv") and os.path.join(root, name) != str(store)
        ]
        for name in names:
            path = os.path.join(root, name)
            try:
                stat = os.lstat(path)
            except OSError:
                continue
            if (stat.st_dev, stat.st_ino) in own:
                continue
            yield path, (stat.st_mtime_ns, stat.st_size)
            count += 1
            if count >= MOST_FILES:
                return


def _own_files() -> set[tuple[int, int]]:
    """Find what standard input, output and errors of this process are: device and number of the file."""
    files = set()
    for number in range(3):
        with contextlib.suppress(OSError):  # closed by who started it
            stat = os.fstat(number)
            files.add((stat.st_dev, stat.st_ino))
    return files


def written(before: dict[str, tuple[int, int]], folder: Path, store: Path) -> list[str]:
    """Name the files that are new or other than before, as seen from the folder.

    Args:
        before: What :func:`files_of` gave.
        folder: The folder.
        store: What is not looked at in it.
    """
    after = dict(files_of(folder, store))
    return sorted(os.path.relpath(path, folder) for path, what in after.items() if before.get(path) != what)


def outside_doubts(names: list[str]) -> list[str]:
    """Warn of files that a run has written outside of its own folder."""
    if not names:
        return []
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return [
        f"runs write outside of {{out}} ({shown}), where those side by side get into each other's way; name "
        "the folder in the command, or use --slots 1"
    ]
