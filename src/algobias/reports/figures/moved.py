"""What moved: effects with their intervals, ranked; and coordinates along training with their thresholds."""

from __future__ import annotations

from typing import Literal

from algobias.answer.measured.readings import Trajectory
from algobias.json_values import number_or_none
from algobias.own.user_file import in_words
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
)
from algobias.reports.figures.points import Points
from algobias.reports.figures.series import Row, Rows, number, numbers
from algobias.reports.figures.shares import ROW_AXIS
from algobias.reports.numerals import significant
from algobias.reports.words import arm_label

MOST_ROWS = 14
"""Coordinates in the picture; the table has all."""

MOST_ALONG = 3
HEIGHT = 230
LEAST_RANGE = 3.0

REACH = 1.6
"""The axis of effects goes at most so many times as far as the largest of them."""

EDGE = 5
"""Pixels by which a mark of a cut interval is moved into the picture."""

CUT = "A triangle at the edge: that interval goes on beyond it."

MARKS: dict[str, Spec] = {
    "moved": {"type": "point", "filled": True, "style": "moved", "shape": "circle"},
    "not_moved": {"type": "point", "filled": False, "style": "not-moved", "shape": "circle"},
    "not_comparable": {"type": "point", "filled": False, "style": "not-comparable", "shape": "cross"},
}

Against = Literal["updates", "loss"]


def forest(points: Points, width: Width = "container") -> Figure:
    """Difference of the arms in units of the seed sd, one row for each coordinate, largest first."""
    rows: Rows = []
    drawn = [shift for shift in points.record.answer.moved[:MOST_ROWS] if shift.effect is not None]
    for shift in drawn:
        arms = f"{significant(shift.baseline.mean)} to {significant(shift.variant.mean)}"
        rows.append(
            {
                "row": f"{shift.name}\n{arms}",
                "effect": shift.effect,
                "low": shift.low,
                "high": shift.high,
                "status": shift.status,
            }
        )
    order = [row["row"] for row in rows]
    x = effect_axis(rows, "Variant minus baseline, in seed sd")
    y = field("row", "nominal", sort=order, scale={"domain": order}, axis=ROW_AXIS)
    tooltip = tip(("effect", "Effect", ".2f"), ("low", "From", ".2f"), ("high", "To", ".2f"))
    layers, cut = [rule("zero", "zero-rule", x=field("value"))], dict[str, Rows]()
    for status, mark in MARKS.items():
        style, alike = mark["style"], [row for row in rows if row["status"] == status]
        triangles, datasets = cut_layers(status, alike, rows, {"style": style}, x=x, y=y)
        cut.update(datasets)
        interval = {"type": "rule", "style": f"{style}-interval", "clip": True}
        layers += [
            layer(status, interval, x=field("low"), x2={"field": "high"}, y=y),
            layer(status, {**mark, "clip": True}, x=x, y=y, tooltip=tooltip),
            *triangles,
        ]
    said = "; ".join(
        f"{shift.name.partition(chr(10))[0]} {shift.effect:.1f} ({shift.status.replace('_', ' ')})"
        for shift in drawn
    )
    return frame(
        layers,
        {
            "zero": [{"value": 0}],
            **{status: [row for row in rows if row["status"] == status] for status in MARKS},
            **cut,
        },
        width=width,
        height={"step": 40},
        description=f"Difference of each coordinate in units of the seed sd, at matched fit: {said}.",
    )


def effect_axis(rows: Rows, title: str) -> Spec:
    """Effects along x; a hopelessly long interval is cut instead of stretching the axis."""
    return field("effect", title=title, scale={"domain": list(_ends(rows)), "nice": False})


def _ends(rows: Rows) -> tuple[float, float]:
    """Ends of the axis of effects."""
    reach = max([LEAST_RANGE, *(REACH * abs(effect) for effect in numbers(rows, "effect"))])
    ends = numbers(rows, "low", "high")
    return max(-reach, min([-1.0, *ends])), min(reach, max([1.0, *ends]))


