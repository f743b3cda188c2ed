"""Interventions: how much of the gap each leaves or brings back, and gap and coordinates against the dose."""

from __future__ import annotations

from algobias.answer.causes import Dose, DoseResponse
from algobias.answer.interval import Interval
from algobias.own.user_file import in_words
from algobias.reports.figures.base import (
    Figure,
    Width,
    field,
    frame,
    interval,
    layer,
    legend_below,
    rule,
    tip,
)
from algobias.reports.figures.points import Points
from algobias.reports.figures.series import Row, Rows, numbers
from algobias.reports.figures.shares import ROW_AXIS
from algobias.reports.numerals import estimate
from algobias.reports.record import StudyRecord

KINDS = {
    "switch_off": "switched off",
    "switch_on": "switched on",
    "dose": "other dose",
    "force": "lever pulled",
}
GONE = "Part of the gap that is gone"
PIECES = ("made by it alone", "gone without it")
MOST_COORDINATES = 4
OUTER = (-0.6, 1.8)
"""Shares beyond these are drawn at the edge; the tables have the numbers."""


def intervention_rows(record: StudyRecord) -> Rows:
    """One row for each intervention: ``row, kind, mean, low, high, open``; the share is of the gap."""
    shown = [entry for entry in record.answer.interventions if entry.kind in KINDS]
    return [
        _share(f"{entry.text}\n{estimate(entry.recovered, 2)}", KINDS[entry.kind], entry.recovered)
        for entry in shown
        if entry.recovered.known
    ]


def piece_rows(record: StudyRecord) -> Rows:
    """Two rows for each piece of the change, as :func:`intervention_rows` has them."""
    rows: Rows = []
    for entry in record.answer.pieces:
        row = entry.piece + ("\nguilty" if entry.guilty else "")
        pairs = zip(PIECES, (entry.alone, entry.repaired), strict=True)
        rows += [_share(row, kind, share) for kind, share in pairs if share.known]
    return rows


def _share(row: str, kind: str, share: Interval) -> Row:
    return {
        "row": row,
        "kind": kind,
        "mean": share.mean,
        "low": share.low if share.bounded else None,
        "high": share.high if share.bounded else None,
        "open": not share.bounded,
    }


def interventions(points: Points, width: Width = "container") -> Figure:
    """Part of the gap that is gone under every intervention; 0: none, 1: all of it."""
    return _shares(intervention_rows(points.record), list(KINDS.values()), GONE, width)


def pieces(points: Points, width: Width = "container") -> Figure:
    """What each piece of the change makes of the gap alone, and what undoing it alone brings back."""
    return _shares(piece_rows(points.record), list(PIECES), "Part of the gap", width)


def _shares(rows: Rows, kinds: list[str], title: str, width: Width) -> Figure:
    """Shares of the gap with their intervals, a line for each row."""
    known = numbers(rows, "mean", "low", "high")
    domain = [max(-1.5, min([-0.25, *known])), min(2.5, max([1.25, *known]))]
    order = list(dict.fromkeys(row["row"] for row in rows))
    y = field("row", "nominal", sort=order, scale={"domain": order}, axis=ROW_AXIS)
    scale = {"domain": kinds, "range": "category"}
    color = field("kind", "nominal", scale=scale, legend=legend_below(2))
    shape = field("kind", "nominal", scale={"domain": kinds, "range": "symbol"})
    about = tip(("kind", "What", ""), ("mean", title, ".2f"), ("low", "From", ".2f"), ("high", "To", ".2f"))
    open_rows = [{**row, "low": domain[0], "high": domain[1]} for row in rows if row["open"]]
    layers = [
        rule("rules", "zero-rule", x=field("value")),
        interval("open", "tolerance-rule", clip=False, y=y),
        interval("arms", "interval", y=y),
        layer(
            "arms",
            {"type": "point", "filled": True, "size": 80, "clip": True},
            x=field("mean", title=title, scale={"domain": domain, "nice": False}),
            y=y,
            color=color,
            shape=shape,
            tooltip=about,
        ),
    ]
    said = "; ".join(f"{row['row']} {row['kind']} {row['mean']:.2f}".replace("\n", " ") for row in rows)
    return frame(
        layers,
        {"rules": [{"value": 0}, {"value": 1}], "open": open_rows, "arms": rows},
        width=width,
        height={"step": 42},
        description=f"{title}: {said}.",
    )


