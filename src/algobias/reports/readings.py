"""Readings as a table in the terminal: value, how sure it is, and what it cost."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from algobias.answer.measured.reading import Cost, Reading
from algobias.own.user_file import in_file, without_folder
from algobias.reports.widths import longest_line, longest_word, widths
from algobias.reports.words import without_code

KINDS = {
    "numerical": ("n", "numerical bound"),
    "monte_carlo": ("r", "random vectors, 95 %"),
    "subset": ("s", "sample of examples, 95 %"),
}
"""Sources of error: letter in the table, words below it."""

STYLES = {"ok": "green", "not converged": "yellow", "unavailable": "red", "mind": "yellow"}


_TITLES = ("probe", "value", "interval", "unit", "status", "cost")
_WRAPPED = ("unit", "status")


def readings_table(
    readings: Sequence[Reading], seconds: float, read: str, *, parts: bool = False
) -> RenderableType:
    """A row for each reading, its scale-invariant twin below it; then reasons and warnings.

    Args:
        readings: What was measured.
        seconds: How long it took, all in all.
        read: What was read, ``800 training examples``.
        parts: Also a row for each part: by layer, or by quantile.
    """
    names = [_name_and_options(one.probe) for one in readings]
    width = max((len(name) for name, _, _ in names), default=20)
    rows = []
    for one, (name, colon, options) in zip(readings, names, strict=True):
        cells = [
            name + (f"{colon}\n  {options}" if colon else ""),
            _number(one.value),
            _interval(one.low, one.high, _letters(one)),
            one.unit,
            one.status.replace("_", " "),
            f"{one.cost.gradient_equivalents:.1f}",
        ]
        rows.append(_Row(cells))
        if one.twin is not None:
            twin = one.twin
            below = textwrap.fill(f"- {twin.name}", max(width, 20))
            rows.append(_Row([below, _number(twin.value), _interval(twin.low, twin.high, "")], beside=True))
        for part, value in one.parts.items() if parts else ():
            rows.append(_Row([f"  {part}", _number(value)], beside=True))
    table = _Rows(tuple(rows))
    total = total_cost(readings)
    told = f"cost: {total.gradient_equivalents:.1f} gradient-equivalents over {read}, {seconds:.1f} s"
    used = "".join(_letters(one) for one in readings)
    legend = ", ".join(f"{letter}: {words}" for letter, words in KINDS.values() if letter in used)
    errors = [Text(f"error from {legend}", style="dim")] if legend else []
    return Group(table, *errors, *_notes(readings), Text(told, style="dim"))


@dataclass(frozen=True)
class _Row:
    """Cells of a reading, or of what belongs to the one above it: a twin, a part."""

    cells: Sequence[str]
    beside: bool = False


@dataclass(frozen=True)
class _Rows:
    """Readings as a table; where it does not fit, a block of lines for each."""

    rows: Sequence[_Row]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        filled = [(title, *self._column(place)) for place, title in enumerate(_TITLES)]
        wanted = [longest_line(texts) for texts in filled]
        needed = [
            longest_word(texts) if texts[0] in _WRAPPED else wide
            for texts, wide in zip(filled, wanted, strict=True)
        ]
        wide = widths(needed, wanted, options.max_width - len(_TITLES))
        if wide is None:
            yield from self._blocks()
            return
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        for title, width in zip(_TITLES, wide, strict=True):
            justify: Literal["left", "right"] = "right" if title in ("value", "cost") else "left"
            table.add_column(title, justify=justify, width=width, style="bold" if title == "probe" else None)
        for row in self.rows:
            cells = [*row.cells, *[""] * (len(_TITLES) - len(row.cells))]
            first = Text(cells[0], style="not bold dim" if row.beside else "")
            table.add_row(first, *(Text(cell, style=STYLES.get(cell, "")) for cell in cells[1:]))
        yield table

    def _column(self, place: int) -> list[str]:
        return [row.cells[place] for row in self.rows if place < len(row.cells)]

    def _blocks(self) -> Iterator[Text]:
        for row in self.rows:
            name, *cells = row.cells
            yield Text(name, style="dim" if row.beside else "bold", overflow="fold")
            if row.beside:
                yield Text(f"  {' '.join(filter(None, cells))}", overflow="fold")
                continue
            value, interval, unit, status, cost = cells
            said = [" ".join(filter(None, (value, interval))), unit, status, f"cost {cost}"]
            yield Text(f"  {'; '.join(filter(None, said))}", overflow="fold")


def total_cost(readings: Sequence[Reading]) -> Cost:
    """What all readings cost together."""
    costs = [one.cost for one in readings]
    return Cost(
        sum(c.forwards for c in costs),
        sum(c.gradients for c in costs),
        sum(c.products for c in costs),
        sum(c.seconds for c in costs),
    )


def _notes(readings: Sequence[Reading]) -> list[RenderableType]:
    """Reasons and warnings, each once, with the probes it is about."""
    told: dict[tuple[str, str], list[str]] = {}
    for one in readings:
        name = without_folder(one.probe)
        if one.reason:
            told.setdefault((one.status.replace("_", " "), without_code(one.reason)), []).append(name)
        for warning in one.warnings:
            told.setdefault(("mind", without_code(warning)), []).append(name)
        if one.value is not None and one.low is None and one.no_interval:
            told.setdefault(("no interval", one.no_interval), []).append(name)
    return [
        Text(f"{', '.join(names)}: {kind}: {text}", style=STYLES.get(kind, "dim"))
        for (kind, text), names in told.items()
    ]


def _name_and_options(probe: str) -> tuple[str, str, str]:
    named = in_file(probe)
    if named is None:
        return probe.partition(":")
    options = named[2]
    name = without_folder(probe).removesuffix(f":{options}") if options else without_folder(probe)
    return name, ":" if options else "", options


def _letters(one: Reading) -> str:
    return "".join(letter for field, (letter, _) in KINDS.items() if getattr(one, field) is not None)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _interval(low: float | None, high: float | None, letters: str) -> str:
    if low is None or high is None:
        return ""
    return f"{low:.3g} to {high:.3g} {letters}".rstrip()
