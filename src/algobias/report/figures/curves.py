"""Learning curves, and the test metric against the training loss."""

from __future__ import annotations

from algobias.report.figures.base import (
    Spec,
    Width,
    arm_color,
    arm_shape,
    decades,
    field,
    focus_opacity,
    frame,
    layer,
    log_loss_axis,
    tip,
    update_axis,
    window,
)
from algobias.report.figures.seeds import metric_title
from algobias.report.points import Points, Rows
from algobias.report.record import number_or_none
from algobias.report.words import decimals, loss, mapping

HEIGHT = 280


def training_loss(points: Points, width: Width = "container") -> Spec:
    """Training loss against updates, both logarithmic: thin lines are seeds, thick ones geometric means."""
    curves = [row for row in points.curves if row["loss"] is not None]
    y = field("loss", **log_loss_axis([row["loss"] for row in curves], "Training loss"))
    level = _level(points) if points.on == "train_loss" else []
    layers = [
        layer(
            "level", {"type": "rule", "style": "level-rule"}, y=field("fit", scale=y["scale"], axis=y["axis"])
        ),
        *_lines(points, "loss", y, ".2~e", width),
    ]
    return frame(
        layers,
        {"level": level, **_tables(points, curves, "loss")},
        width=width,
        height=HEIGHT,
        description="Training loss against updates, both axes logarithmic. " + _ends_in_words(points),
    )


def test_metric(points: Points, width: Width = "container") -> Spec:
    """Test metric against log updates; the axis starts a little below where the arms end."""
    low, high = metric_window(points)
    y = field(
        "metric",
        scale={"domain": [low, high], "nice": True, "zero": False},
        axis={"title": metric_title(points), "tickCount": 6},
    )
    curves = [row for row in points.curves if row["metric"] is not None]
    return frame(
        _lines(points, "metric", y, f".{decimals(points.record)}f", width),
        _tables(points, curves, "metric"),
        width=width,
        height=HEIGHT,
        description=f"{metric_title(points)} against updates. " + _ends_in_words(points),
    )


def metric_window(points: Points) -> tuple[float, float]:
    """Range of the test metric that the curves are drawn in."""
    ends = [row["metric"] for row in points.seeds if row["metric"] is not None]
    everything = [row["metric"] for row in points.curves if row["metric"] is not None] + ends
    return window(ends, everything, number_or_none(points.record.result.get("tolerance")) or 0.0)


def metric_against_fit(points: Points, width: Width = "container") -> Spec:
    """Test metric against the training loss, with the matched level: the gap there is the bias share.

    Time runs to the right (the loss falls). Recipes whose learning rate decays have one point per run and
    length; others are drawn along their curves.
    """
    low, high = metric_window(points)
    fits = [row for row in points.fits if row["metric"] is not None]
    seen = [row["fit"] for row in fits if row["metric"] >= low] or [row["fit"] for row in fits]
    level = _level(points)
    span = [*seen, *[row["fit"] for row in level]]
    if points.on == "train_metric":
        x = field(
            "fit",
            scale={"zero": False, "domain": [min(span), max(span)] if span else [0, 1], "padding": 8},
            axis={"title": "Training metric (clean labels)", "grid": False},
        )
        number = ".4~g"
    else:
        domain = [min(span), max(span)] if span else [1e-3, 1]
        x = field(
            "fit",
            scale={"type": "log", "reverse": True, "domain": domain, "nice": False, "padding": 8},
            axis={
                "title": "Training loss (falls to the right)",
                "values": decades(domain),
                "format": "~e",
                "grid": False,
            },
        )
        number = ".2~e"
    y = field(
        "metric",
        scale={"domain": [low, high], "nice": True, "zero": False},
        axis={"title": metric_title(points), "tickCount": 6},
    )
    labels = list(points.labels.values())
    color, shape, places = arm_color(labels), arm_shape(labels), f".{decimals(points.record)}f"
    tooltip = tip(("arm", "Arm", ""), ("fit", "Fit", number), ("metric", "Test metric", places))
    layers = [
        layer("level", {"type": "rule", "style": "level-rule"}, x=x),
        layer(
            "fits",
            {"type": "line", "strokeWidth": 1, "clip": True},
            x=x,
            y=y,
            color=color,
            detail=field("run", "nominal"),
            order={"value": None},
            opacity=focus_opacity(0.22),
        ),
        layer(
            "means",
            {"type": "line", "strokeWidth": 2.5, "clip": True},
            x=x,
            y=y,
            color=color,
            order={"value": None},
            opacity=focus_opacity(1),
        ),
        layer(
            "matched",
            {"type": "point", "filled": True, "size": 110, "style": "outline", "opacity": 1},
            x=x,
            y=y,
            color=color,
            shape=shape,
            tooltip=tooltip,
        ),
    ]
    if points.by_length:
        dots = {"type": "point", "filled": True, "size": 26, "clip": True}
        layers.insert(2, layer("fits", dots, x=x, y=y, color=color, shape=shape, opacity=focus_opacity(0.6)))
    if width == "container":
        layers.append(_pointer_targets("means", x, y, tooltip))
    said = "; ".join(f"{row['arm']} {row['metric']:.{decimals(points.record)}f}" for row in points.matched)
    at = f" At the matched level {loss(level[0]['fit'])}: {said}." if level and said else ""
    return frame(
        layers,
        {
            "level": level,
            "fits": fits,
            "means": points.fit_means,
            "matched": points.matched,
        },
        width=width,
        height=HEIGHT + 60,
        description=f"{metric_title(points)} against the training {'metric' if number == '.4~g' else 'loss'}.{at}",
    )


