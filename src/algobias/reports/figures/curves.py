"""Learning curves, and the test metric against the training fit."""

from __future__ import annotations

import math

from algobias.reports.figures.base import (
    Figure,
    Layer,
    Spec,
    Width,
    arm_color,
    arm_shape,
    field,
    focus_opacity,
    frame,
    layer,
    log_axis,
    rule,
    tip,
    window,
)
from algobias.reports.figures.points import Points
from algobias.reports.figures.seeds import metric_title
from algobias.reports.figures.series import Cell, Rows, number, numbers
from algobias.reports.numerals import loss
from algobias.reports.words import FIT_WORDS, decimals

HEIGHT = 290
_SEED = 0.2
"""Opacity of the line of one seed."""


def training_loss(points: Points, width: Width = "container") -> Figure:
    """Training loss against updates, both logarithmic: thin lines are seeds, thick ones geometric means."""
    curves = [row for row in points.curves if row["loss"] is not None]
    y = field("loss", **log_axis(numbers(curves, "loss"), "Training loss", grid=True))
    on_loss = points.fit_axis.on == "train_loss"
    level = rule("level", "level-rule", y={**y, "field": "level"})
    return frame(
        [level, *_lines(points, "loss", y, ".2~e", width)],
        {"level": _level(points) if on_loss else [], **_tables(points, curves, "loss")},
        width=width,
        height=HEIGHT,
        description="Training loss against updates, both axes logarithmic. " + _ends_in_words(points),
    )


def metric_curve(points: Points, width: Width = "container") -> Figure:
    """Test metric against log updates; the axis starts a little below where the arms end."""
    curves = [row for row in points.curves if row["metric"] is not None]
    return frame(
        _lines(points, "metric", _metric_axis(points), f".{decimals(points.record)}f", width),
        _tables(points, curves, "metric"),
        width=width,
        height=HEIGHT,
        description=f"{metric_title(points)} against updates. " + _ends_in_words(points),
    )


def metric_window(points: Points, drawn: Rows | None = None) -> tuple[float, float]:
    """Range of the test metric in which rows (by default the learning curves) are drawn."""
    shown = points.curves if drawn is None else drawn
    return window(points.scale_range, numbers(shown, "metric"), points.tolerance)


def metric_against_fit(points: Points, width: Width = "container") -> Figure:
    """Test metric against the training loss, with the matched level: the gap there is the bias share.

    Training runs to the right (the loss falls). Recipes whose learning rate decays have one point per run
    and length; others are drawn along their curves.
    """
    low, high = metric_window(points, points.fits)
    measure = FIT_WORDS[points.fit_axis.on]
    level = _level(points)
    # What lies below the window of the metric needs no room to the left either.
    span = numbers([row for row in points.fits if number(row, "metric") >= low], "fit")
    span += numbers(level, "level")
    x = field("fit", **log_axis(span, f"{measure.capitalize()} (falls to the right)", reverse=True))
    y = _metric_axis(points, points.fits)
    labels = list(points.labels.values())
    color, shape, places = arm_color(labels), arm_shape(labels), decimals(points.record)
    thin = {"type": "line", "strokeWidth": 1, "clip": True}
    thick = {"type": "line", "strokeWidth": 2.5, "clip": True}
    run, order = field("run", "nominal"), {"value": None}
    tooltip = tip(
        ("arm", "Arm", ""), ("fit", measure.capitalize(), ".2~e"), ("metric", "Test metric", f".{places}f")
    )
    layers = [
        rule("level", "level-rule", x={**x, "field": "level"}),
        layer("fits", thin, x=x, y=y, color=color, detail=run, order=order, opacity=focus_opacity(_SEED)),
    ]
    if points.by_length:
        dots = {"type": "point", "filled": True, "size": 30, "clip": True}
        layers.append(layer("fits", dots, x=x, y=y, color=color, shape=shape, opacity=focus_opacity(0.6)))
    layers += [
        layer("means", thick, x=x, y=y, color=color, order=order, opacity=focus_opacity(1)),
        layer("matched", _MEAN_MARK, x=x, y=y, color=color, shape=shape, tooltip=tooltip),
    ]
    if width == "container":
        layers.append(_pointer_targets(x, y, tooltip))
    said = "; ".join(f"{row['arm']} {row['metric']:.{places}f}" for row in points.matched)
    at = f" At the matched level {loss(points.level)}: {said}." if said else ""
    return frame(
        layers,
        {
            "level": level,
            "fits": points.fits,
            "means": points.fit_means,
            "matched": [row for row in points.matched if _inside(row["metric"], low, high)],
        },
        width=width,
        height=HEIGHT + 60,
        description=f"{metric_title(points)} against the {measure}.{at}",
    )


