"""What tells runs of a command from each other where nothing inside of them was seen."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from algobias.commands.numbers.inside import Told
from algobias.commands.numbers.sources import Source
from algobias.commands.question import CommandQuestion
from algobias.commands.writes import files_of
from algobias.errors import BadInput
from algobias.jobs.job import OUT, OUTPUT

MOST_COMPARED = 2**24
"""Bytes of an output, or of a file, that are compared."""

MOST_FILES = 200
"""Files of a run's own folder that are compared."""


@dataclass(frozen=True)
class Left:
    """What a run left behind.

    Attributes:
        told: Hash of its output and of the numbers that are read of it; None: there are none.
        files: Hash of the files in ``{out}``; None: there are none.
    """

    told: str | None
    files: str | None

    def apart(self, other: Left) -> bool | None:
        """Say whether two runs differ in what they left; None where there is nothing to compare.

        Files tell where both runs have some: whether a run is given a folder is no difference in how it ends.
        """
        both = self.files is not None and other.files is not None
        if self.told is None and other.told is None and not both:
            return None
        return self.told != other.told or (both and self.files != other.files)


def left_by(folder: Path, told: Told, question: CommandQuestion) -> Left:
    """Hash all that a run leaves behind: its output, the numbers that are read of it, files in ``{out}``.

    The run's own folder stands in outputs as a place that is the same in all runs.

    Args:
        folder: Where it was carried out.
        told: What its events say.
        question: Says where numbers are read.
    """
    return Left(_hashed(_told(folder, told, question)), _hashed(_files(folder)))


def _hashed(pieces: Iterator[bytes]) -> str | None:
    there = [piece for piece in pieces if piece]
    return hashlib.sha256(b"\0".join(there)).hexdigest() if there else None


def _told(folder: Path, told: Told, question: CommandQuestion) -> Iterator[bytes]:
    yield _start_of(folder / OUTPUT, folder)
    for source, option in question.sources:
        yield _numbers(source, folder, told, Path(question.cwd), option)


def _files(folder: Path) -> Iterator[bytes]:
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
