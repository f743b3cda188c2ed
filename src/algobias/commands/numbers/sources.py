"""Where numbers of a run come from: its standard output, files it writes, or what it hands to its logger."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from algobias.commands.numbers.event_files import scalars
from algobias.commands.numbers.metric_name import words_before
from algobias.errors import MOST_SHOWN, BadInput
from algobias.jobs.job import JOB
from algobias.json_values import JsonValue
from algobias.untrusted import regular_file

KINDS = ("auto", "stdout", "csv", "json", "jsonl", "tb")
FORMS = "auto, auto:NAME, stdout:REGEX, csv:PATH:COLUMN, json:PATH:KEY, jsonl:PATH:KEY or tb:TAG"

MOST_TEXT = 256 * 2**20
"""Bytes of a file that is read for numbers."""

MOST_LINE = 2**20
"""Bytes of a line of an output that are looked at in one piece."""

UPDATES = ("update", "step", "global_step", "iter", "iteration", "_step")
"""Columns and keys that tell how many updates were made, the first that is there."""


class Value(NamedTuple):
    """A number that a run told.

    Attributes:
        number: The value.
        update: Updates made, where the source says so.
        place: Where it stands: byte of the output after it, or number of the row.
        digit: Worth of its last written digit in an output; 0: not known.
    """

    number: float
    update: int | None
    place: int
    digit: float = 0.0


@dataclass(frozen=True)
class Source:
    """Where a number is read.

    Attributes:
        kind: One of :data:`KINDS`.
        where: Regular expression of ``stdout``; else the file, which may hold ``{out}``; of ``auto`` the
            name under which the script logs it, or empty.
        key: Column or key in the file; keys inside each other are joined by dots.
    """

    kind: str
    where: str = ""
    key: str = ""

    @classmethod
    def parse(cls, text: str, option: str) -> Source:
        """Read one of :data:`FORMS`.

        ``tb:TAG`` is a tag in event files below ``{out}``, ``tb:FOLDER:TAG`` one in another folder.

        Args:
            text: As typed.
            option: What it is given with, for messages.

        Raises:
            BadInput: Of no such form; a regular expression without a group for the number.
        """
        kind, _, rest = text.partition(":")
        if kind not in KINDS:
            raise BadInput(option, text, FORMS)
        if kind == "auto":
            return cls(kind, rest)
        if kind == "stdout":
            return cls(kind, _expression(rest, option))
        path, _, key = rest.rpartition(":")
        if kind == "tb" and not path:
            path = "{out}"
        if not path or not key:
            raise BadInput(option, text, FORMS)
        return cls(kind, path, key)

    def spelling(self) -> str:
        """Spell it as it is typed."""
        return ":".join(part for part in (self.kind, self.where, self.key) if part)

    @property
    def name(self) -> str:
        """What the number is called where it is read: by a key, or by the words before it; else empty."""
        if self.kind == "stdout":
            return words_before(self.where)
        return self.where if self.kind == "auto" else self.key

    @property
    def shared(self) -> bool:
        """It is a file that every run writes in the same place."""
        return self.kind in ("csv", "json", "jsonl", "tb") and "{out}" not in self.where

    def values(self, output: Path, folder: Path, out: Path, option: str) -> list[Value]:
        """Read the numbers of a run that has ended, in order.

        Args:
            output: What it wrote to its standard output.
            folder: The folder it was run in, from which paths are taken.
            out: Its own folder, for ``{out}``.
            option: What the source was given with, for messages.

        Raises:
            BadInput: A file that is not there or cannot be read; no such column; something that is no number
                where one must be.
        """
        if self.kind == "stdout":
            return list(_matches(self.where, output, option))
        path = folder / self.where.replace("{out}", str(out))
        job = out.parent / JOB
        if self.kind == "tb":
            begun = job.stat().st_mtime if self.shared and job.is_file() else None
            found = scalars(path, self.key, option, begun)
            return [Value(number, step, place) for place, (number, step) in enumerate(found)]
        if self.shared and path.is_file() and job.is_file() and path.stat().st_mtime < job.stat().st_mtime:
            raise BadInput(option, str(path), "a file that this run wrote; this one is older than the run")
        text = _text(regular_file(path, option), option)
        if self.kind == "csv":
            try:
                return list(_column(text, self.key, option, path))
            except csv.Error as error:
                raise BadInput(option, str(path), f"a table of comma-separated values ({error})") from error
        if self.kind == "jsonl":
            return list(_keyed(_lines(text, option, path), self.key, option, path))
        loaded = _loaded(text)
        if loaded is None and text.strip() != "null":
            raise BadInput(
                option, str(path), "a file that is JSON; for an object in each line: jsonl:PATH:KEY"
            )
        return list(_keyed(loaded if isinstance(loaded, list) else [loaded], self.key, option, path))


def _expression(text: str, option: str) -> str:
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise BadInput(option, text, f"a regular expression ({error})") from error
    if groups < 1:
        raise BadInput(
            option, text, r"a regular expression with a group for the number, like 'val loss (\S+)'"
        )
    return text


def _text(path: Path, option: str) -> str:
    if path.stat().st_size > MOST_TEXT:
        raise BadInput(option, str(path), f"a file of at most {MOST_TEXT // 2**20} MiB")
    return path.read_bytes().decode("utf-8", errors="replace")


def _matches(expression: str, output: Path, option: str) -> Iterator[Value]:
    """Read matches of a regular expression: group ``value``, or the first; group ``update`` where named.

    Raises:
        BadInput: A match whose group is no number. Left out, the number before it would be the last.
    """
    pattern = re.compile(expression)
    which: str | int = "value" if "value" in pattern.groupindex else 1
    at = 0
    with output.open("rb") as file:
        while line := file.readline(MOST_LINE):
            at += len(line)
            for match in pattern.finditer(line.decode("utf-8", errors="replace")):
                update = match["update"] if "update" in pattern.groupindex else None
                number = _number(match[which])
                wrong = match[which] if number is None else update
                if number is None or (update is not None and _number(update) is None):
                    allowed = (
                        r"a regular expression whose group is the number alone, like 'acc ([-+.\w]*\w)'; "
                        f"{expression} matched {match[0][:MOST_SHOWN]!r}"
                    )
                    raise BadInput(option, wrong or "", allowed)
                yield Value(number, _whole(update), at, _last_digit(match[which]))


def _last_digit(text: str) -> float:
    """Read the worth of the last digit of a number as it is written; 0 of nan and inf."""
    exponent = Decimal(text.strip().rstrip("%")).as_tuple().exponent
    return math.pow(10.0, min(max(exponent, -300), 300)) if isinstance(exponent, int) else 0.0


def _column(text: str, column: str, option: str, path: Path) -> Iterator[Value]:
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    names = rows.fieldnames or []
    if column not in names:
        raise BadInput(option, column, f"a column of {path}: {', '.join(names) or 'it has none'}")
    counted = next((name for name in UPDATES if name in names), None)
    for place, row in enumerate(rows):
        cell = row.get(column)
        if cell == column:  # the header again, of a script that appends to its table
            continue
        number = _number_or_blank(cell, option, f"column {column} of {path}, row {place + 1}")
        if number is not None:
            yield Value(number, None if counted is None else _whole(row.get(counted)), place)


def _keyed(rows: Iterable[JsonValue], key: str, option: str, path: Path) -> Iterator[Value]:
    """Read a key of objects; a list on the way to it is gone through."""
    pairs = (pair for whole in rows for pair in _listed(whole, key.split(".")))
    for place, (row, keys) in enumerate(pairs):
        number = _number_or_blank(_inside(row, keys), option, f"{key} of {path}, object {place + 1}")
        if number is not None:
            updates = (_whole(_inside(row, [name])) for name in UPDATES)
            yield Value(number, next((update for update in updates if update is not None), None), place)


def _listed(value: JsonValue, keys: list[str]) -> Iterator[tuple[JsonValue, list[str]]]:
    """Go through the first list on the way of some keys; without one there is the value alone."""
    for used in range(len(keys)):
        inside = _inside(value, keys[:used])
        if isinstance(inside, list):
            for item in inside:
                yield from _listed(item, keys[used:])
            return
    yield value, keys


def _inside(value: JsonValue, keys: Sequence[str]) -> JsonValue:
    """Follow keys inside each other; a key that itself has dots goes before."""
    if not keys:
        return value
    if not isinstance(value, dict):
        return None
    whole = ".".join(keys)
    return value[whole] if whole in value else _inside(value.get(keys[0]), keys[1:])


def _lines(text: str, option: str, path: Path) -> Iterator[JsonValue]:
    """Read an object from each line; the last, of a file whose writer was killed, may be torn.

    Raises:
        BadInput: Another line that is no JSON. Left out, the number before it would be the last.
    """
    lines = [(place, line) for place, line in enumerate(text.splitlines(), start=1) if line.strip()]
    for place, line in lines:
        loaded = _loaded(line)
        if loaded is not None:
            yield loaded
        elif line.strip() != "null" and place != lines[-1][0]:
            raise BadInput(
                option, line[:MOST_SHOWN], f"JSON, as every line of {path} but a torn last one; line {place}"
            )


def _loaded(text: str) -> JsonValue:
    try:
        loaded: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return loaded


def _whole(value: object) -> int | None:
    """Read a number of updates; None where there is none."""
    number = _number(value)
    return int(number) if number is not None and math.isfinite(number) and number >= 0 else None


def _number_or_blank(value: object, option: str, where: str) -> float | None:
    """Read a number; None of a blank.

    Raises:
        BadInput: Neither.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    number = _number(value)
    if number is None:
        raise BadInput(option, value, f"a number, or nothing, as {where}")
    return number


def _number(value: object) -> float | None:
    """Read a number, nan and inf among them; None where there is none. Beyond 1e100 all are infinite."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = value.strip().rstrip("%") if isinstance(value, str) else value
    try:
        number = float(text)
    except ValueError:
        return None
    except OverflowError:  # a whole number of more digits than a float has room for
        return math.inf if isinstance(value, int) and value > 0 else -math.inf
    return math.copysign(math.inf, number) if abs(number) >= 1e100 else number
