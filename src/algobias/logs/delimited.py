"""Tables with a header, as CSV files of any separator: what the formats that are such tables share."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from algobias.errors import BadInput
from algobias.kept.csvfile import Numbers, blank, plain
from algobias.logs.raw import Piece, Point, nothing_in, text_of

_SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class Table:
    """A table as it is written.

    Attributes:
        header: Names of the columns.
        points: Its rows, blank cells left out.
        numbers: Reader of its numbers.
        notes: What a reader should know.
    """

    header: tuple[str, ...]
    points: tuple[Point, ...]
    numbers: Numbers
    notes: tuple[str, ...] = ()


def header_of(head: bytes) -> list[str]:
    """The names in the header of a table, plainly spelled; none where the file is no text.

    Args:
        head: The beginning of the file.
    """
    text = head.decode("utf-8-sig", errors="replace")
    lines = [line for line in text.splitlines()[:5] if line.strip() and not _tells_separator(line)]
    if not lines or "\0" in text or "\ufffd" in lines[0]:
        return []
    try:
        return [plain(cell) for cell in _cells(lines[0], separator_of(lines[0]))]
    except csv.Error:
        return []


def has_columns(head: bytes, wanted: Iterable[Sequence[str]]) -> bool:
    """Say whether a file begins with a header that has, of each of several lists, one of its names.

    Args:
        head: The beginning of the file.
        wanted: Lists of names of columns.
    """
    header = set(header_of(head))
    return all(any(plain(name) in header for name in names) for names in wanted)


def separator_of(header: str) -> str:
    """The separator that makes most cells of a header; a comma where there is none."""
    return max(_SEPARATORS, key=lambda separator: len(_cells(header, separator)))


def read_delimited(path: Path, name: str) -> Table:
    """Read a table with a header.

    A last line without its end and with cells missing was being written when the run was stopped: it is left
    out, with a note.

    Args:
        path: The file.
        name: What messages call it.

    Raises:
        BadInput: Not UTF-8, no rows, a row with more cells than columns, two columns of one name.
    """
    text = text_of(path)
    lines = list(io.StringIO(text, newline=""))
    skipped = 0
    while skipped < len(lines) and (not lines[skipped].strip() or _tells_separator(lines[skipped])):
        skipped += 1
    if skipped == len(lines):
        raise nothing_in(name, "a header and rows below it")
    separator = separator_of(lines[skipped])
    reader = csv.reader(lines[skipped:], delimiter=separator, skipinitialspace=True)
    points, notes = [], []
    try:
        header = [cell.strip() for cell in next(reader)]
        twice = next((cell for cell in header if cell and header.count(cell) > 1), None)
        if twice is not None:
            raise BadInput(f"{name} header", twice, "each column once")
        for cells in reader:
            line = skipped + reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if line == len(lines) and not text.endswith(("\n", "\r")) and len(cells) < len(header):
                notes.append(f"the last line of {name} was cut off and is left out")
                continue
            points.append(Point(line, _row(name, line, header, cells, separator)))
    except csv.Error as error:
        raise BadInput("log", name, f"a CSV file ({error})") from error
    if not points:
        raise nothing_in(name, "rows below the header")
    return Table(tuple(header), tuple(points), Numbers(separator), tuple(notes))


def whole_file(path: Path, name: str) -> list[Piece]:
    """Read a table that is one run, or has a column for the seed."""
    table = read_delimited(path, name)
    return [Piece("", name, table.points, table.numbers, table.notes)]


def _row(name: str, line: int, header: Sequence[str], cells: Sequence[str], separator: str) -> dict[str, str]:
    if any(cell.strip() for cell in cells[len(header) :]):
        raise BadInput(
            f"{name} line {line}",
            separator.join(cells),
            f"as many cells as the header has columns, {len(header)}",
        )
    pairs = zip(header, cells, strict=False)
    return {column: cell.strip() for column, cell in pairs if column and not blank(cell)}


def _tells_separator(line: str) -> bool:
    return line.strip().lower().startswith("sep=") and len(line.strip()) == 5


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
