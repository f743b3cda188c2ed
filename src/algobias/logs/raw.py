"""What a log holds before anybody has said which column is what: pieces of runs, cells as texts."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from algobias.errors import BadInput
from algobias.kept.csvfile import Numbers
from algobias.untrusted import read_text, regular_file

Direction = Literal["higher", "lower"]

HEAD = 2**18
"""Bytes at the beginning of a file by which its format is recognised."""

MOST_BYTES = 2**28
"""Logs are read up to this size."""


@dataclass(frozen=True)
class Point:
    """What was logged at once.

    Attributes:
        line: Line of the file, or number of the record, counted from 1.
        cells: Column -> what stands there; columns of which nothing was logged are absent.
    """

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Piece:
    """What one file says of one run.

    Attributes:
        run: The run by the name that the file gives it; empty where a file is one run and does not name it.
        source: What messages call the file.
        points: What was logged, in the order of the file.
        numbers: Reader of the file's numbers.
        notes: What a reader should know: a tail that was cut off, values that were replaced.
    """

    run: str
    source: str
    points: tuple[Point, ...]
    numbers: Numbers = field(default_factory=lambda: Numbers(","))
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RawRun:
    """One run, put together from its pieces.

    Attributes:
        name: What tells it from the other runs of its arm: a path, or the name a file gives it.
        pieces: What its files say of it.
    """

    name: str
    pieces: tuple[Piece, ...]

    @cached_property
    def columns(self) -> list[str]:
        """Columns in the order in which they appear."""
        names = (name for piece in self.pieces for point in piece.points for name in point.cells)
        return list(dict.fromkeys(names))


@dataclass(frozen=True)
class Names:
    """Which columns of a format are what, by their exact names (capital letters aside).

    Attributes:
        update: Columns that count updates; the first that is there is taken.
        train_loss: The training loss. Of several that are there none is taken, but for those in ``instead``.
        metrics: Possible test metrics, and whether higher or lower is better; None: the name does not tell.
        prefixes: Whatever begins so may be a test metric too; which direction is better is not known.
        aside: Columns that are no metric though they begin so.
        instead: Column -> the same quantity in a better form, which is taken where both are there.
    """

    update: tuple[str, ...]
    train_loss: tuple[str, ...]
    metrics: Mapping[str, Direction | None]
    prefixes: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    instead: Mapping[str, str] = field(default_factory=dict)


class Format(ABC):
    """A way in which trainers write what they logged."""

    key: ClassVar[str]
    """The word for it in ``--format``."""

    words: ClassVar[str]
    """What people call it."""

    names: ClassVar[Names]

    many: ClassVar[bool] = False
    """A run's columns may lie in several files, which name the run themselves."""

    loss: ClassVar[str] = ""
    """How the training loss of this format is measured, where that is known."""

    @abstractmethod
    def confidence(self, path: Path, head: bytes) -> int:
        """Say how sure it is: 0 it has not this format, 1 it has by what it holds, 2 by its name too.

        Args:
            path: The file.
            head: Its first :data:`HEAD` bytes.
        """

    @abstractmethod
    def read(self, path: Path, name: str) -> list[Piece]:
        """Read a file.

        Args:
            path: The file, or the folder where a run is one.
            name: What messages call it.

        Raises:
            BadInput: It cannot be read, or holds nothing.
        """

    def chosen(self, paths: Sequence[Path]) -> list[Path]:
        """Choose of the files in a folder those that are runs; some may repeat what others hold."""
        return list(paths)

    def files(self, path: Path) -> list[Path]:
        """The files that :meth:`read` reads: the path itself, but where a run is a folder."""
        return [path]


def head_of(path: Path) -> bytes:
    """The beginning of a file; nothing of a folder.

    Raises:
        BadInput: No regular file, or one that cannot be read.
    """
    if os.path.isdir(path):
        return b""
    try:
        with open(regular_file(path, "log"), "rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise BadInput("log", str(path), f"a file that can be read ({error.strerror})") from error


def text_of(path: Path, *, replacing: bool = False) -> str:
    """The text of a log.

    Args:
        path: The file.
        replacing: What is no UTF-8 is replaced instead of refused: what a terminal showed may hold anything.

    Raises:
        BadInput: Not a regular file, not readable, larger than :data:`MOST_BYTES`, not UTF-8.
    """
    if not replacing:
        return read_text(path, "log", MOST_BYTES)
    try:
        with open(regular_file(path, "log"), "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadInput("log", str(path), f"a file that can be read ({error.strerror})") from error
    if len(data) > MOST_BYTES:
        raise BadInput("log", str(path), f"a file of at most {MOST_BYTES:,} bytes")
    return data.decode("utf-8-sig", errors="replace")


def nothing_in(name: str, what: str) -> BadInput:
    """Build the error for a file that has a format and holds no points.

    Args:
        name: What messages call the file.
        what: What it should hold.
    """
    return BadInput("log", name, f"{what}; this one holds none (was the run stopped before it logged?)")
