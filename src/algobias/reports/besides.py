"""What is shown besides the metric that decides: further metrics of each arm, and what the networks make."""

from __future__ import annotations

import numpy as np

from algobias.reports import numerals
from algobias.reports.figures.points import Points
from algobias.reports.text_table import TextTable, text_table

SHOWN = 2
"""Samples of so many arms are shown: the baseline's and the variant's."""


def further_metrics(points: Points) -> TextTable[tuple[str, str]]:
    """Mean and sd over seeds of each further metric at the planned end: header and rows of text.

    A seed that diverged has none.
    """
    found = {
        points.labels[arm]: [run.outcome.also for run in runs if run.outcome.also]
        for arm, runs in points.planned_runs.items()
    }
    names = dict.fromkeys(name for rows in found.values() for row in rows for name in row)
    return text_table(
        found,
        (
            (
                name.replace("_", " "),
                [_spread([row[name] for row in rows if name in row]) for rows in found.values()],
            )
            for name in names
        ),
    )


def samples(points: Points) -> list[dict[str, str]]:
    """What the network of the first seed of baseline and variant makes: ``label, seed, text``."""
    shown: list[dict[str, str]] = []
    for arm, runs in points.planned_runs.items():
        run = next((run for run in runs if run.outcome.sample), None)
        if run is not None and len(shown) < SHOWN:
            text = run.outcome.sample or ""
            shown.append({"label": points.labels[arm], "seed": str(run.outcome.seed), "text": text})
    return shown


def _spread(values: list[float]) -> tuple[str, str]:
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return numerals.MISSING, ""
    spread = f"\u00b1 {numerals.significant(float(np.std(known, ddof=1)), 2)}" if len(known) > 1 else ""
    return numerals.significant(float(np.mean(known))), spread
