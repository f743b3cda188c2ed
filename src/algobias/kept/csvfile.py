"""Reading a CSV table of curves, whoever wrote it: separator, header, cells. A blank cell is no value."""

from __future__ import annotations

import csv
import difflib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from algobias.errors import BadInput
from algobias.runs.outcome import MOST_METRIC
from algobias.untrusted import regular_file

NEEDED = ("seed", "update", "train_loss", "test_metric")
OPTIONAL = ("train_metric", "planned", "length")
VALUES = ("train_loss", "test_metric", "train_metric")
"""Columns that a row may leave blank."""

ALIASES: dict[str, tuple[str, ...]] = {
    "seed": ("run", "run_id", "trial", "replicate", "rep", "random_seed"),
    "update": ("step", "global_step", "_step", "iteration", "iter", "updates", "steps", "epoch"),
    "train_loss": ("loss", "training_loss", "train/loss", "loss/train"),
    "test_metric": (
        *("val_acc", "test_acc", "val_accuracy", "test_accuracy", "eval_accuracy", "val/acc", "test/acc"),
        *("accuracy", "acc", "val_metric", "metric"),
    ),
}
"""What other loggers call the columns, likeliest first."""

_SEPARATORS = ",;\t|"
_BLANK = {"", "na", "n/a", "#n/a", "null", "none"}
"""Cells that say that nothing was recorded. ``nan`` is a recorded value."""

_MARKS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
_LARGEST_UPDATE = 2**63 - 1
_LARGEST_SEED = 2**64 - 1
_EXACT = 2**53
"""From here on floating-point numbers leave out whole numbers."""


@dataclass(frozen=True)
class Row:
    """One check of one run; a value that was not recorded is None.

    Attributes:
        line: Line of the file the check was read from, counted from 1.
        last_digit: Worth of the last written digit of the test metric; 0 where there is none.
    """

    line: int
    seed: int
    update: int
    train_loss: float | None
    test_metric: float | None
    train_metric: float | None
    planned: bool
    length: float
    last_digit: float = 0.0

    def value(self, column: str) -> float | None:
        """The value of one of the columns :data:`VALUES`."""
        found: float | None = getattr(self, column)
        return found


