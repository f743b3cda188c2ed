"""Figures of a study: each a pure function from points to a Vega-Lite spec."""

from algobias.reports.figures.case import case_spec, case_svg
from algobias.reports.figures.curves import metric_against_fit, metric_curve, metric_window, training_loss
from algobias.reports.figures.interventions import (
    dose_response,
    dose_rows,
    intervention_rows,
    interventions,
    piece_rows,
    pieces,
)
from algobias.reports.figures.moved import along, along_probes, drawable, forest, has_threshold
from algobias.reports.figures.pareto import pareto, pareto_rows
from algobias.reports.figures.render import svg
from algobias.reports.figures.returned import returned, returned_rows
from algobias.reports.figures.script import bundle
from algobias.reports.figures.seeds import gap_by_look, metric_title, seed_dots
from algobias.reports.figures.shares import recovery, split

__all__ = [
    "along",
    "along_probes",
    "bundle",
    "case_spec",
    "case_svg",
    "dose_response",
    "dose_rows",
    "drawable",
    "forest",
    "gap_by_look",
    "has_threshold",
    "intervention_rows",
    "interventions",
    "metric_against_fit",
    "metric_curve",
    "metric_title",
    "metric_window",
    "pareto",
    "pareto_rows",
    "piece_rows",
    "pieces",
    "recovery",
    "returned",
    "returned_rows",
    "seed_dots",
    "split",
    "svg",
    "training_loss",
]
