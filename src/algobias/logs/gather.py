"""Which files a user means: one, all logs below a folder, or all that a pattern fits."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from algobias.errors import BadInput
from algobias.logs.formats.events import is_events
from algobias.logs.formats.mlflow import is_run
from algobias.logs.raw import Format, head_of
from algobias.logs.registry import recognise
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


def find(arm: str, path: Path, asked: Format | None) -> Place:
    """Find the logs that a path names, and their format.

    Args:
        arm: ``baseline`` or ``variant``.
        path: A file, a folder or a pattern.
        asked: The format, where it was said.

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
        kind = recognise(regular_file(path, "table"))
        return Place(asked or kind, (path,), path.parent, alone=True)
    root = Path(os.path.commonpath([place.parent if place != path else place for place in places]))
    units = list(dict.fromkeys(unit for place in places for unit in _units(arm, place)))
    kinds: dict[str, list[Path]] = {}
    known: dict[str, Format] = {}
    if asked is not None:
        # Of several formats the one that was said; where nothing looks like it, it was said to know better.
        fitting = [place for place in units if asked.confidence(place, head_of(place))] or units
        return Place(asked, tuple(asked.chosen(fitting)), root, alone=False)
    for place in units:
        kind = recognise(place)
        if kind is not None:
            known[kind.key] = kind
            kinds.setdefault(kind.key, []).append(place)
    unknown = [place for place in units if all(place not in paths for paths in kinds.values())]
    if not kinds:
        seen = ", ".join(str(path) for path in unknown[:5])
        kept = f"; {seen} {'is' if len(unknown) == 1 else 'are'} of no known format" if unknown else ""
        if os.path.isdir(path) and not unknown:
            kept = "; this is a folder without any"
        raise BadInput(
            arm, str(path), f"logs of a known format{kept} (--format csv with --columns reads any table)"
        )
    if len(kinds) > 1:
        several = "; ".join(f"{known[key].words}: {_shown(paths)}" for key, paths in kinds.items())
        options = " or ".join(f"--format {key}" for key in kinds)
        raise BadInput(
            arm, str(path), f"logs of one format, but there are {several}. Name the files, or {options}"
        )
    (key,) = kinds
    paths = known[key].chosen(kinds[key])
    return Place(known[key], tuple(paths), root, alone=False)


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
