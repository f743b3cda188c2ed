"""An arm from its logs: rows of all its runs with their seeds, and what was read as what."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from algobias.errors import BadInput
from algobias.kept.csvfile import Row, plain, read_table
from algobias.logs.choose import Asked, choose, listed
from algobias.logs.formats.tables import Table
from algobias.logs.frames import Frames, given_frames, open_ends
from algobias.logs.gather import Place, find
from algobias.logs.rates import Decay, decay_in
from algobias.logs.raw import Direction, Format, Names, Piece, RawRun, head_of
from algobias.logs.registry import ANY, OWN, format_named
from algobias.logs.rows import rows_of
from algobias.logs.seeds import natural, seeds_of


@dataclass(frozen=True)
class Reading:
    """How logs are to be read.

    Attributes:
        columns: Role -> column, as asked for.
        seeds: Seeds of the runs of each arm, in the natural order of their names; None: their names tell.
        forms: Words for the formats: one for both arms, or that of the baseline and that of the variant.
    """

    columns: Asked = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None
    forms: tuple[str, ...] = ()

    def format_of(self, arm: str) -> Format | None:
        """The format that was said for an arm; None: it is to be found out.

        Raises:
            BadInput: There is none of that name, or more formats than arms.
        """
        if len(self.forms) > 2:
            raise BadInput("--format", ", ".join(self.forms), "one for both arms, or one for each of them")
        return format_named(self.forms[-1 if arm == "variant" else 0]) if self.forms else None


@dataclass(frozen=True)
class RunRows:
    """Rows of one file or run.

    Attributes:
        name: What messages call it.
        rows: Its rows; of several seeds where it is a table with a column for them.
    """

    name: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Arm:
    """The logs of an arm.

    Attributes:
        runs: Its runs.
        files: Files that were read.
        form: What people call the format.
        own: It is the tool's own table.
        columns: Role -> column; empty for the tool's own table.
        better: Which test metrics are better, where a format's names tell.
        loss: How its training loss is measured.
        seeds: Name of a run -> its seed, where names or ``--seeds`` told.
        notes: What a reader should know.
        decay: A learning rate that falls, or None.
    """

    runs: tuple[RunRows, ...]
    files: tuple[Path, ...]
    form: str
    own: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    better: Direction | None = None
    loss: str = ""
    seeds: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    decay: Decay | None = None


def read_arm(arm: str, path: Path, name: str, reading: Reading) -> Arm:
    """Read the logs of an arm.

    Args:
        arm: ``baseline`` or ``variant``.
        path: A file, a folder or a pattern.
        name: What messages call it.
        reading: How they are to be read.

    Raises:
        BadInput: Nothing that can be read; several columns, seeds or formats that may be meant.
    """
    asked = reading.format_of(arm)
    path, runs = selected(path)
    place = find(arm, path, asked, reading.columns)
    kind = place.kind
    if kind is None and reading.columns:
        kind = ANY
    if kind is None or (kind.key == OWN.key and not reading.columns):
        if runs is not None:
            raise BadInput(arm, name, "a file whose format names its runs, before the ::")
        return _own(arm, name, place)
    log = _log(arm, name, kind, place, runs)
    if asked is None and not _certain(kind, place, reading.columns):
        log = replace(log, words=ANY.words, loss="")
    return _arm(arm, log, reading)


def _certain(kind: Format, place: Place, asked: Asked) -> bool:
    """Say whether a table is of its format: by its name, or by columns of that format's own."""
    if not isinstance(kind, Table):
        return True
    if any(kind.confidence(path, head_of(path)) > 1 for path in place.paths):
        return True
    own = {plain(column) for column in (*kind.names.update, *kind.names.train_loss)}
    wanted = [plain(column) for role in ("update", "train_loss") for column in asked.get(role, ())]
    return not kind.widespread and own.issuperset(wanted)


def selected(path: Path) -> tuple[Path, str | None]:
    """Split ``export.csv::base*`` into the file, and the pattern for the names of runs in it.

    Args:
        path: As the user gave it; what is a path as it stands has no pattern.
    """
    if os.path.lexists(path):
        return path, None
    place, mark, pattern = str(path).rpartition("::")
    return (Path(place), pattern) if mark and place and pattern else (path, None)


def _own(arm: str, name: str, place: Place) -> Arm:
    """Tables of the tool's own columns, or one of which nothing is known: what it lacks is said there."""
    names = [name] if place.alone else [str(path) for path in place.paths]
    tables = [RunRows(table, read_table(path, table)) for table, path in zip(names, place.paths, strict=True)]
    return _apart(arm, Arm(tuple(tables), place.paths, OWN.words, own=True))


