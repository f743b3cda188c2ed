"""What the search tried: part of the gap that comes back against what it costs."""

from __future__ import annotations

import math

from algobias.own.user_file import without_files
from algobias.reports.figures.base import (
    Figure,
    Width,
    field,
    frame,
    layer,
    legend_below,
    log_axis,
    rule,
    tip,
)
from algobias.reports.figures.points import Points
from algobias.reports.figures.series import Rows, number, numbers

HIGHEST, LOWEST = 2.0, -1.0
"""Recovered parts beyond these are drawn at the edge, and the table has their numbers."""


def pareto_rows(points: Points) -> Rows:
    """One row for each setting: ``lever, cost, recovered, shown, state``; cheapest first.

    ``cost`` is in multiples of the gradient evaluations of the variant as audited.
    """
    rows: Rows = []
    for setting in points.record.answer.tried:
        recovered, cost = setting.recovered, setting.against_variant.gradients
        if recovered.mean is None or cost is None or not cost > 0:
            continue
        state = "chosen" if setting.chosen else "above a limit" if setting.over_limit else "tried"
        rows.append(
            {
                "lever": without_files(setting.lever or ""),
                "cost": cost,
                "recovered": recovered.mean,
                "shown": min(HIGHEST, max(LOWEST, recovered.mean)),
                "seeds": None if setting.seeds is None else float(setting.seeds),
                "state": state,
            }
        )
    return sorted(rows, key=lambda row: (number(row, "cost"), -number(row, "recovered")))


def left_out(points: Points) -> tuple[str, ...]:
    """Name the settings that have no place in the picture, and say why; nothing where there are none."""
    names = [
        without_files(setting.lever or "")
        for setting in points.record.answer.tried
        if setting.recovered.mean is not None and setting.against_variant.gradients is None
    ]
    return (f"Not drawn, since their gradients are not known: {', '.join(names)}.",) if names else ()


def front(rows: Rows) -> Rows:
    """The settings that no cheaper one beats, as the corners of a staircase."""
    corners: Rows = []
    best = -math.inf
    for row in rows:
        if number(row, "recovered") > best:
            best = number(row, "recovered")
            corners.append({"cost": row["cost"], "shown": row["shown"]})
    if corners and number(rows[-1], "cost") > number(corners[-1], "cost"):
        corners.append({"cost": rows[-1]["cost"], "shown": corners[-1]["shown"]})
    return corners


def pareto(points: Points, width: Width = "container") -> Figure:
    """Part of the gap recovered on the selection seeds against gradient evaluations, with the front."""
    rows = pareto_rows(points)
    title = "Gradient evaluations, multiple of the variant as audited"
    x = field("cost", **log_axis(numbers(rows, "cost"), title, number="~g"))
    shown = numbers(rows, "shown")
    scale = {"domain": [min([-0.1, *shown]), max([1.1, *shown])], "nice": False, "padding": 6}
    y = field("shown", title="Part of the gap recovered", scale=scale)
    states = ["chosen", "tried", "above a limit"]
    look = {
        channel: field(
            "state",
            "nominal",
            sort=states,
            scale={"domain": states, "range": marks},
            legend=legend_below(),
        )
        for channel, marks in (("color", "category"), ("shape", "symbol"))
    }
    about = tip(
        ("lever", "Control", ""),
        ("recovered", "R on the selection seeds", ".2f"),
        ("cost", "Gradient evaluations, multiple", ".2f"),
        ("seeds", "Seeds", ".0f"),
    )
    chosen = [row for row in rows if row["state"] == "chosen"]
    layers = [
        rule("rules", "zero-rule", y=field("value")),
        layer(
            "front",
            {"type": "line", "interpolate": "step-after", "style": "mean-line", "opacity": 0.5},
            x=x,
            y=y,
        ),
        layer("settings", {"type": "point", "filled": True, "size": 90}, x=x, y=y, tooltip=about, **look),
        layer(
            "chosen",
            {"type": "text", "dy": -12, "align": "center", "limit": 210, "fontSize": 12},
            x=x,
            y=y,
            text=field("lever", "nominal"),
        ),
    ]
    said = "; ".join(f"{row['lever']} {row['recovered']:.2f} at {row['cost']:.2f}" for row in rows)
    return frame(
        layers,
        {
            "rules": [{"value": 0}, {"value": 1}],
            "front": front(rows),
            "settings": rows,
            "chosen": chosen,
        },
        width=width,
        height=320,
        description=f"Part of the gap recovered, and cost in gradient evaluations: {said}.",
    )
