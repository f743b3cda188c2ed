"""What the search tried: part of the gap that comes back against what it costs."""

from __future__ import annotations

import math

from algobias.report.figures.base import Spec, Width, field, frame, layer, log_axis, tip
from algobias.report.figures.points import Points
from algobias.report.figures.series import Rows

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
                "lever": setting.lever or "",
                "cost": cost,
                "recovered": recovered.mean,
                "shown": min(HIGHEST, max(LOWEST, recovered.mean)),
                "seeds": None if setting.seeds is None else float(setting.seeds),
                "state": state,
            }
        )
    return sorted(rows, key=lambda row: (row["cost"], -row["recovered"]))


def front(rows: Rows) -> Rows:
    """The settings that no cheaper one beats, as the corners of a staircase."""
    corners: Rows = []
    best = -math.inf
    for row in rows:
        if row["recovered"] > best:
            best = row["recovered"]
            corners.append({"cost": row["cost"], "shown": row["shown"]})
    if corners and rows[-1]["cost"] > corners[-1]["cost"]:
        corners.append({"cost": rows[-1]["cost"], "shown": corners[-1]["shown"]})
    return corners


def pareto(points: Points, width: Width = "container") -> Spec:
    """Part of the gap recovered on the selection seeds against gradient evaluations, with the front."""
    rows = pareto_rows(points)
    costs = [row["cost"] for row in rows]
    axis = log_axis(costs, "Gradient evaluations, multiple of the variant as audited", number="~g")
    x = field("cost", **axis)
    low = min([-0.1, *(row["shown"] for row in rows)])
    high = max([1.1, *(row["shown"] for row in rows)])
    y = field(
        "shown", title="Part of the gap recovered", scale={"domain": [low, high], "nice": False, "padding": 6}
    )
    states = ["chosen", "tried", "above a limit"]
    look = {
        "color": field(
            "state",
            "nominal",
            sort=states,
            scale={"domain": states, "range": "category"},
            legend={"title": None, "orient": "bottom"},
        ),
        "shape": field(
            "state",
            "nominal",
            sort=states,
            scale={"domain": states, "range": "symbol"},
            legend={"title": None, "orient": "bottom"},
        ),
    }
    about = tip(
        ("lever", "Control", ""),
        ("recovered", "R on the selection seeds", ".2f"),
        ("cost", "Gradient evaluations, multiple", ".2f"),
        ("seeds", "Seeds", ".0f"),
    )
    chosen = [row for row in rows if row["state"] == "chosen"]
    layers = [
        layer("rules", {"type": "rule", "style": "zero-rule"}, y=field("value")),
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
