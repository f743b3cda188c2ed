"""One compact picture of a study, to be committed beside its spec and its JSON."""

from __future__ import annotations

from algobias.report.figures.base import Spec
from algobias.report.figures.curves import metric_against_fit
from algobias.report.figures.render import svg
from algobias.report.figures.seeds import seed_dots
from algobias.report.figures.shares import split
from algobias.report.numerals import estimate, fixed, shortened
from algobias.report.points import Points
from algobias.report.record import Interval, StudyRecord, number_or_none
from algobias.report.words import change_text, decimals, unit, verdict_name

_PANEL = 250
_HEIGHT = 280


def case_spec(record: StudyRecord) -> Spec:
    """Three panels in a row: every seed, test metric against training loss, shares; the verdict as title."""
    points = Points(_two_arms(record), budget=900)
    panels = []
    for title, spec in (
        ("Every seed", seed_dots(points, _PANEL)),
        ("At equal fit", metric_against_fit(points, _PANEL)),
        ("Shares of the gap", split(points, _PANEL)),
    ):
        panel = {
            key: item
            for key, item in spec.items()
            if key not in ("params", "padding", "datasets", "description")
        }
        panel.update(title=title, height=_HEIGHT)
        panels.append((panel, spec["datasets"]))
    datasets = {}
    for index, (panel, tables) in enumerate(panels):
        # Panels may use one name for different tables: the names are made unique.
        datasets.update({f"{name}{index}": rows for name, rows in tables.items()})
        for one in panel["layer"]:
            one["data"] = {"name": f"{one['data']['name']}{index}"}
    result = record.result
    places, kind = decimals(record), unit(record)
    tolerance = number_or_none(result.get("tolerance"))
    gap = Interval.read(result.get("gap"))
    numbers = f"Gap {estimate(gap, places)}" + (f" {kind}" if kind else "")
    numbers += f", tolerance {fixed(tolerance, places)}" + (f", {gap.n} seeds" if gap.n else "")
    asked = shortened(f"{result.get('task')}: {change_text(record)}", 130)
    return {
        "title": {"text": f"Verdict: {verdict_name(record)}", "subtitle": [asked, numbers], "fontSize": 16},
        "params": [{"name": "focus", "value": ""}],
        "padding": 12,
        "spacing": 36,
        "datasets": datasets,
        "hconcat": [panel for panel, _ in panels],
        "resolve": {"scale": dict.fromkeys(("x", "y", "color", "shape", "yOffset"), "independent")},
    }


def case_svg(record: StudyRecord) -> str:
    """The picture of :func:`case_spec` on white, as static SVG (tens of kB). Cost: about 0.2 s."""
    return svg(case_spec(record))


def _two_arms(record: StudyRecord) -> StudyRecord:
    runs = [run for run in record.runs if run.arm in ("baseline", "variant")]
    return StudyRecord(result=record.result, runs=runs, decisions=record.decisions)
