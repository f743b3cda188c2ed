"""Colours, marks and the Vega configuration, light and dark.

The hues follow Okabe and Ito (Color Universal Design, 2008), shifted so that each reaches a contrast of at
least 3:1 on its background; every arm also has its own mark shape, so no reader depends on colour.
"""

from __future__ import annotations

from typing import Literal

Scheme = Literal["light", "dark"]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', sans-serif"

STATIC_FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
"""Pictures that cannot be laid out again are measured with this metric; many fonts share it."""

ARM_COLORS: dict[Scheme, tuple[str, ...]] = {
    "light": ("#0b62a8", "#c4480a", "#00795f", "#8b4499", "#8f6a00", "#b0305f", "#5f6771", "#1d7f93"),
    "dark": ("#5cb2f2", "#ff9152", "#3ccfae", "#d59be6", "#e3c14a", "#ff8fb3", "#aab3bd", "#7fd3e3"),
}
_STAR = (
    "M0,-1.5L0.4,-0.55L1.43,-0.46L0.65,0.21L0.88,1.21L0,0.68L-0.88,1.21L-0.65,0.21L-1.43,-0.46L-0.4,-0.55Z"
)
# One shape more than there are colours, so that the pairs do not soon come round again.
ARM_SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "triangle-down",
    "diamond",
    "cross",
    "triangle-right",
    "triangle-left",
    _STAR,
)

# The same shapes for the legend of the page, in a square from -8 to 8.
SHAPE_PATHS = {
    "circle": "M-6,0a6,6 0 1,0 12,0a6,6 0 1,0 -12,0Z",
    "square": "M-5.5,-5.5h11v11h-11Z",
    "triangle-up": "M0,-6L6.5,5.5H-6.5Z",
    "triangle-down": "M0,6L-6.5,-5.5H6.5Z",
    "diamond": "M0,-7.5L5.5,0L0,7.5L-5.5,0Z",
    "cross": "M-2,-6.5h4v4.5h4.5v4h-4.5v4.5h-4v-4.5h-4.5v-4h4.5Z",
    "triangle-right": "M6,0L-5.5,6.5V-6.5Z",
    "triangle-left": "M-6,0L5.5,-6.5V6.5Z",
    _STAR: (
        "M0,-7.5L1.98,-2.73L7.13,-2.32L3.21,1.04L4.41,6.07"
        "L0,3.38L-4.41,6.07L-3.21,1.04L-7.13,-2.32L-1.98,-2.73Z"
    ),
}

SURFACE: dict[Scheme, dict[str, str]] = {
    "light": {
        "background": "#ffffff",
        "ink": "#1b2026",
        "muted": "#58616b",
        "grid": "#e7eaee",
        "rule": "#6b7480",
        "band": "#8a94a0",
        "accent": "#3b4b63",
    },
    "dark": {
        "background": "#191d23",
        "ink": "#e8ebef",
        "muted": "#a5aeb9",
        "grid": "#2c333c",
        "rule": "#98a2ae",
        "band": "#7d8894",
        "accent": "#a9bad3",
    },
}


def paint(place: int) -> dict[str, str]:
    """Colour in both schemes and shape of the arm at a place, for the legend of the page."""
    colors = {str(scheme): hues[place % len(hues)] for scheme, hues in ARM_COLORS.items()}
    return {**colors, "path": SHAPE_PATHS[ARM_SHAPES[place % len(ARM_SHAPES)]]}


def vega_config(scheme: Scheme) -> dict[str, object]:
    """Vega-Lite configuration of one colour scheme.

    Specs name no colours: arms take theirs from ``range.category`` by position, everything else from a
    style below, so that a figure is redrawn in the other scheme by exchanging this object only.
    """
    surface = SURFACE[scheme]
    text = {"labelColor": surface["muted"], "titleColor": surface["ink"]}
    return {
        "background": "transparent",
        # The page gives each figure one description; marks read out one by one would drown it.
        "aria": False,
        "font": FONT,
        "range": {"category": list(ARM_COLORS[scheme]), "symbol": list(ARM_SHAPES)},
        "view": {"stroke": None},
        "axis": {
            **text,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "titlePadding": 8,
            "labelPadding": 5,
            "gridColor": surface["grid"],
            "domainColor": surface["band"],
            "tickColor": surface["band"],
            "tickSize": 4,
            "labelOverlap": "greedy",
            "labelSeparation": 8,
        },
        "axisQuantitative": {"tickCount": 7},
        # On a phone a title centred below a narrow plot would be cut at the right edge.
        "axisX": {"titleAnchor": "end"},
        "legend": {**text, "labelFontSize": 12, "titleFontSize": 12, "labelLimit": 260, "symbolSize": 70},
        "title": {
            "color": surface["ink"],
            "subtitleColor": surface["muted"],
            "anchor": "start",
            "fontSize": 13,
            "fontWeight": 600,
            "subtitleFontSize": 12,
            "offset": 10,
        },
        "header": {**text},
        "style": {
            "tolerance-band": {"color": surface["band"], "opacity": 0.16},
            "tolerance-rule": {"color": surface["rule"], "strokeWidth": 1.5, "strokeDash": [5, 4]},
            "level-rule": {"color": surface["ink"], "strokeWidth": 1.5, "strokeDash": [2, 3]},
            "zero-rule": {"color": surface["rule"], "strokeWidth": 1},
            "pair": {"color": surface["band"], "strokeWidth": 1, "opacity": 0.55},
            "bar": {"color": surface["accent"], "opacity": 0.45},
            "interval": {"color": surface["ink"], "strokeWidth": 2},
            "estimate": {
                "color": surface["ink"],
                "stroke": surface["background"],
                "strokeWidth": 1.5,
                "size": 90,
            },
            "moved": {"color": ARM_COLORS[scheme][3], "size": 110, "opacity": 1},
            "moved-interval": {"color": ARM_COLORS[scheme][3], "strokeWidth": 2.5},
            "not-moved": {"color": surface["ink"], "strokeWidth": 1.5, "size": 90, "opacity": 1},
            "not-moved-interval": {"color": surface["ink"], "strokeWidth": 1.2},
            "not-comparable": {"color": surface["muted"], "strokeWidth": 1.5, "size": 90, "opacity": 1},
            "not-comparable-interval": {"color": surface["muted"], "strokeWidth": 1.2, "strokeDash": [3, 3]},
            "seed": {"color": surface["accent"], "opacity": 0.55, "size": 36},
            "note": {"color": surface["muted"], "fontSize": 12},
            "value": {"color": surface["ink"], "fontSize": 12, "fontWeight": 600},
            "outline": {"stroke": surface["background"], "strokeWidth": 1},
        },
    }
