"""A lab in the terminal: verdict, picture in characters, table."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel as Frame
from rich.table import Table
from rich.text import Text

from algobias.answer.lab import Axis, LabResult, Panel, Series
from algobias.reports.figures.lab import groups
from algobias.reports.lab import cell, check_in_words
from algobias.reports.widths import longest_line, longest_word, widths

_COLORS = ("cyan", "yellow", "magenta", "green", "blue", "red")
_MARKS = ("●", "■", "▲", "▼", "◆", "+")
_ROWS = 15
_WIDEST = 72


@dataclass(frozen=True)
class LabView:
    """What ``algobias lab NAME`` prints; it fits any width from 40 columns on."""

    result: LabResult

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        result, width = self.result, min(options.max_width, 110)
        style = "green" if result.verdict == "agrees" else "red"
        said = [
            Text(
                f"{check.name}: {check_in_words(check.largest, check.tolerance, check.where)}",
                overflow="fold",
            )
            for check in result.checks
        ]
        inner: list[RenderableType] = [Text(result.title, style="bold"), "", Text(result.shown), ""]
        inner += [Text(result.theory), "", *said, "", Text(f"Source: {result.sources[0]}", style="dim")]
        yield Frame(
            Group(*inner),
            title=Text(f" Training {result.verdict} with theory ", style=f"bold {style}"),
            title_align="left",
            border_style=style,
            padding=(0, 1) if width < 70 else (1, 2),
            width=width,
        )
        for panel in result.panels[:1]:
            yield Text("")
            yield from plot(panel, groups(result), min(width - 10, _WIDEST))
        yield Text("")
        yield _table(result, width)


def plot(panel: Panel, names: list[str], width: int) -> list[Text]:
    """A picture of a panel in characters: dots are theory, filled marks are training.

    Args:
        panel: What is drawn.
        names: All groups of the lab; the place of a group gives its colour and mark.
        width: Columns inside the axes.
    """
    drawn = [one for one in panel.series if one.kind in ("theory", "training")]
    xs = [_along(panel.x, x) for one in drawn for x, _ in one.points]
    ys = [_along(panel.y, y) for one in drawn for _, y in one.points]
    if not xs or width < 10:
        return []
    x_ends, y_ends = (min(xs), max(xs)), (min(ys), max(ys))
    canvas: dict[tuple[int, int], tuple[str, str]] = {}

    def put(one: Series, x: float, y: float, sign: str) -> None:
        column = round(_part(x, x_ends) * (width - 1))
        row = round((1 - _part(y, y_ends)) * (_ROWS - 1))
        canvas[row, column] = (sign, _COLORS[names.index(one.group) % len(_COLORS)])

    for one in sorted(drawn, key=lambda one: one.kind == "training"):
        places = [(_along(panel.x, x), _along(panel.y, y)) for x, y in one.points]
        if one.kind == "training":
            for x, y in places:
                put(one, x, y, _MARKS[names.index(one.group) % len(_MARKS)])
            continue
        for (x, y), (x2, y2) in itertools.pairwise(places):
            for step in range(9):
                put(one, x + (x2 - x) * step / 8, y + (y2 - y) * step / 8, "·")
    lines = [Text(_titled(panel.y), style="dim")]
    for row in range(_ROWS):
        label = {0: y_ends[1], _ROWS - 1: y_ends[0]}.get(row)
        shown = "" if label is None else f"{_back(panel.y, label):.3g}"
        line = Text(f"{shown:>8} │", style="dim")
        for column in range(width):
            sign, color = canvas.get((row, column), (" ", ""))
            line.append(sign, style=color)
        lines.append(line)
    low, high = (f"{_back(panel.x, end):.3g}" for end in x_ends)
    lines.append(Text(f"{'':>8} └{'─' * width}", style="dim"))
    lines.append(Text(f"{'':>10}{low}{high:>{width - len(low)}}", style="dim"))
    lines.append(Text(f"{_titled(panel.x):>{width + 10}}", style="dim"))
    legend = Text(" " * 10)
    for name in dict.fromkeys(one.group for one in drawn):
        place = names.index(name)
        legend.append(f"{_MARKS[place % len(_MARKS)]} {name}   ", style=_COLORS[place % len(_COLORS)])
    lines += [legend, Text(f"{'':>10}dots: theory; marks: trained", style="dim")]
    return lines


def _table(result: LabResult, width: int) -> RenderableType:
    rows = [[cell(row.get(column.name)) for column in result.columns] for row in result.rows]
    columns = list(zip(*rows, strict=True))
    needed = [
        max(longest_line(filled), longest_word([column.title]))
        for column, filled in zip(result.columns, columns, strict=True)
    ]
    wanted = [len(column.title) for column in result.columns]
    fitting = ((gap, widths(needed, wanted, width - gap * len(needed))) for gap in (2, 1))
    gap, wide = next(((gap, wide) for gap, wide in fitting if wide is not None), (0, []))
    if not wide:
        blocks = []
        for row in rows:
            pairs = zip(result.columns[1:], row[1:], strict=True)
            blocks.append(Text(f"{result.columns[0].title} {row[0]}", style="bold"))
            blocks.append(
                Text("  " + "; ".join(f"{one.title}: {shown}" for one, shown in pairs), overflow="fold")
            )
        return Group(*blocks)
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    for place, column in enumerate(result.columns):
        text = isinstance(result.rows[0].get(column.name), str)
        table.add_column(column.title, justify="left" if text else "right", width=wide[place])
    for row in rows:
        table.add_row(*(Text(shown) for shown in row))
    return table


def _titled(axis: Axis) -> str:
    """The title of an axis, which says where it is logarithmic."""
    return f"{axis.title} (logarithmic)" if axis.log else axis.title


def _along(axis: Axis, value: float) -> float:
    return math.log10(value) if axis.log else value


def _back(axis: Axis, place: float) -> float:
    return 10**place if axis.log else place


def _part(value: float, ends: tuple[float, float]) -> float:
    return 0.5 if ends[1] == ends[0] else (value - ends[0]) / (ends[1] - ends[0])
