"""Where the data sets' files lie: ``--data``, then ``ALGOBIAS_DATA``, then the user's cache folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import platformdirs

from algobias.errors import BadInput

ENVIRONMENT = "ALGOBIAS_DATA"
Found = TypeVar("Found")


def data_folders(data_dir: Path | None) -> list[Path]:
    """Folders in which data are looked for, in order."""
    named = os.environ.get(ENVIRONMENT)
    given = [data_dir, Path(named) if named else None, Path(platformdirs.user_cache_dir("algobias")) / "data"]
    return [Path(folder).expanduser() for folder in given if folder is not None]


def find_files(data_dir: Path | None, files: Sequence[str], name: str, source: str) -> list[Path]:
    """Paths of ``files`` in the first folder that has all of them.

    A file ``x.gz`` may also lie unpacked as ``x``, which is then taken.

    Args:
        data_dir: Folder the user named, or None.
        files: Paths relative to the data folder.
        name: Name of the task, for the message.
        source: Public site that has the files.

    Raises:
        BadInput: No folder has them all; says which are missing where, and where to get them.
    """
    folders = data_folders(data_dir)
    fewest: tuple[Path, list[str]] | None = None
    for folder in folders:
        found = {file: _present(folder / file) for file in files}
        missing = [file for file, path in found.items() if path is None]
        if not missing:
            return [path for path in found.values() if path is not None]
        if fewest is None or len(missing) < len(fewest[1]):
            fewest = folder, missing
    assert fewest is not None
    looked = ", ".join(str(folder) for folder in folders)
    raise BadInput(
        f"data of {name}",
        f"{', '.join(fewest[1])} missing in {fewest[0]}",
        f"files laid out as {', '.join(files)} (.gz or unpacked) below one of: {looked}; get them from "
        f"{source} and name the folder with --data or {ENVIRONMENT}",
    )


def find_either(
    data_dir: Path | None, file: str, find: Callable[[Path], Found | None]
) -> Path | Found | None:
    """Data in one of two forms: of the first folder that has either, the one file where both are there.

    Args:
        data_dir: Folder the user named, or None.
        file: Path of the one file, relative to the data folder.
        find: Looks for the other form in a folder.
    """
    for folder in data_folders(data_dir):
        if (folder / file).is_file():
            return folder / file
        found = find(folder)
        if found is not None:
            return found
    return None


def _present(path: Path) -> Path | None:
    options = (path.with_suffix(""), path) if path.suffix == ".gz" else (path,)
    return next((option for option in options if option.is_file()), None)