def frames_arm(arm: str, value: Frames, name: str, reading: Reading) -> Arm:
    """Take curves that are objects in Python as the logs of an arm.

    Args:
        arm: ``baseline`` or ``variant``.
        value: The curves.
        name: What messages call them.
        reading: Columns and seeds; the format is that of objects.

    Raises:
        BadInput: No curves; several columns that may be meant; seeds that are not known.
    """
    given = given_frames(arm, value)
    if given.seeds is not None:
        reading = replace(reading, seeds=given.seeds)
    log = _Log(name, given.runs, given.names, given.words)
    read = _arm(arm, log, reading)
    columns = [read.columns.get(role) for role in ("train_loss", "test_metric")]
    ends = open_ends(given, str(columns[0]), str(columns[1]), read.columns.get("seed"))
    if not ends:
        return read
    more = f" and {len(ends) - 5} more" if len(ends) > 5 else ""
    note = (
        f"the last row of {', '.join(ends[:5])}{more} in {name} has no {columns[0]} and no {columns[1]}: nan "
        "in a data frame is read as not recorded; where a run diverged, give inf"
    )
    return replace(read, notes=(*read.notes, note))


EPOCHS = ("epoch", "epochs")
"""Columns that count epochs, as far as their names tell."""


@dataclass(frozen=True)
class _Log:
    """Runs whose columns are not chosen yet.

    Attributes:
        name: What messages call the arm.
        runs: Its runs.
        names: What the format's columns are.
        words: What people call the format.
        loss: How its training loss is measured.
        files: What was read.
    """

    name: str
    runs: Sequence[RawRun]
    names: Names
    words: str
    loss: str = ""
    files: tuple[Path, ...] = ()


def _log(arm: str, name: str, kind: Format, place: Place, pattern: str | None) -> _Log:
    runs = _runs(kind, place, name)
    if pattern is not None:
        names = [run.name for run in runs]
        runs = [run for run in runs if fnmatchcase(run.name, pattern)]
        if not runs:
            raise BadInput(arm, pattern, f"a pattern that fits names of runs: {listed(names)}")
    files = tuple(file for path in place.paths for file in kind.files(path))
    return _Log(name, runs, kind.names, kind.words, kind.loss, files)


def _arm(arm: str, log: _Log, reading: Reading) -> Arm:
    name, runs = log.name, log.runs
    columns = list(dict.fromkeys(column for run in runs for column in run.columns))
    choice = choose(name, columns, log.names, reading.columns)
    for run in runs:
        for role in ("train_loss", "test_metric"):
            column = choice.columns[role]
            if column not in run.columns:
                raise BadInput(f"{name}, {run.name}", f"no {column}", f"every run with a value of {column}")
    if "seed" in choice.columns and reading.seeds is not None:
        given = ",".join(map(str, reading.seeds))
        raise BadInput("--seeds", given, f"no seeds: {name} has a column for them")
    seeds = None if "seed" in choice.columns else seeds_of(name, [run.name for run in runs], reading.seeds)
    rows_each = [
        rows_of(run, choice, None if seeds is None else seeds[number], run.name)
        for number, run in enumerate(runs)
    ]
    notes = [note for rows in rows_each for note in rows.notes]
    if any(rows.between for rows in rows_each):
        notes.append(
            f"{name} logs {choice.columns['train_loss']} between checks: the training loss of a check is the "
            "mean of what was logged since the check before"
        )
    counted = choice.columns["update"]
    if plain(counted) in EPOCHS:
        notes.append(
            f"{name} counts by {counted}: what is called updates here are epochs, equal ones of two arms "
            "whatever their batch sizes"
        )
    read = Arm(
        runs=tuple(RunRows(run.name, rows.rows) for run, rows in zip(runs, rows_each, strict=True)),
        files=log.files,
        form=log.words,
        columns=choice.columns,
        better=choice.better,
        loss=log.loss,
        seeds={} if seeds is None else {run.name: seed for run, seed in zip(runs, seeds, strict=True)},
        notes=tuple(dict.fromkeys(notes)),
        decay=decay_in(runs),
    )
    return _apart(arm, read)


def _runs(kind: Format, place: Place, called: str) -> list[RawRun]:
    """Pieces of all files, put together by the run they belong to."""
    pieces: dict[str, list[Piece]] = {}
    owner: dict[str, Path] = {}
    for path in place.paths:
        name = called if place.alone else os.path.relpath(path, place.root)
        for piece in kind.read(path, name):
            key = piece.run or name
            if not kind.many and owner.setdefault(key, path) != path:
                key = f"{key}, {name}"  # two runs may have been given one name
            pieces.setdefault(key, []).append(piece)
    names = sorted(pieces, key=natural)
    return [RawRun(name, tuple(pieces[name])) for name in names]


def _apart(arm: str, read: Arm) -> Arm:
    """Check that no seed is in two files."""
    where: dict[tuple[int, float], str] = {}
    for run in read.runs:
        for key in dict.fromkeys((row.seed, row.length) for row in run.rows):
            if where.setdefault(key, run.name) != run.name:
                needed = f"each seed in one file; it is in {where[key]} and in {run.name}"
                raise BadInput(f"{arm}, seed", key[0], needed)
    return read
