"""The self-contained HTML report: one file, no network, light and dark, readable on a phone and on paper."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from algobias.reports import figures, page
from algobias.reports.figures.base import Figure, Spec
from algobias.reports.figures.entries import figure_list
from algobias.reports.figures.points import Points
from algobias.reports.figures.series import Rows
from algobias.reports.figures.theme import vega_config
from algobias.reports.record import StudyRecord

# Static twins of the figures are for paper and for readers without scripts: fewer points do.
_STATIC_BUDGET = 1_500
_STATIC_LINES = 100
_STATIC_WIDTH = 680


def render(record: StudyRecord) -> str:
    """The whole report as one HTML document.

    Nothing in it is fetched: styles, scripts, data and pictures are inside, and a content security policy
    forbids the rest. Everything that comes from the record is escaped. Size: 1.1 to 2 MB, of which the
    figure library is 0.9 MB. Cost: about 2 s once per process, then under 1 s for each report.
    """
    points = Points(record)
    static = Points(record, budget=_STATIC_BUDGET, lines=_STATIC_LINES)
    shown = figure_list(points)
    specs = {item.key: with_rows(item.spec(points)) for item in shown}
    return filled(
        "report.html.j2",
        specs,
        **page.content(points),
        drawn=lambda keys: {arm for key in keys for arm in arms_in(specs[key])},
        along_figures=[key for key in specs if key.startswith("along-")],
        figures={
            item.key: {
                "title": item.title,
                "read": item.read,
                "notes": item.notes,
                "label": specs[item.key]["description"],
                "static": data_url(figures.svg(item.spec(static, _STATIC_WIDTH))),
            }
            for item in shown
        },
    )


def filled(template: str, specs: Mapping[str, Figure], **content: object) -> str:
    """A template of ours with its content, styles, scripts, and the figures with their data."""
    tables: dict[str, Spec] = {}
    packed = {key: pack(spec, tables) for key, spec in specs.items()}
    environment = Environment(
        loader=PackageLoader("algobias.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    configs = {"light": vega_config("light"), "dark": vega_config("dark")}
    return environment.get_template(template).render(
        **content,
        css=_asset("report.css"),
        script=_asset("report.js"),
        bundle=Markup(figures.bundle()),
        data=embedded({"configs": configs, "tables": tables, "specs": packed}),
    )


def with_rows(spec: Figure) -> Figure:
    """A spec without layers that have no rows: they add an axis without an extent, of which Vega warns."""
    kept = [one for one in spec["layer"] if spec["datasets"].get(one["data"]["name"])]
    return {**spec, "layer": kept} if len(kept) > 1 else spec


def arms_in(spec: Figure) -> set[str]:
    """Labels of the arms that a figure has data of."""
    arms = (row.get("arm") for rows in spec["datasets"].values() for row in rows)
    return {arm for arm in arms if isinstance(arm, str)}


def pack(spec: Figure, tables: dict[str, Spec]) -> Spec:
    """Move the datasets of a spec into ``tables``, column by column, each different table once.

    Args:
        spec: A figure with ``datasets`` of rows.
        tables: Where they go: name -> ``{columns, rows, words}``; a text in a row is its place in the list
            ``words[column]``.

    Returns:
        The spec with ``datasets`` as name -> name in ``tables``.
    """
    names: dict[str, str] = {}
    for name, rows in spec["datasets"].items():
        table = _columns(rows)
        names[name] = next((key for key, known in tables.items() if known == table), f"t{len(tables)}")
        tables[names[name]] = table
    return {**spec, "datasets": names}


def embedded(value: object) -> Markup:
    """JSON that is safe inside a ``<script>`` element: no ``<``, no ``&``, no NaN."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def _columns(rows: Rows) -> Spec:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    places = {
        key: {text: place for place, text in enumerate(dict.fromkeys(row[key] for row in rows))}
        for key in columns
        if rows and all(isinstance(row.get(key), str) for row in rows)
    }
    return {
        "columns": columns,
        "words": {key: list(found) for key, found in places.items()},
        "rows": [
            [places[key][row[key]] if key in places else row.get(key) for key in columns] for row in rows
        ],
    }


def _asset(name: str) -> Markup:
    return Markup((files("algobias.reports") / name).read_text(encoding="utf-8"))


def data_url(svg: str) -> str:
    """An SVG as the address of a picture."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
