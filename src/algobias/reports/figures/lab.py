"""The pictures of a lab: theory as lines, training as marks."""

from __future__ import annotations

from algobias.answer.lab import Axis, LabResult, Panel
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
    log_axis,
    rule,
    side_by_side,
    tip,
)
from algobias.reports.figures.render import svg
from algobias.reports.figures.series import Rows, numbers
from algobias.reports.figures.theme import Scheme

HEIGHT = 320
_STATIC_WIDTH = 470
_KINDS = {"theory": "theory", "training": "trained", "second training": "second", "limit": "limits"}
"""Kind of a series -> name of its table."""


def groups(result: LabResult) -> list[str]:
    """What has a colour, in the order of the legend: the same in all pictures of a lab."""
    found = [one.group for panel in result.panels for one in panel.series if one.kind != "limit"]
    return list(dict.fromkeys(found))


def lab_panel(result: LabResult, panel: Panel, width: Width = "container", *, legend: bool = False) -> Figure:
    """One picture of a lab as a Vega-Lite spec.

    Args:
        result: The lab.
        panel: One of its panels.
        width: Pixels, or ``container``.
        legend: Draw a legend of the groups in this panel (for pictures that stand alone).
    """
    tables: dict[str, Rows] = {name: [] for name in _KINDS.values()}
    for one in panel.series:
        tables[_KINDS[one.kind]] += [{"arm": one.group, "x": x, "y": y} for x, y in one.points]
    every = [row for rows in tables.values() for row in rows]
    x = field("x", **_axis(panel.x, numbers(every, "x"), grid=False))
    y = field("y", **_axis(panel.y, numbers(every, "y"), grid=True))
    labels = groups(result)
    here = [name for name in labels if legend and any(one.group == name for one in panel.series)]
    color, shape = arm_color(labels, here), arm_shape(labels, here)
    tooltip = tip(("arm", "", ""), ("x", panel.x.title, ".4~g"), ("y", panel.y.title, ".4~g"))
    line = {"type": "line", "strokeWidth": 2}
    ring = {"type": "point", "filled": False, "size": 170, "strokeWidth": 1.5, "shape": "circle"}
    mark = {"type": "point", "filled": True, "size": 80, "style": "outline", "opacity": 1}
    note = {"type": "text", "style": "note", "align": "left", "baseline": "bottom", "dx": 3, "dy": -4}
    layers = [
        rule("limits", "tolerance-rule", y=y),
        layer("limits", note, x={"value": 0}, y=y, text={"field": "arm", "type": "nominal"}),
        layer("theory", line, x=x, y=y, color=color, opacity=focus_opacity(0.9)),
        layer("second", ring, x=x, y=y, color=arm_color(labels), opacity=focus_opacity(0.8)),
        layer("trained", mark, x=x, y=y, color=color, shape=shape, opacity=focus_opacity(1), tooltip=tooltip),
    ]
    return frame(
        layers,
        tables,
        width=width,
        height=HEIGHT,
        description=f"{panel.title}. {_in_words(panel)} {panel.read}",
    )


def lab_spec(result: LabResult) -> Spec:
    """All pictures of a lab side by side, with the verdict as title: one figure that stands alone."""
    drawn = [(panel.title, lab_panel(result, panel, _STATIC_WIDTH, legend=True)) for panel in result.panels]
    panels, datasets = side_by_side(drawn, _STATIC_WIDTH, HEIGHT)
    said = "; ".join(
        f"{check.name}: off by at most {scientific(check.largest)}, tolerance {scientific(check.tolerance)}"
        for check in result.checks
    )
    return {
        "title": {
            "text": f"{result.title}: training {result.verdict} with theory",
            "subtitle": [f"{result.spelling}, seed {result.seed}. {said}", marks_in_words(result)],
            "fontSize": 16,
        },
        "params": [{"name": "focus", "value": ""}],
        "padding": 14,
        "spacing": 40,
        "datasets": datasets,
        "hconcat": panels,
        "resolve": {"scale": dict.fromkeys(("x", "y", "color", "shape"), "independent")},
    }


def lab_svg(result: LabResult, scheme: Scheme = "light") -> str:
    """The picture of :func:`lab_spec` as static SVG. Cost: about 0.2 s."""
    return svg(lab_spec(result), scheme)


def marks_in_words(result: LabResult) -> str:
    """What lines and marks are: ``line: theory · mark: training``."""
    return " · ".join(words for _, words in result.marks)


def scientific(value: float) -> str:
    """``6.6e-6``."""
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}" if exponent else mantissa


def _axis(axis: Axis, values: list[float], grid: bool) -> Spec:
    if axis.log:
        return log_axis(values, axis.title, grid=grid)
    return {
        # Round ends are for values; along the bottom they would draw settings that do not exist.
        "scale": {"zero": False, "nice": grid, "padding": 8},
        "axis": {"title": axis.title, "grid": grid, "tickCount": 6},
    }


def _in_words(panel: Panel) -> str:
    """Where every line starts and ends, for those who cannot see it."""
    said = [
        f"{one.group}: from {one.points[0][1]:.3g} to {one.points[-1][1]:.3g}"
        for one in panel.series
        if one.kind == "theory" and one.points
    ]
    return "Theory, left to right: " + "; ".join(said) + "." if said else ""