_MEAN_MARK: Spec = {"type": "point", "filled": True, "size": 120, "style": "outline", "opacity": 1}


def _lines(points: Points, value: str, y: Spec, number: str, width: Width) -> list[Layer]:
    labels = list(points.labels.values())
    color, shape = arm_color(labels), arm_shape(labels)
    x = field("update", **log_axis(numbers(points.curves, "update"), "Updates", number="~s"))
    thin = {"type": "line", "strokeWidth": 1, "clip": True}
    thick = {"type": "line", "strokeWidth": 2.5, "clip": True}
    cross = {
        "type": "text",
        "text": "\N{MULTIPLICATION SIGN}",
        "fontSize": 17,
        "fontWeight": 700,
        "clip": True,
    }
    run, bright = field("run", "nominal"), focus_opacity(1)
    at_end = tip(("arm", "Arm", ""), ("update", "Planned end", ",d"), (value, "Mean", number))
    lost = tip(("arm", "Arm", ""), ("seed", "Diverged seed", ""), ("update", "Last finite at", ",d"))
    layers = [
        layer("curves", thin, x=x, y=y, color=color, detail=run, opacity=focus_opacity(_SEED)),
        layer("means", thick, x=x, y=y, color=color, opacity=bright),
        layer("ends", _MEAN_MARK, x=x, y=y, color=color, shape=shape, opacity=bright, tooltip=at_end),
        layer("diverged", cross, x=x, y=y, color=color, opacity=bright, tooltip=lost),
    ]
    if width == "container":
        at_point = tip(("arm", "Arm", ""), ("update", "Updates", ",d"), (value, "Mean", number))
        layers.append(_pointer_targets(x, y, at_point))
    return layers


def _metric_axis(points: Points, drawn: Rows | None = None) -> Spec:
    return field(
        "metric",
        # The padding keeps a point at the edge of the window whole: marks are clipped there.
        scale={"domain": list(metric_window(points, drawn)), "nice": True, "zero": False, "padding": 6},
        axis={"title": metric_title(points), "tickCount": 6},
    )


def _tables(points: Points, curves: Rows, value: str) -> dict[str, Rows]:
    marks = {"ends": points.ends, "diverged": points.diverged}
    low, high = metric_window(points) if value == "metric" else (-math.inf, math.inf)
    return {
        "curves": curves,
        "means": [row for row in points.means if row[value] is not None],
        # A mark outside the axis is cut, but still stretches the picture.
        **{name: [row for row in rows if _inside(row[value], low, high)] for name, rows in marks.items()},
    }


def _inside(value: Cell, low: float, high: float) -> bool:
    return isinstance(value, int | float) and low <= value <= high


def _pointer_targets(x: Spec, y: Spec, tooltip: list[Spec]) -> Layer:
    """Invisible points on the mean lines that carry the tooltip."""
    mark = {"type": "point", "filled": True, "size": 120, "opacity": 0, "clip": True}
    return layer("means", mark, x=x, y=y, tooltip=tooltip)


def _level(points: Points) -> Rows:
    return [{"level": points.level}] if points.level is not None else []


def _ends_in_words(points: Points) -> str:
    parts = []
    for arm, label in points.labels.items():
        ends = [row["update"] for row in points.ends if row["arm"] == label]
        gone = sum(run.outcome.diverged for run in points.planned_runs[arm])
        if ends:
            parts.append(
                f"{label} ends at {ends[0]:,} updates" + (f", {gone} seeds diverged" if gone else "")
            )
        elif gone:
            parts.append(f"{label}: all {gone} seeds diverged")
    return "; ".join(parts) + ("." if parts else "")