def read_table(path: Path, name: str) -> list[Row]:
    """Read a table of curves, one row per seed and check.

    Columns ``seed, update, train_loss, test_metric``; optional ``train_metric``, ``planned`` (1 at the
    planned end), ``length`` (multiple of the full schedule). Capital letters and spaces in names do not
    matter, nor do the order of rows and other columns. Cells are separated by commas, semicolons, tabs or
    bars; where not by commas, numbers may have a decimal comma. A blank cell (``NA``, ``null``, ``None``)
    was not recorded; ``nan`` and ``inf`` are values.

    Args:
        path: The file.
        name: What messages call it.

    Raises:
        BadInput: No such file, a missing column, a cell that is not a number, more cells than columns, no
            rows.
    """
    regular_file(path, "table")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(_rows(name, file.read()))
    except OSError as error:
        raise BadInput("table", str(path), f"a readable CSV file ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput("table", str(path), f"a CSV file in UTF-8 ({error})") from error
    if not rows:
        raise BadInput("table", str(path), "at least one row below the header")
    return rows


def _rows(name: str, text: str) -> Iterator[Row]:
    lines = list(io.StringIO(text, newline=""))
    separator, skipped = _separator(lines)
    reader = csv.reader(lines[skipped:], delimiter=separator, skipinitialspace=True)
    header = next(reader, [])
    places = _columns(name, header)
    numbers = Numbers(separator)
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        line = skipped + reader.line_num
        if any(cell.strip() for cell in cells[len(header) :]):
            raise BadInput(
                f"{name} line {line}",
                separator.join(cells),
                f"as many cells as the header has columns, {len(header)}; a number with a decimal comma "
                "needs another separator of cells (;)",
            )
        texts = {
            column: cells[place].strip() if place < len(cells) else "" for column, place in places.items()
        }
        yield row_of(name, line, texts, numbers)


def _separator(lines: Sequence[str]) -> tuple[str, int]:
    """The separator under which the header has most of the needed columns, and lines before the header."""
    skipped = 0
    # A first line that tells Excel the separator.
    if lines and lines[0].strip().lower().startswith("sep=") and len(lines[0].strip()) == 5:
        skipped = 1
    while skipped < len(lines) and not lines[skipped].strip():
        skipped += 1
    header = lines[skipped] if skipped < len(lines) else ""

    def known(separator: str) -> int:
        cells = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
        return sum(plain(cell) in NEEDED for cell in cells)

    return max(_SEPARATORS, key=known), skipped


def plain(column: str) -> str:
    """Spell the name of a column without capital letters, spaces and dashes."""
    return "_".join(column.strip().lower().replace("-", " ").split())


def _columns(name: str, header: Sequence[str]) -> dict[str, int]:
    """Where the columns that are read stand."""
    names = [plain(cell) for cell in header]
    shown = ",".join(cell.strip() for cell in header)
    missing = [column for column in NEEDED if column not in names]
    if missing:
        said = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        spare = [cell.strip() for cell, known in zip(header, names, strict=True) if known not in NEEDED]
        guesses = [f"{guess} to {column}" for column in missing if (guess := _guess(column, spare))]
        renamed = f"; rename {', '.join(guesses)}, where that is what is meant" if guesses else ""
        raise BadInput(
            f"{name} header",
            shown or "nothing",
            f"the columns {', '.join(NEEDED)} (optional: {', '.join(OPTIONAL)}); {said}{renamed}; or a log "
            "of a known format, or --columns that say which is which",
        )
    for column in (*NEEDED, *OPTIONAL):
        if names.count(column) > 1:
            raise BadInput(f"{name} header", shown, f"each column once; {column} is there twice")
    return {column: names.index(column) for column in (*NEEDED, *OPTIONAL) if column in names}


def _guess(column: str, header: Sequence[str]) -> str | None:
    """The column of a header that may be meant under another name; None where none is near."""
    by_plain = {plain(cell): cell for cell in header if cell}
    near = difflib.get_close_matches(column, by_plain, 1, 0.6)
    alias = next((alias for alias in ALIASES[column] if alias in by_plain), near[0] if near else None)
    return None if alias is None else by_plain[alias]


class Numbers:
    """Read the numbers of one file: all with a decimal point, or all with a decimal comma.

    A file with both writes thousands with one of them, and what 1.000 means cannot be told.
    """

    def __init__(self, separator: str) -> None:
        self.comma_allowed = separator != ","
        self.written: dict[str, str] = {}

    def read(self, where: str, text: str) -> float:
        """Read a number, which may be nan or infinite."""
        mark = "," if "," in text else "." if "." in text else ""
        if mark == "," and not self.comma_allowed:
            raise BadInput(where, text, "a number without thousands separators")
        if mark:
            self.written.setdefault(mark, text)
        if len(self.written) > 1:
            both = f"{self.written['.']} and {self.written[',']}"
            raise BadInput(where, both, "one decimal mark in the whole file, and no thousands separators")
        try:
            number = float(text.replace(",", "."))
        except ValueError:
            raise BadInput(where, text, "a number") from None
        if MOST_METRIC < abs(number) < math.inf:
            raise BadInput(where, text, f"a number of at most {MOST_METRIC:g} in size")
        return number

    def whole(self, where: str, text: str, most: int) -> int:
        """Read a whole number from 0, exactly as it is written."""
        try:
            value = int(text)
        except ValueError:
            number = self.read(where, text)
            if not math.isfinite(number) or number != int(number):
                raise BadInput(where, text, "a whole number from 0") from None
            value = int(number)
            if abs(value) >= _EXACT:
                # What stood in a floating-point column has lost its last digits.
                raise BadInput(where, text, "a whole number with all its digits, no floating-point") from None
        if not 0 <= value <= most:
            raise BadInput(where, text, f"a whole number from 0 to {most}")
        return value


def blank(text: str) -> bool:
    """Say whether a cell tells that nothing was recorded."""
    return text.strip().lower() in _BLANK


def row_of(name: str, line: int, texts: dict[str, str], numbers: Numbers) -> Row:
    """Read the cells of one check.

    Args:
        name: What messages call the table.
        line: Line of the check, for messages.
        texts: Cell of each column of :data:`NEEDED` and :data:`OPTIONAL`; a column that is absent is blank.
        numbers: Reader of the file's numbers.

    Raises:
        BadInput: A cell that is not a number, or not one that there can be.
    """

    def where(column: str) -> str:
        return f"{name} line {line}, {column}"

    def value(column: str) -> float | None:
        text = texts.get(column, "")
        return None if text.lower() in _BLANK else numbers.read(where(column), text)

    loss, metric, length = value("train_loss"), value("test_metric"), value("length")
    if metric is not None and math.isnan(metric) and loss is not None and math.isfinite(loss):
        allowed = "a number where the training loss is finite, or a blank cell where it was not recorded"
        raise BadInput(where("test_metric"), texts["test_metric"], allowed)
    if length is not None and not 0 < length < math.inf:
        raise BadInput(where("length"), texts["length"], "a multiple of the full schedule above 0")
    mark = texts.get("planned", "").lower()
    if mark not in _BLANK and mark not in _MARKS:
        raise BadInput(where("planned"), texts["planned"], "1 at the planned end, else 0 or blank")
    return Row(
        line,
        numbers.whole(where("seed"), texts["seed"], _LARGEST_SEED),
        numbers.whole(where("update"), texts["update"], _LARGEST_UPDATE),
        loss,
        metric,
        value("train_metric"),
        _MARKS.get(mark, False),
        1.0 if length is None else length,
        _last_digit(texts["test_metric"]) if metric is not None and math.isfinite(metric) else 0.0,
    )


def _last_digit(text: str) -> float:
    exponent = Decimal(text.replace(",", ".")).as_tuple().exponent
    return math.pow(10.0, min(max(exponent, -300), 300)) if isinstance(exponent, int) else 0.0
