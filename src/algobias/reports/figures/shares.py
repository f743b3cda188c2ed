"""The split of the gap into shares, and what controls recover."""

from __future__ import annotations

from algobias.answer.interval import Interval
from algobias.reports.controls import as_chosen
from algobias.reports.figures.base import Figure, Layer, Spec, Width, field, frame, interval, layer, rule, tip
from algobias.reports.figures.points import Points
from algobias.reports.figures.seeds import tolerance_rules
from algobias.reports.figures.series import Rows, number, numbers
from algobias.reports.numerals import estimate
from algobias.reports.words import arm_label, decimals, unit
from algobias.runs.arm_name import under_control

ROW_AXIS = {
    "title": None,
    "labelExpr": "split(datum.label, '\\n')",
    "labelLimit": 190,
    "labelFontSize": 12.5,
    "labelLineHeight": 16,
    "domain": False,
    "ticks": False,
    "labelPadding": 8,
}


_DEEPEST = 4

SHORT = {"matched": "matched", "planned_end": "planned end"}


def split(points: Points, width: Width = "container") -> Figure:
    """Gap, fit share and bias share as bars with their intervals, against the tolerance."""
    record, places = points.record, decimals(points.record)
    fit = record.answer.fit
    named = [
        ("gap at the planned end", record.answer.gap),
        ("fit share", fit.fit_share or Interval()),
        ("bias share", fit.bias_share or Interval()),
    ]
    rows: Rows = [
        {
            "row": f"{name}\n{estimate(value, places)}",
            "mean": value.mean,
            "low": value.low,
            "high": value.high,
        }
        for name, value in named
    ]
    order = [row["row"] for row in rows]
    title = "Baseline minus variant" + (f" ({unit(record)})" if unit(record) else "")
    y = field("row", "nominal", sort=order, scale={"domain": order, "paddingInner": 0.35}, axis=ROW_AXIS)
    seeds = {
        f"seeds{depth}": [{"row": order[0], **row} for row in rows]
        for depth, rows in enumerate(piled(points.differences))
    }
    number = f".{places}f"
    layers = [
        layer(
            "shares", {"type": "bar", "style": "bar"}, x=field("mean", title=title, scale={"zero": True}), y=y
        ),
        rule("zero", "zero-rule", x=field("value")),
        rule("tolerance", "tolerance-rule", x=field("value")),
        *(
            layer(
                f"seeds{depth}",
                {"type": "point", "filled": True, "style": "seed", "yOffset": 9 + 5 * depth},
                x=field("value"),
                y=y,
                tooltip=tip(("replicate", "Replicate", ""), ("value", "Gap", number)),
            )
            for depth in range(_DEEPEST)
        ),
        *_intervals("shares", y, number),
    ]
    said = "; ".join(f"{name} {estimate(value, places)}" for name, value in named)
    return frame(
        layers,
        {
            "shares": [row for row in rows if row["mean"] is not None],
            **seeds,
            **tolerance_rules(record.answer.tolerance),
        },
        width=width,
        height={"step": 56},
        description=f"The gap and its shares, with 95 % intervals: {said}.",
    )


def piled(rows: Rows) -> list[Rows]:
    """Seed gaps in layers, at most four: equal ones (accuracies come in steps) stand under each other."""
    layers: list[Rows] = [[] for _ in range(_DEEPEST)]
    ordered = sorted(rows, key=lambda row: (number(row, "value"), number(row, "replicate")))
    if not ordered:
        return layers
    values = numbers(ordered, "value")
    near = 0.012 * (values[-1] - values[0])
    start, depth = values[0], -1
    for row, value in zip(ordered, values, strict=True):
        depth = depth + 1 if value - start <= near else 0
        start = value if depth == 0 else start
        layers[min(depth, _DEEPEST - 1)].append(row)
    return layers


def recovery(points: Points, width: Width = "container") -> Figure:
    """R and R* of each control with their intervals; 0 is no recovery and 1 is all of the gap.

    An unbounded interval (Fieller) is drawn as a dashed line across the whole figure.
    """
    record = points.record
    rows: Rows = []
    controls = as_chosen(record)
    apart = len({control.at for control in controls}) > 1
    for index, control in enumerate(controls):
        name = arm_label(under_control("variant", index), record).removeprefix("variant + ")
        name += f", {SHORT.get(str(control.at), '')}" if apart else ""
        recovered = {"R": control.recovered, "R*": control.recovered_against_treated_baseline}
        for letter, value in recovered.items():
            rows.append(
                {
                    "row": f"{letter}, {name}\n{estimate(value, 2)}",
                    "mean": value.mean,
                    "low": value.low if value.bounded else None,
                    "high": value.high if value.bounded else None,
                    "unbounded": value.known and not value.bounded,
                }
            )
    order = [row["row"] for row in rows]
    known = numbers(rows, "mean", "low", "high")
    domain = [max(-2.0, min([-0.25, *known])), min(3.0, max([1.25, *known]))]
    x = field("mean", title="Part of the gap recovered", scale={"domain": domain, "nice": False})
    y = field("row", "nominal", sort=order, scale={"domain": order}, axis=ROW_AXIS)
    open_ends = [{"row": row["row"], "low": domain[0], "high": domain[1]} for row in rows if row["unbounded"]]
    layers = [
        rule("rules", "zero-rule", x=field("value")),
        interval("unbounded", "tolerance-rule", clip=False, y=y),
        *_intervals("recoveries", y, ".2f", x),
    ]
    said = "; ".join(str(row["row"]).replace("\n", " ") for row in rows)
    return frame(
        layers,
        {
            "rules": [{"value": 0}, {"value": 1}],
            "unbounded": open_ends,
            "recoveries": [row for row in rows if row["mean"] is not None],
        },
        width=width,
        height={"step": 48},
        description=f"Part of the gap that each control recovers: {said}.",
    )


def _intervals(name: str, y: Spec, number: str, x: Spec | None = None) -> list[Layer]:
    tooltip = tip(("mean", "Estimate", number), ("low", "95 % from", number), ("high", "to", number))
    return [
        interval(name, "interval", y=y),
        layer(
            name,
            {"type": "point", "filled": True, "style": "estimate", "clip": True},
            x=x or field("mean"),
            y=y,
            tooltip=tooltip,
        ),
    ]