def _lines(points: Points, value: str, y: Spec, number: str, width: Width) -> list[Spec]:
    labels = list(points.labels.values())
    color, shape = arm_color(labels), arm_shape(labels)
    x = field("update", **update_axis([row["update"] for row in points.curves]))
    tooltip = tip(("arm", "Arm", ""), ("update", "Updates", ",d"), (value, "Mean", number))
    layers = [
        layer(
            "curves",
            {"type": "line", "strokeWidth": 1, "clip": True},
            x=x,
            y=y,
            color=color,
            detail=field("run", "nominal"),
            opacity=focus_opacity(0.22),
        ),
        layer(
            "means",
            {"type": "line", "strokeWidth": 2.5, "clip": True},
            x=x,
            y=y,
            color=color,
            opacity=focus_opacity(1),
        ),
        layer(
            "ends",
            {"type": "point", "filled": True, "size": 42, "clip": True, "style": "outline"},
            x=x,
            y=y,
            color=color,
            shape=shape,
            opacity=focus_opacity(0.9),
            tooltip=tip(
                ("arm", "Arm", ""),
                ("seed", "Seed", ""),
                ("update", "Planned end", ",d"),
                (value, "Value", number),
            ),
        ),
        layer(
            "diverged",
            {
                "type": "text",
                "text": "\N{MULTIPLICATION SIGN}",
                "fontSize": 17,
                "fontWeight": 700,
                "clip": True,
            },
            x=x,
            y=y,
            color=color,
            opacity=focus_opacity(1),
            tooltip=tip(
                ("arm", "Arm", ""), ("seed", "Diverged seed", ""), ("update", "Last finite at", ",d")
            ),
        ),
    ]
    if width == "container":
        layers.append(_pointer_targets("means", x, y, tooltip))
    return layers


def _tables(points: Points, curves: Rows, value: str) -> dict[str, Rows]:
    return {
        "curves": curves,
        "means": [row for row in points.means if row[value] is not None],
        "ends": [row for row in points.ends if not row["diverged"] and row[value] is not None],
        "diverged": [row for row in points.ends if row["diverged"] and row[value] is not None],
    }


def _pointer_targets(name: str, x: Spec, y: Spec, tooltip: list[Spec]) -> Spec:
    """Invisible points on the mean lines that carry the tooltip."""
    return layer(
        name,
        {"type": "point", "filled": True, "size": 120, "opacity": 0, "clip": True},
        x=x,
        y=y,
        tooltip=tooltip,
    )


def _level(points: Points) -> Rows:
    level = number_or_none(mapping(points.record.result.get("fit")).get("level"))
    return [] if level is None or (points.on == "train_loss" and level <= 0) else [{"fit": level}]


def _ends_in_words(points: Points) -> str:
    parts = []
    for arm, label in points.labels.items():
        ends = sorted({row["update"] for row in points.ends if row["arm"] == label and not row["diverged"]})
        gone = sum(run.outcome.diverged for run in points.planned_runs[arm])
        if ends:
            at = f"{ends[0]:,}" if len(ends) == 1 else f"{ends[0]:,} to {ends[-1]:,}"
            parts.append(f"{label} ends at {at} updates" + (f", {gone} seeds diverged" if gone else ""))
        elif gone:
            parts.append(f"{label}: all {gone} seeds diverged")
    return "; ".join(parts) + ("." if parts else "")