def cut_layers(
    name: str, rows: Rows, everything: Rows, look: Spec, **encoding: object
) -> tuple[list[Layer], dict[str, Rows]]:
    """Mark intervals that go on beyond the axis with a triangle at its edge.

    Args:
        name: Of the rows; datasets are called after it.
        rows: Those of one kind.
        everything: All rows, for which :func:`effect_axis` made the axis.
        look: Further properties of the marks.
        encoding: Of the rows, ``x`` among them.

    Returns:
        Layers, and their datasets; nothing where no interval is cut.
    """
    low, high = _ends(everything)
    cut = {
        "left": [{**row, "effect": low} for row in rows if any(end < low for end in numbers([row], "low"))],
        "right": [
            {**row, "effect": high} for row in rows if any(end > high for end in numbers([row], "high"))
        ],
    }
    layers, datasets = list[Layer](), dict[str, Rows]()
    for side, there in cut.items():
        if there:
            offset = EDGE if side == "left" else -EDGE
            mark = {**look, "type": "point", "filled": True, "shape": f"triangle-{side}", "xOffset": offset}
            layers.append(layer(f"{name}-cut-{side}", mark, **encoding))
            datasets[f"{name}-cut-{side}"] = there
    return layers, datasets


def along_probes(points: Points) -> list[str]:
    """Probes drawn along training: those with the largest effects."""
    there = {trajectory.probe for trajectory in _trajectories(points)}
    ranked = [shift.probe for shift in points.record.answer.moved]
    return [name for name in ranked if name in there][:MOST_ALONG]


def _trajectories(points: Points) -> tuple[Trajectory, ...]:
    readings = points.record.answer.readings
    return () if readings is None else readings.trajectories


def along(points: Points, width: Width = "container", *, probe: str, against: Against) -> Figure:
    """One coordinate along training, a line for each run, with the stability threshold where there is one."""
    rows, limits, unit = _along_rows(points, probe, against)
    labels = list(points.labels.values())
    color, shape, bright = arm_color(labels), arm_shape(labels), focus_opacity(1)
    values = numbers([*rows, *limits], "value")
    name = in_words(probe)
    positive = min(values, default=1.0) > 0
    y = (
        field("value", **log_axis(values, name, grid=True))
        if positive
        else field("value", axis={"title": name, "tickCount": 5, "grid": True})
    )
    where = numbers(rows, "at")
    if against == "updates":
        x = field("at", **log_axis(where, "Updates", number="~s"))
    else:
        x = field("at", **log_axis(where, "Training loss (training runs to the right)", reverse=True))
    run = field("run", "nominal")
    tooltip = tip(
        ("arm", "Arm", ""), ("seed", "Seed", ""), ("at", against.capitalize(), "~g"), ("value", name, ".3g")
    )
    dashed: Spec = {"type": "line", "strokeDash": [5, 4], "strokeWidth": 1.5}
    dot: Spec = {"type": "point", "filled": True, "size": 50}
    drawn = {"x": x, "y": y, "color": color, "opacity": bright}
    layers = [
        layer("limits", dashed, **drawn),
        layer("along", {"type": "line", "strokeWidth": 1.5}, detail=run, **drawn),
        layer("along", dot, shape=shape, tooltip=tooltip, **drawn),
    ]
    ends = {}
    for row in rows:
        ends[row["run"]] = f"{row['arm']}, seed {row['seed']}, ends at {significant(number(row, 'value'))}"
    return frame(
        layers,
        {"along": rows, "limits": limits},
        width=width,
        height=HEIGHT,
        description=f"{name} ({unit}) along training against {against}: {'; '.join(ends.values())}.",
    )


def _along_rows(points: Points, probe: str, against: Against) -> tuple[Rows, Rows, str]:
    rows: Rows = []
    limits: dict[tuple[str, float], Row] = {}
    unit = ""
    for trajectory in _trajectories(points):
        if trajectory.probe != probe:
            continue
        unit = trajectory.unit or ""
        arm = arm_label(trajectory.arm, points.record)
        for point in _read_points(trajectory):
            at = point["update"] if against == "updates" else point["loss"]
            if at is None or at <= 0 or point["value"] is None:
                continue
            seed = trajectory.seed
            run = f"{arm}/{seed}"
            rows.append({"arm": arm, "run": run, "seed": seed, "at": at, "value": point["value"]})
            if point["limit"] is not None and point["limit"] > 0:
                limits[arm, at] = {"arm": arm, "at": at, "value": point["limit"]}
    return rows, [limits[key] for key in sorted(limits)], unit


def _read_points(trajectory: Trajectory) -> list[dict[str, float | None]]:
    names = ("update", "loss", "value", "limit")
    return [
        {name: number_or_none(item) for name, item in zip(names, point, strict=True)}
        for point in trajectory.points
        if len(point) == len(names)
    ]


def has_threshold(points: Points, probe: str) -> bool:
    """Whether a stability threshold is drawn with the coordinate."""
    return bool(_along_rows(points, probe, "updates")[1])


def drawable(points: Points) -> bool:
    """Whether there is anything to draw a forest of."""
    return any(shift.effect is not None for shift in points.record.answer.moved)
