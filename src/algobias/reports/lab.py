"""A lab on paper: the self-contained HTML page and the SVG."""

from __future__ import annotations

import shlex
from pathlib import Path

from algobias.answer.lab import Cell, LabResult
from algobias.errors import BadInput
from algobias.reports import figures
from algobias.reports.figures.lab import groups, lab_panel, marks_in_words, scientific
from algobias.reports.figures.theme import paint
from algobias.reports.html import data_url, filled
from algobias.reports.numerals import MINUS

KINDS = (".html", ".svg")


def output_kind(path: Path) -> str:
    """What a file is to become, from its name.

    Raises:
        BadInput: Neither HTML nor SVG.
    """
    if path.suffix.lower() not in KINDS:
        raise BadInput("--out", str(path), "a file whose name ends in .html or .svg")
    return path.suffix.lower()


def render_lab(result: LabResult) -> str:
    """The whole page of a lab as one HTML document: nothing is fetched, light and dark, with static twins.

    Size: about 1 MB, of which the figure library is 0.9 MB. Cost: about 2 s once per process.
    """
    specs = {f"panel{index}": lab_panel(result, panel) for index, panel in enumerate(result.panels)}
    return filled(
        "lab.html.j2",
        specs,
        result=result,
        command=f"algobias lab {shlex.quote(result.spelling)} --seed {result.seed}",
        agrees=result.verdict == "agrees",
        checks=[
            {"name": check.name, "said": check_in_words(check.largest, check.tolerance, check.where)}
            for check in result.checks
        ],
        legend=[{"label": name, **paint(place)} for place, name in enumerate(groups(result))],
        marks=marks_in_words(result),
        panels=[
            {
                "key": f"panel{index}",
                "title": panel.title,
                "read": panel.read,
                "label": specs[f"panel{index}"]["description"],
                "static": data_url(figures.svg(lab_panel(result, panel, 640, legend=True))),
            }
            for index, panel in enumerate(result.panels)
        ],
        rows=[[cell(row.get(column.name)) for column in result.columns] for row in result.rows],
    )


def check_in_words(largest: float, tolerance: float, where: str) -> str:
    """``off by at most 6.6e-6 of its value, at alpha = 0.1 (tolerance 1e-3)``."""
    off, allowed = scientific(largest), scientific(tolerance)
    return f"off by at most {off} of the theory's value, at {where} (tolerance {allowed})"


def cell(value: Cell) -> str:
    """A number of the table as people read it: five digits, powers of ten only where they are needed."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    small = value != 0 and not 1e-3 <= abs(value) < 1e6
    text = scientific(value) if small else f"{value:.5g}"
    return text.replace("-", MINUS) if not small else text
