"""One compact picture of a study, to be committed beside its spec and its JSON."""

from __future__ import annotations

import textwrap

from algobias.reports.figures.base import Figure, Spec, side_by_side
from algobias.reports.figures.curves import metric_against_fit
from algobias.reports.figures.points import Points
from algobias.reports.figures.render import svg
from algobias.reports.figures.seeds import seed_dots
from algobias.reports.figures.shares import split
from algobias.reports.numerals import estimate, fixed, shortened
from algobias.reports.record import StudyRecord
from algobias.reports.verdicts import verdict_name
from algobias.reports.words import change_text, decimals, task_text, with_unit

_PANEL = 250
_HEIGHT = 280


def case_spec(record: StudyRecord) -> Spec:
    """Three panels in a row: every seed, test metric against training loss, shares; the verdict as title.

    A panel without data is left out; a study without runs shows its reason.
    """
    points = Points(_two_arms(record), budget=900)
    drawn: list[tuple[str, Figure]] = []
    if points.seeds:
        drawn += [
            ("Every seed", seed_dots(points, _PANEL)),
            ("At equal fit", metric_against_fit(points, _PANEL)),
        ]
    if record.answer.gap.known:
        drawn.append(("Shares of the gap", split(points, _PANEL)))
    panels, datasets = side_by_side(drawn, _PANEL, _HEIGHT)
    return {
        "title": {"text": f"Verdict: {verdict_name(record)}", "subtitle": _subtitle(record), "fontSize": 16},
        "params": [{"name": "focus", "value": ""}],
        "padding": 12,
        "spacing": 36,
        "datasets": datasets,
        "hconcat": panels or [_nothing_to_draw()],
        "resolve": {"scale": dict.fromkeys(("x", "y", "color", "shape", "yOffset"), "independent")},
    }


def _subtitle(record: StudyRecord) -> list[str]:
    answer, places = record.answer, decimals(record)
    asked = ": ".join(part for part in (task_text(answer.task), change_text(record)) if part)
    gap, tolerance = answer.gap, answer.tolerance
    if not gap.known:
        return [shortened(asked, 130), *textwrap.wrap(answer.reason or "", 110)[:3]]
    numbers = f"Gap {with_unit(estimate(gap, places), record)}"
    if tolerance is not None:
        numbers += f", tolerance {fixed(tolerance, places)}"
    return [shortened(asked, 130), numbers + (f", {gap.n} seeds" if gap.n else "")]


def _nothing_to_draw() -> Spec:
    words = {"type": "text", "align": "left", "style": "note", "text": "No runs were needed."}
    return {
        "data": {"values": [{}]},
        "mark": words,
        "width": 400,
        "height": 30,
        "encoding": {"x": {"value": 0}},
    }


def case_svg(record: StudyRecord) -> str:
    """The picture of :func:`case_spec` on white, as static SVG (tens of kB). Cost: about 0.2 s."""
    return svg(case_spec(record))


def _two_arms(record: StudyRecord) -> StudyRecord:
    runs = [run for run in record.runs if run.arm in ("baseline", "variant")]
    return StudyRecord(result=record.result, runs=runs, decisions=record.decisions)
