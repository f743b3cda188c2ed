"""Every seed as a dot: the arms side by side, and the gap look by look."""

from __future__ import annotations

from itertools import product

from algobias.reports.figures.base import (
    Figure,
    Spec,
    Width,
    arm_color,
    arm_shape,
    field,
    focus_opacity,
    frame,
    layer,
    rule,
    tip,
)
from algobias.reports.figures.points import Points
from algobias.reports.figures.series import Row, Rows, number, numbers
from algobias.reports.numerals import estimate, fixed, shortened
from algobias.reports.words import decimals, unit

ROW = 64
_PAIR = ("baseline", "variant")


def metric_title(points: Points) -> str:
    """``Test accuracy``, with the unit where it is more than 0 to 100 and the name does not say it.

    What a script calls ``test acc`` already says that it is of the test.
    """
    name = shortened((points.record.answer.metric or "metric").replace("_", " "), 40)
    kind = unit(points.record)
    title = name if name.lower().startswith("test") else f"test {name}"
    return (
        title[:1].upper()
        + title[1:]
        + (f" ({kind})" if kind not in ("", "points") and kind not in name else "")
    )


def seed_dots(points: Points, width: Width = "container") -> Figure:
    """Test metric of every seed at the planned end, one row per arm.

    Seeds of baseline and variant are joined by a line (they share initialisation and data order); below
    the dots stand the mean and its own 95 % interval. The band reaches from the baseline's mean down by
    the tolerance.
    """
    labels = list(points.labels.values())
    total = max(numbers(points.seeds, "replicate"), default=0) + 1
    # Dots take the upper 60 % of a row, in order of seeds; the mean stands below them.
    dots: Rows = [
        {**row, "offset": -0.75 + 0.95 * (number(row, "replicate") + 0.5) / total}
        for row in points.seeds
        if row["metric"] is not None
    ]
    means: Rows = [{**row, "offset": 0.55} for row in points.arm_means]
    both = [{row["seed"]: row for row in dots if row["arm"] == points.labels.get(arm)} for arm in _PAIR]
    pairs: Rows = [one[seed] for seed in both[0] if points.paired and seed in both[1] for one in both]
    label = points.labels.get("baseline")
    base = next((number(row, "mean") for row in means if row["arm"] == label), None)
    band: Rows = []
    if points.tolerance > 0 and base is not None:
        band = [{"low": base - points.tolerance, "high": base}]
    domain = _domain(points, band)
    places = decimals(points.record)
    outside: Rows = [
        {
            "arm": row["arm"],
            "below": row["below"],
            "whole": row["count"] == row["total"],
            "text": _off_scale(row, places),
        }
        for row in points.off_scale
    ]

    y = field("arm", "nominal", sort=labels, scale={"domain": labels, "paddingInner": 0.1}, axis=_row_axis())
    offset = field("offset", scale={"domain": [-1, 1]})
    x = field("metric", title=metric_title(points), scale={"domain": domain, "zero": False})
    digits = f".{places}f"
    color, shape = arm_color(labels), arm_shape(labels)
    # A mark outside the axis is cut, but still stretches the picture.
    tables: dict[str, Rows] = {
        "band": band,
        "pairs": pairs,
        "dots": [row for row in dots if domain[0] <= number(row, "metric") <= domain[1]],
        "means": [row for row in means if domain[0] <= number(row, "mean") <= domain[1]],
    }
    layers = [
        layer(
            "band",
            {"type": "rect", "style": "tolerance-band"},
            x=field("low", title=x["title"]),
            x2={"field": "high"},
        ),
        rule("band", "tolerance-rule", x=field("low")),
        layer(
            "pairs",
            {"type": "line", "style": "pair", "clip": True},
            x=x,
            y=y,
            yOffset=offset,
            detail=field("seed", "nominal"),
        ),
        layer(
            "dots",
            {"type": "point", "filled": True, "size": 75, "style": "outline", "clip": True},
            x=x,
            y=y,
            yOffset=offset,
            color=color,
            shape=shape,
            opacity=focus_opacity(0.85),
            tooltip=tip(("arm", "Arm", ""), ("seed", "Seed", ""), ("metric", "Test metric", digits)),
        ),
        layer(
            "means",
            {"type": "rule", "strokeWidth": 2.5, "clip": True},
            x=field("low"),
            x2={"field": "high"},
            y=y,
            yOffset=offset,
            color=color,
            opacity=focus_opacity(1),
        ),
        layer(
            "means",
            {"type": "tick", "thickness": 3.5, "size": 13, "orient": "vertical", "clip": True},
            x=field("mean"),
            y=y,
            yOffset=offset,
            color=color,
            opacity=focus_opacity(1),
            tooltip=tip(
                ("arm", "Arm", ""),
                ("mean", "Mean", digits),
                ("low", "95 % from", digits),
                ("high", "to", digits),
            ),
        ),
    ]
    for below, whole in product((True, False), (True, False)):
        name = f"{'below' if below else 'above'}-{'whole' if whole else 'partly'}"
        mark = {
            "type": "text",
            "style": "note",
            "align": "left" if below else "right",
            "dx": 6 if below else -6,
            # Where other seeds of the row are drawn, the note goes below them and their mean.
            "dy": 0 if whole else 26,
        }
        edge = {"value": 0 if below else "width"}
        layers.append(layer(name, mark, x=edge, y=y, text=field("text", "nominal")))
        tables[name] = [row for row in outside if (row["below"], row["whole"]) == (below, whole)]
    parts = [f"{row['arm']} {fixed(number(row, 'mean'), places)} over {row['n']} seeds" for row in means]
    return frame(
        layers,
        tables,
        width=width,
        height={"step": ROW},
        description=f"{metric_title(points)} of every seed at the planned end. Means: {'; '.join(parts)}.",
    )


