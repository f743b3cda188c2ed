"""What all figures share: the frame of a Vega-Lite spec, the encoding of arms, axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from algobias.report.figures.series import Rows

Spec = dict[str, Any]
Width = int | Literal["container"]
"""``container`` makes a figure that follows its place on the page and reacts to the pointer."""

METRIC = "metric"


def frame(
    layers: Sequence[Spec], datasets: dict[str, Rows], *, width: Width, height: Any, description: str
) -> Spec:
    """A layered spec with its data inside.

    Args:
        layers: Layers from back to front; each names one of ``datasets``.
        datasets: Name -> rows.
        width: Pixels, or ``container``.
        height: Pixels, or ``{"step": pixels per row}``.
        description: What the figure shows, for those who cannot see it.
    """
    spec: Spec = {
        "description": description,
        "width": width,
        "height": height,
        "datasets": datasets,
        "layer": list(layers),
        "params": [{"name": "focus", "value": ""}],
        # A static picture is measured with one font and may be shown with a wider one.
        "padding": {"left": 4 if width == "container" else 22, "right": 10, "top": 6, "bottom": 4},
    }
    if width == "container":
        spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    return spec


def layer(name: str, mark: Spec, **encoding: Any) -> Spec:
    """One layer drawing dataset ``name``."""
    return {
        "data": {"name": name},
        "mark": mark,
        "encoding": {key: item for key, item in encoding.items() if item},
    }


def arm_color(labels: Iterable[str], legend: bool = False) -> Spec:
    """Colour by arm: position in the full list of arms, so that an arm has one colour in every figure."""
    spec: Spec = {"field": "arm", "type": "nominal", "scale": {"domain": list(labels), "range": "category"}}
    spec["legend"] = {"title": None, "orient": "bottom", "columns": 3} if legend else None
    return spec


def arm_shape(labels: Iterable[str], legend: bool = False) -> Spec:
    """Mark shape by arm, so that colour never stands alone."""
    spec = arm_color(labels, legend)
    spec["scale"]["range"] = "symbol"
    return spec


def focus_opacity(normal: float) -> Spec:
    """Opacity that falls for every arm but the one the reader picked in the legend."""
    return {
        "condition": {"test": "focus === '' || datum.arm === focus", "value": normal},
        "value": normal * 0.12,
    }


def field(name: str, kind: str = "quantitative", **options: Any) -> Spec:
    """Encoding of one column."""
    return {"field": name, "type": kind, **options}


def tip(*columns: tuple[str, str, str]) -> list[Spec]:
    """Tooltip lines: (column, title, format); an empty format prints the value as it is."""
    return [
        {
            "field": name,
            "title": title,
            **({"format": fmt, "type": "quantitative"} if fmt else {"type": "nominal"}),
        }
        for name, title, fmt in columns
    ]


def decades(domain: Sequence[float], most: int = 7) -> list[float]:
    """Ticks for a log axis: powers of ten inside ``domain``, at most ``most``; 1, 2, 5 where it is short."""
    low, high = math.log10(domain[0]), math.log10(domain[1])
    powers = list(range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1))
    if len(powers) >= 2:
        step = math.ceil(len(powers) / most)
        return [float(f"1e{power}") for power in powers[::step]]
    fine = [float(f"{m}e{power}") for power in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)]
    return [value for value in fine if domain[0] <= value <= domain[1]]


def log_axis(
    values: Sequence[float], title: str, *, number: str = "~e", grid: bool = False, reverse: bool = False
) -> Spec:
    """Log scale and axis with ticks at powers of ten.

    Args:
        values: What is drawn along the axis.
        title: Title of the axis.
        number: Format of the tick labels: ``~e`` for 1e-3, ``~s`` for 10k.
        grid: Draw grid lines.
        reverse: Larger values to the left.
    """
    domain = [min(values), max(values)] if values else [0.1, 1.0]
    if domain[0] == domain[1]:
        domain = [domain[0] / 2, domain[1] * 2]
    # d3 writes 0.1 as 1e-1 and 1 as 1e+0.
    plain = "datum.value >= 0.01 && datum.value < 1000 ? format(datum.value, '~g') : datum.label"
    axis: Spec = {
        "title": title,
        "values": decades(domain),
        "format": number,
        "labelExpr": plain,
        "grid": grid,
    }
    if reverse:
        # The title stands at the right end, as on every axis: that is where a reversed scale starts.
        axis.update(titleAnchor="start", titleAlign="right")
    return {
        "scale": {"type": "log", "domain": domain, "nice": False, "padding": 8, "reverse": reverse},
        "axis": axis,
    }


def window(ends: tuple[float, float], drawn: Sequence[float], tolerance: float) -> tuple[float, float]:
    """Range of the test metric worth drawing: where the arms end, with room below for how they got there.

    From chance to the end a metric moves by far more than the gap in question; an axis of the whole way
    would make every gap invisible. What lies outside is cut, and the page says so.

    Args:
        ends: Lowest and highest metric at the planned end.
        drawn: Metric of all points that will be drawn.
        tolerance: delta, in units of the metric (0 where not known).
    """
    room = 0.6 * max(ends[1] - ends[0], 5 * tolerance, 1e-9)
    every = [*drawn, *ends]
    return max(min(every), ends[0] - room), min(max(every), ends[1] + room)
