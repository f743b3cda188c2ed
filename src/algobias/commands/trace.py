"""What tells runs of a command from each other where nothing inside of them was seen."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from algobias.commands.inside import Told
from algobias.commands.job import OUT, OUTPUT
from algobias.commands.question import CommandQuestion
from algobias.commands.sources import Source
from algobias.commands.writes import files_of
from algobias.errors import BadInput

MOST_COMPARED = 2**24
"""Bytes of an output, or of a file, that are compared."""

MOST_FILES = 200
"""Files of a run's own folder that are compared."""


def trace_of(folder: Path, told: Told, question: CommandQuestion) -> str | None:
    """Hash all that a run leaves behind: its output, the numbers that are read of it, files in ``{out}``.

    The run's own folder stands in outputs as a place that is the same in all runs.

    Args:
        folder: Where it was carried out.
        told: What its events say.
        question: Says where numbers are read.

    Returns:
        The hash; None where it left nothing.
    """
    pieces = [piece for piece in _pieces(folder, told, question) if piece]
    return hashlib.sha256(b"\0".join(pieces)).hexdigest() if pieces else None


def _pieces(folder: Path, told: Told, question: CommandQuestion) -> Iterator[bytes]:
    yield _start_of(folder / OUTPUT, folder)
    for source, option in ((question.metric_source, "--metric"), (question.loss_source, "--train-loss")):
        if source is not None:
            yield _numbers(source, folder, told, Path(question.cwd), option)
    out = folder / OUT
    paths = sorted(path for path, _ in files_of(out, out))[:MOST_FILES]
    for path in map(Path, paths):
        with suppress(OSError):
            # Not through a link, nor from a pipe, which would wait for somebody to write.
            if stat.S_ISREG(os.lstat(path).st_mode) and (content := _start_of(path, folder)):
                yield b"\0".join((os.fsencode(path.relative_to(out)), content))


def _start_of(path: Path, folder: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_COMPARED).replace(os.fsencode(folder), b"{folder}")


def _numbers(source: Source, folder: Path, told: Told, cwd: Path, option: str) -> bytes:
    """Read the numbers of a source as text; empty where a run so short has none yet."""
    if source.kind == "auto":
        logged = [(event.name, event.value) for event in told.logged() if source.where in ("", event.name)]
        return repr(logged).encode() if logged else b""
    try:
        values = source.values(folder / OUTPUT, cwd, folder / OUT, option)
    except BadInput:
        return b""
    # To a file that all runs share each run may have added its own at the end.
    compared = values[-1:] if source.shared else values
    return repr([value.number for value in compared]).encode() if compared else b""
