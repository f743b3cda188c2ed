"""Numbers of a run in TensorBoard's event files: one tag, wherever in a folder it was written."""

from __future__ import annotations

import math
import os
from pathlib import Path

from algobias.errors import BadInput
from algobias.logs.formats.events import TensorBoard, is_events
from algobias.logs.raw import Piece

MOST_FOLDERS = 1_000
"""Folders below one that are looked into."""


def scalars(folder: Path, tag: str, option: str, since: float | None = None) -> list[tuple[float, int]]:
    """Read the numbers of a tag with their steps, in order.

    Args:
        folder: Where the event files lie, or folders with them.
        tag: The tag.
        option: What the source was given with, for messages.
        since: Files that were last written before are those of other runs; None: all are of this one.

    Raises:
        BadInput: No event file, no such tag, or the tag in several folders.
    """
    runs = {path: piece for path in _folders(folder, option) if (piece := _read(path, since)) is not None}
    if not runs:
        raise BadInput(option, str(folder), "a folder with event files of TensorBoard that this run wrote")
    tags = sorted({name for piece in runs.values() for point in piece.points for name in point.cells})
    having = [path for path, piece in runs.items() if any(tag in point.cells for point in piece.points)]
    if not having:
        known = ", ".join(name for name in tags if name != "step")
        raise BadInput(option, tag, f"a tag in {folder}: {known or 'it has none'}")
    if len(having) > 1:
        named = ", ".join(str(path.relative_to(folder)) for path in having)
        raise BadInput(
            option, tag, f"tb:FOLDER:TAG, since the tag is in several folders of {folder}: {named}"
        )
    points = [point.cells for point in runs[having[0]].points if tag in point.cells]
    return [(_finite(float(cells[tag])), int(cells["step"])) for cells in points]


def _folders(folder: Path, option: str) -> list[Path]:
    """The folder and those inside of it that hold event files."""
    if not folder.is_dir():
        raise BadInput(option, str(folder), "a folder that the run has written event files into")
    found = []
    for seen, (path, inside, files) in enumerate(os.walk(folder)):
        inside.sort()
        if seen >= MOST_FOLDERS:
            raise BadInput(option, str(folder), f"a folder with at most {MOST_FOLDERS:,} folders in it")
        if any(is_events(name) for name in files):
            found.append(Path(path))
    return found


def _read(folder: Path, since: float | None) -> Piece | None:
    """The scalars of the event files of one folder; None where none is of this run, or has any."""
    reader = TensorBoard()
    files = [path for path in reader.files(folder) if since is None or path.stat().st_mtime >= since]
    pieces = []
    for path in files:
        try:
            pieces += reader.read(path, path.name)
        except BadInput:  # a file of pictures alone, or one whose first record was not written out
            continue
    points = [point for piece in pieces for point in piece.points]
    return Piece("", folder.name, tuple(points)) if points else None


def _finite(number: float) -> float:
    """A number as other sources give it: beyond 1e100 all are infinite."""
    return math.copysign(math.inf, number) if abs(number) >= 1e100 else number
