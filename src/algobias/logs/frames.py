"""Curves that are there already, in Python: data frames, columns by name, several of them by seed."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from algobias.errors import BadInput
from algobias.kept.csvfile import NEEDED, Numbers, plain
from algobias.logs.formats.common import COMMON
from algobias.logs.formats.tables import Own
from algobias.logs.raw import Names, Piece, Point, RawRun


@runtime_checkable
class FrameLike(Protocol):
    """What pandas and polars have in common."""

    @property
    def columns(self) -> Iterable[object]:
        """Names of the columns."""

    def __getitem__(self, key: str, /) -> Iterable[object]:
        """One column."""


Frame: TypeAlias = FrameLike | Mapping[str, Sequence[object]]
"""A data frame, or columns by name."""

Frames: TypeAlias = Frame | Mapping[int, Frame] | Sequence[Frame]
"""One frame, with a column for the seed or of one run; frames by seed; or a list of them, one run each."""


@dataclass(frozen=True)
class Given:
    """Runs that were given as objects.

    Attributes:
        runs: The runs.
        seeds: Their seeds, where they are the keys; None: a column has them, or they are said.
        names: Names of columns that may be what.
        words: What was given.
    """

    runs: tuple[RawRun, ...]
    seeds: tuple[int, ...] | None
    names: Names
    words: str


def is_frames(value: object) -> bool:
    """Whether something is no path but curves."""
    return isinstance(value, Mapping | FrameLike) or (
        isinstance(value, Sequence) and not isinstance(value, str)
    )


def given_frames(arm: str, value: Frames) -> Given:
    """Take curves as runs, as if they had been read from files.

    In a data frame nan is a cell that was not recorded, since pandas writes blank cells so; in columns by
    name None is, and nan is a value.

    Args:
        arm: ``baseline`` or ``variant``.
        value: The curves.

    Raises:
        BadInput: Something else; columns of different lengths; no rows.
    """
    seeds: tuple[int, ...] | None = None
    frames: dict[str, object]
    if isinstance(value, FrameLike):
        frames = {arm: value}
    elif isinstance(value, Mapping) and value and all(_is_seed(key) for key in value):
        seeds = tuple(int(key) for key in value)
        frames = {f"seed={int(key)}": frame for key, frame in value.items()}
    elif isinstance(value, Mapping):
        frames = {arm: value}
    else:
        frames = {f"{arm}[{place}]": frame for place, frame in enumerate(value)}
    if not frames:
        raise BadInput(arm, value, "a data frame, columns by name, or several of them")
    runs = tuple(RawRun(name, (_piece(name, frame),)) for name, frame in frames.items())
    columns = {plain(column) for run in runs for column in run.columns}
    names = Own.names if set(NEEDED[1:]) <= columns else COMMON
    framed = all(isinstance(frame, FrameLike) for frame in frames.values())
    return Given(runs, seeds, names, "data frame" if framed else "columns by name")


def open_ends(given: Given, loss: str, metric: str, seed: str | None) -> list[str]:
    """Name runs in data frames whose last row has nan for both values: was that divergence?

    Args:
        given: The runs.
        loss: Column of the training loss.
        metric: Column of the test metric.
        seed: Column of the seed, or None.
    """
    if given.words != "data frame":
        return []
    ends: dict[str, bool] = {}
    for run in given.runs:
        for piece in run.pieces:
            for point in piece.points:
                key = run.name if seed is None else f"seed {point.cells.get(seed, '')}"
                ends[key] = loss not in point.cells and metric not in point.cells
    return [name for name, blank in ends.items() if blank]


def _is_seed(key: object) -> bool:
    return isinstance(key, numbers.Integral) and not isinstance(key, bool)


def _piece(name: str, frame: object) -> Piece:
    columns: dict[str, list[object]] = {}
    missing_nan = isinstance(frame, FrameLike) and not isinstance(frame, Mapping)
    if not isinstance(frame, Mapping | FrameLike):
        raise BadInput(name, frame, "a data frame, or a dictionary of columns")
    for label in frame if isinstance(frame, Mapping) else frame.columns:
        if not isinstance(label, str):
            continue
        column = frame[label]
        if isinstance(column, str) or not isinstance(column, Iterable):
            raise BadInput(f"{name}, {label}", column, "a list of values, one for each check")
        columns[label] = list(column)
    lengths = {label: len(values) for label, values in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{label} {length}" for label, length in list(lengths.items())[:6])
        raise BadInput(name, shown, "columns of one length")
    if not any(lengths.values()):
        raise BadInput(name, "no rows", "at least one row")
    points = []
    for place in range(max(lengths.values())):
        cells = {label: text for label in columns for text in _text(columns[label][place], missing_nan)}
        points.append(Point(place + 1, cells))
    return Piece("", name, tuple(points), Numbers(","))


def _text(value: object, missing_nan: bool) -> Iterator[str]:
    """A value as the text of a cell; nothing where it was not recorded."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return
    if isinstance(value, numbers.Integral):
        yield str(int(value))
    elif isinstance(value, numbers.Real):
        number = float(value)
        if not (missing_nan and math.isnan(number)):
            yield repr(number)
    else:
        yield str(value)
