"""Coordinates before, after and after control: where the variant and each treated variant lie."""

from __future__ import annotations

from algobias.answer.measured.moved import Effect
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
from algobias.reports.figures.moved import MOST_ROWS, cut_layers, effect_axis
from algobias.reports.figures.points import Points
from algobias.reports.figures.series import Rows
from algobias.reports.figures.shares import ROW_AXIS
from algobias.reports.words import arm_label
from algobias.runs.arm_name import under_control

APART = 9
"""Pixels between the marks of two arms in one row."""


def returned_rows(points: Points) -> Rows:
    """One row for each arm and each coordinate that moved: ``row, arm, effect, low, high``.

    Nothing where no control could be compared.
    """
    record = points.record
    moved = [shift for shift in record.answer.moved if shift.status == "moved"][:MOST_ROWS]
    arms: dict[str, dict[str, Effect]] = {"variant": {shift.probe: shift for shift in moved}}
    for index, control in enumerate(record.answer.controls):
        after = control.coordinates or ()
        arms[under_control("variant", index)] = {coordinate.probe: coordinate for coordinate in after}
    rows: Rows = []
    for arm, effects in arms.items():
        label = arm_label(arm, record)
        for shift in moved:
            there = effects[shift.probe] if shift.probe in effects else Effect()
            if there.effect is not None and label in points.labels.values():
                ends = {"low": there.low, "high": there.high}
                rows.append({"row": shift.name, "arm": label, "effect": there.effect, **ends})
    return rows if len({row["arm"] for row in rows}) > 1 else []


def returned(points: Points, width: Width = "container") -> Figure:
    """Each coordinate that moved, in the variant and under each control, from the baseline, in seed sd."""
    rows = returned_rows(points)
    labels = list(points.labels.values())
    there = [label for label in labels if any(row["arm"] == label for row in rows)]
    order = list(dict.fromkeys(row["row"] for row in rows))
    x = effect_axis(rows, "Distance from the baseline, in seed sd")
    y = field("row", "nominal", sort=order, scale={"domain": order}, axis=ROW_AXIS)
    drawn = {"y": y, "color": arm_color(labels), "opacity": focus_opacity(1)}
    tooltip = tip(
        ("row", "Coordinate", ""),
        ("arm", "Arm", ""),
        ("effect", "Effect", ".2f"),
        ("low", "From", ".2f"),
        ("high", "To", ".2f"),
    )
    layers, cut = [rule("zero", "zero-rule", x=field("value"))], dict[str, Rows]()
    for place, label in enumerate(there):
        offset = APART * (place - (len(there) - 1) / 2)
        interval = {"type": "rule", "strokeWidth": 1.5, "yOffset": offset, "y2Offset": offset, "clip": True}
        mark = {"type": "point", "filled": True, "size": 60, "yOffset": offset, "clip": True}
        alike = [row for row in rows if row["arm"] == label]
        look: Spec = {"size": 50, "yOffset": offset}
        triangles, datasets = cut_layers(label, alike, rows, look, x=x, **drawn)
        cut.update(datasets)
        layers += [
            layer(label, interval, x=field("low"), x2={"field": "high"}, **drawn),
            layer(label, mark, x=x, shape=arm_shape(labels), tooltip=tooltip, **drawn),
            *triangles,
        ]
    said = "; ".join(f"{row['row']}, {row['arm']} {row['effect']:.1f}" for row in rows)
    return frame(
        layers,
        {
            "zero": [{"value": 0}],
            **{label: [row for row in rows if row["arm"] == label] for label in there},
            **cut,
        },
        width=width,
        height={"step": max(30, APART * len(there) + 16)},
        description=f"Distance of each coordinate from the baseline at matched fit, in seed sd: {said}.",
    )