def dose_rows(record: StudyRecord) -> Rows:
    """Gap and the coordinates that moved most, as shares of what the change as audited does, by dose."""
    table = record.answer.dose_response or DoseResponse()
    doses = table.doses
    sizes = [dose.dose for dose in doses]
    if 1.0 not in sizes or len(doses) < 3:
        return []
    whole = doses[sizes.index(1.0)].gap.mean
    rows: Rows = []
    if whole:
        for dose in doses:
            gap = dose.gap
            if gap.mean is not None:
                ends = [None if end is None else _inside(end / whole) for end in (gap.low, gap.high)]
                rows.append(_row("the gap", dose, gap.mean / whole, ends))
    for coordinate in table.coordinates[:MOST_COORDINATES]:
        means = coordinate.means
        base, full = means[0], means[sizes.index(1.0)]
        if base is None or full is None or base == full:
            continue
        for dose, mean in zip(doses, means, strict=True):
            if mean is not None:
                share = (mean - base) / (full - base)
                rows.append(_row(in_words(coordinate.probe), dose, share, [None, None]))
    return rows


def _inside(value: float) -> float:
    return min(OUTER[1], max(OUTER[0], value))


def _row(line: str, dose: Dose, share: float, ends: list[float | None]) -> Row:
    return {
        "line": line,
        "dose": dose.dose,
        "text": dose.text,
        "share": _inside(share),
        "low": ends[0],
        "high": ends[1],
    }


def dose_response(points: Points, width: Width = "container") -> Figure:
    """Gap and coordinates against the size of the change, as shares of what it does as audited."""
    rows = dose_rows(points.record)
    lines = list(dict.fromkeys(row["line"] for row in rows))
    sizes = sorted(set(numbers(rows, "dose")))
    x = field(
        "dose",
        title="Size of the change (0: baseline, 1: as audited)",
        scale={"domain": [0, max(sizes, default=1)], "nice": False, "padding": 12},
        axis={"values": sizes, "format": ".3~f", "grid": False},
    )
    ends = numbers(rows, "share", "low", "high")
    domain = [min([-0.1, *ends]), max([1.2, *ends])]
    y = field("share", title="Share of what the change does", scale={"domain": domain, "nice": False})
    legend = legend_below(3)
    color = field("line", "nominal", scale={"domain": lines, "range": "category"}, legend=legend)
    shape = field("line", "nominal", scale={"domain": lines, "range": "symbol"})
    about = tip(("line", "What", ""), ("text", "Change", ""), ("share", "Share", ".2f"))
    layers = [
        rule("rules", "zero-rule", y=field("value")),
        rule(
            "gaps",
            "interval",
            x=x,
            y=field("low"),
            y2={"field": "high"},
            color=color,
        ),
        layer("rows", {"type": "line", "opacity": 0.75}, x=x, y=y, color=color),
        layer(
            "rows",
            {"type": "point", "filled": True, "size": 70},
            x=x,
            y=y,
            color=color,
            shape=shape,
            tooltip=about,
        ),
    ]
    said = "; ".join(f"{row['line']} at {row['text']} {row['share']:.2f}" for row in rows)
    return frame(
        layers,
        {
            "rules": [{"value": 0}, {"value": 1}],
            "gaps": [row for row in rows if row["low"] is not None],
            "rows": rows,
        },
        width=width,
        height=320,
        description=f"Gap and coordinates against the size of the change: {said}.",
    )
