"""Which files a user means: one, all logs below a folder, or all that a pattern fits."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from algobias.errors import BadInput
from algobias.logs.choose import Asked
from algobias.logs.delimited import has_columns
from algobias.logs.formats.events import is_events
from algobias.logs.formats.exports import TensorBoardExport, WandbExport
from algobias.logs.formats.mlflow import is_run
from algobias.logs.formats.tables import Table
from algobias.logs.raw import Format, head_of
from algobias.logs.registry import ANY, FORMATS, recognise, which_format
from algobias.logs.seeds import natural
from algobias.untrusted import regular_file

_MOST_FILES = 20_000
_DEEPEST = 8
_SUFFIXES = {"", ".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".log", ".out"}
"""Files of a folder that may be logs; a file that is named is read whatever its name."""

_SKIPPED = {"__pycache__", "node_modules", "checkpoints", "artifacts"}


@dataclass(frozen=True)
class Place:
    """Files of one arm.

    Attributes:
        kind: Their format; None: not recognised.
        paths: The files, or folders where a run is one, in natural order.
        root: What their names begin with.
        alone: One file was named, and is all there is.
    """

    kind: Format | None
    paths: tuple[Path, ...]
    root: Path
    alone: bool


def is_pattern(path: Path) -> bool:
    """Whether a path has wildcards and is no file of that very name."""
    return glob.has_magic(str(path)) and not os.path.lexists(path)


def find(arm: str, path: Path, asked: Format | None, columns: Asked) -> Place:
    """Find the logs that a path names, and their format.

    Args:
        arm: ``baseline`` or ``variant``.
        path: A file, a folder or a pattern.
        asked: The format, where it was said.
        columns: Columns that were named. A text of no known format that has all of them is a table.

    Raises:
        BadInput: Nothing there, no log among it, or logs of several formats.
    """
    if is_pattern(path):
        places = [Path(name) for name in sorted(glob.iglob(str(path), recursive=True), key=natural)]
        if not places:
            raise BadInput(arm, str(path), "a pattern that fits files or folders; this one fits none")
    elif os.path.isdir(path):
        places = [path]
    else:
        regular_file(path, "table")
        if asked is not None:
            _no_table(asked, path, [path])
        return Place(asked or recognise(path), (path,), path.parent, alone=True)
    root = Path(os.path.commonpath([place.parent if place != path else place for place in places]))
    units = list(dict.fromkeys(unit for place in places for unit in _units(arm, place)))
    kinds: dict[str, list[Path]] = {}
    known: dict[str, Format] = {}
    if asked is not None:
        # Of several formats the one that was said; where nothing looks like it, it was said to know better.
        fitting = [place for place in units if _fits(asked, place, columns)]
        if not fitting:
            _no_table(asked, path, units)
        return Place(asked, tuple(asked.chosen(fitting or units)), root, alone=False)
    for place in units:
        kind = recognise(place) or (ANY if _fits(ANY, place, columns) else None)
        if kind is not None:
            known[kind.key] = kind
            kinds.setdefault(kind.key, []).append(place)
    unknown = [place for place in units if all(place not in paths for paths in kinds.values())]
    if not kinds:
        seen = ", ".join(str(path) for path in unknown[:5])
        kept = f"; {seen} {'is' if len(unknown) == 1 else 'are'} of no known format" if unknown else ""
        if os.path.isdir(path) and not unknown:
            kept = "; this is a folder without any"
        raise BadInput(arm, str(path), f"logs of a known format{kept} ({_any_table(columns)})")
    if len(kinds) > 1:
        several = "; ".join(f"{known[key].words}: {_shown(paths)}" for key, paths in kinds.items())
        needed = f"logs of one format, but there are {several}. Name the files, or {which_format(kinds)}"
        raise BadInput(arm, str(path), needed)
    (key,) = kinds
    paths = known[key].chosen(kinds[key])
    return Place(known[key], tuple(paths), root, alone=False)


def _fits(kind: Format, place: Path, columns: Asked) -> bool:
    """Whether a file is of a format: by what it holds, or, of any table, by the columns that were named."""
    head = head_of(place)
    if kind is not ANY:
        return kind.confidence(place, head) > 0
    return bool(columns) and has_columns(head, columns.values())


def _no_table(asked: Format, path: Path, units: Sequence[Path]) -> None:
    """Refuse to read as a table what is none: the other arm may be one, for which the format was said."""
    if not isinstance(asked, Table):
        return
    tables = (Table, WandbExport, TensorBoardExport)
    kinds = [kind for kind in FORMATS for place in units if kind.confidence(place, head_of(place))]
    if kinds and not any(isinstance(kind, tables) for kind in kinds):
        needed = f"a table in {path}, which looks like {kinds[0].words}: {which_format([kinds[0].key])}"
        raise BadInput("--format", asked.key, needed)


def _any_table(columns: Asked) -> str:
    """How a table of no known format is read."""
    if not columns:
        return "any other table: --columns update=...,train_loss=...,test_metric=..."
    named = ",".join(f"{role}={name}" for role, names in columns.items() for name in names)
    return f"any other table has to have the columns that are named, {named}"


def _shown(paths: list[Path]) -> str:
    return f"{paths[0]}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def _units(arm: str, place: Path) -> Iterator[Path]:
    """Files below a folder that may be logs, and folders that are a run; nothing but regular files."""
    if not os.path.isdir(place):
        if os.path.isfile(place):
            yield place
        return
    seen = 0
    for folder, folders, files in os.walk(place, followlinks=False):
        here = Path(folder)
        if is_run(here):
            yield here
            folders[:] = []
            continue
        if any(is_events(name) for name in files):
            yield here
        folders[:] = sorted(
            (name for name in folders if not name.startswith(".") and name not in _SKIPPED), key=natural
        )
        if len(here.parts) - len(place.parts) >= _DEEPEST:
            folders[:] = []
        for name in sorted(files, key=natural):
            seen += 1
            if seen > _MOST_FILES:
                raise BadInput(
                    arm, str(place), f"a folder of at most {_MOST_FILES:,} files; name them by a pattern"
                )
            path = here / name
            if is_events(name) or name.startswith("."):
                continue
            if path.suffix.lower() in _SUFFIXES and os.path.isfile(path):
                yield path
