"""What all figures share: the frame of a Vega-Lite spec, the encoding of arms, axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

from algobias.reports.figures.series import Rows

Spec = dict[str, object]
"""A part of a Vega-Lite spec."""

Width = int | Literal["container"]
"""``container`` makes a figure that follows its place on the page and reacts to the pointer."""


class DataName(TypedDict):
    """The dataset that a layer draws."""

    name: str


class Layer(TypedDict):
    """A layer of a Vega-Lite spec."""

    data: DataName
    mark: Mapping[str, object]
    encoding: Spec


class Figure(TypedDict):
    """A layered Vega-Lite spec with its data."""

    description: str
    width: Width
    height: int | Spec
    datasets: dict[str, Rows]
    layer: list[Layer]
    params: list[Spec]
    padding: Spec
    autosize: NotRequired[Spec]


def frame(
    layers: Sequence[Layer],
    datasets: dict[str, Rows],
    *,
    width: Width,
    height: int | Spec,
    description: str,
) -> Figure:
    """A layered spec with its data inside.

    Args:
        layers: Layers from back to front; each names one of ``datasets``.
        datasets: Name -> rows.
        width: Pixels, or ``container``.
        height: Pixels, or ``{"step": pixels per row}``.
        description: What the figure shows, for those who cannot see it.
    """
    figure: Figure = {
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
        figure["autosize"] = {"type": "fit-x", "contains": "padding"}
    return figure


def side_by_side(
    figures: Sequence[tuple[str, Figure]], width: int, height: int
) -> tuple[list[Spec], dict[str, Rows]]:
    """Make panels with titles of figures; they use one name for different tables, so names are made unique.

    Returns:
        The panels, and the tables of all of them.
    """
    panels: list[Spec] = []
    datasets: dict[str, Rows] = {}
    for index, (title, figure) in enumerate(figures):
        datasets |= {f"{name}{index}": rows for name, rows in figure["datasets"].items()}
        layers = [{**one, "data": {"name": f"{one['data']['name']}{index}"}} for one in figure["layer"]]
        panels.append({"title": title, "width": width, "height": height, "layer": layers})
    return panels, datasets


def layer(name: str, mark: Mapping[str, object], **encoding: object) -> Layer:
    """One layer drawing dataset ``name``."""
    return {
        "data": {"name": name},
        "mark": mark,
        "encoding": {key: item for key, item in encoding.items() if item},
    }


def rule(name: str, style: str, **encoding: object) -> Layer:
    """One layer of lines across the figure."""
    return layer(name, {"type": "rule", "style": style}, **encoding)


def interval(name: str, style: str, *, clip: bool = True, **encoding: object) -> Layer:
    """One layer of lines along x, from the column ``low`` to ``high``."""
    mark: Spec = {"type": "rule", "style": style, "clip": True} if clip else {"type": "rule", "style": style}
    return layer(name, mark, x=field("low"), x2={"field": "high"}, **encoding)


def legend_below(columns: int | None = None) -> Spec:
    """A legend without title below the figure."""
    return {"title": None, "orient": "bottom", **({} if columns is None else {"columns": columns})}


def arm_color(labels: Iterable[str], legend: Sequence[str] = (), kind: str = "category") -> Spec:
    """Colour by arm: position in the full list of arms, so that an arm has one colour in every figure.

    Args:
        labels: All arms.
        legend: Those that a legend below the figure names.
        kind: Range of the scale.
    """
    below = {**legend_below(3), "values": legend} if legend else None
    return field("arm", "nominal", scale={"domain": list(labels), "range": kind}, legend=below)


def arm_shape(labels: Iterable[str], legend: Sequence[str] = ()) -> Spec:
    """Mark shape by arm, so that colour never stands alone."""
    return arm_color(labels, legend, "symbol")


def focus_opacity(normal: float) -> Spec:
    """Opacity that falls for every arm but the one the reader picked in the legend."""
    return {
        "condition": {"test": "focus === '' || datum.arm === focus", "value": normal},
        "value": normal * 0.12,
    }


def field(name: str, kind: str = "quantitative", /, **options: object) -> Spec:
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
    """Ticks for a log axis: powers of ten inside ``domain``, at most ``most``; finer where it is short."""
    low, high = math.log10(domain[0]), math.log10(domain[1])
    powers = list(range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1))
    if len(powers) >= 2:
        step = math.ceil(len(powers) / most)
        return [float(f"1e{power}") for power in powers[::step]]
    reached = range(math.floor(low), math.ceil(high) + 1)
    inside: list[float] = []
    for digits in ((1, 2, 5), range(1, 10), [tenth / 10 for tenth in range(10, 100)]):
        fine = [float(f"{m}e{power}") for power in reached for m in digits]
        inside = [value for value in fine if domain[0] <= value <= domain[1]]
        if len(inside) >= 2:
            break
    return inside[:: math.ceil(len(inside) / most) or 1]


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