def _domain(points: Points, band: Rows) -> list[float]:
    """Range of the axis: planned ends, the tolerance, and the intervals of the arms that are in range."""
    low, high = points.scale_range
    room = max(high - low, points.tolerance, 1e-9)
    bounds = numbers(points.arm_means, "low", "high")
    near = [value for value in bounds if low - room / 2 <= value <= high + room / 2]
    every = [low, high, *near, *numbers(band, "low")]
    return [min(every) - 0.04 * room, max(every) + 0.04 * room]


def _off_scale(row: Row, places: int) -> str:
    """``\u25c2 6 seeds off the scale, mean 24.59``."""
    who = "all seeds" if row["count"] == row["total"] else f"{row['count']} of {row['total']} seeds"
    text = f"{who} off the scale"
    text += "".join(f", mean {fixed(mean, places)}" for mean in numbers([row], "mean"))
    return f"\u25c2 {text}" if row["below"] else f"{text} \u25b8"


def gap_by_look(points: Points, width: Width = "container") -> Figure:
    """The gap and its interval at each look, with the tolerance."""
    record = points.record
    looks = [look for look in record.looks if look.n is not None and look.gap.known]
    rows: Rows = [
        {"n": look.n, "mean": look.gap.mean, "low": look.gap.low, "high": look.gap.high} for look in looks
    ]
    rules = tolerance_rules(record.answer.tolerance)
    places = decimals(record)
    title = "Gap" + (f" ({unit(record)})" if unit(record) else "")
    x = field("n", "ordinal", title="Seeds at the look", axis={"labelAngle": 0})
    y = field("mean", title=title, scale={"zero": True}, axis={"tickCount": 5})
    digits = f".{places}f"
    layers = [
        rule("zero", "zero-rule", y=field("value", title=title)),
        rule("tolerance", "tolerance-rule", y=field("value")),
        rule("looks", "interval", x=x, y=field("low"), y2={"field": "high"}),
        layer(
            "looks",
            {"type": "point", "filled": True, "style": "estimate"},
            x=x,
            y=y,
            tooltip=tip(
                ("n", "Seeds", ""), ("mean", "Gap", digits), ("low", "from", digits), ("high", "to", digits)
            ),
        ),
    ]
    said = "; ".join(f"{look.n} seeds {estimate(look.gap, places)}" for look in looks)
    return frame(
        layers,
        {**rules, "looks": rows},
        width=width,
        height=200,
        description=f"The gap at each look: {said}.",
    )


def tolerance_rules(tolerance: float | None) -> dict[str, Rows]:
    """Datasets of the zero line and of the tolerance line."""
    return {"zero": [{"value": 0}], "tolerance": [] if tolerance is None else [{"value": tolerance}]}


def _row_axis() -> Spec:
    # A label "variant + control 2" breaks at the plus sign: a phone has no room for it on one line.
    return {
        "title": None,
        "labelExpr": "split(replace(datum.label, ' + ', '\\n+ '), '\\n')",
        "labelLimit": 130,
        "labelFontSize": 12.5,
        "domain": False,
        "ticks": False,
        "labelPadding": 8,
    }
