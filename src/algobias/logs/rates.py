"""Whether a log says that the learning rate decays: curves of such runs are not read part way."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from algobias.logs.raw import RawRun

_RATE = re.compile(r"(.*[/._])?(lr|learning[ _]rate)([-/_.].*)?", re.IGNORECASE)
_FALLEN = 0.5
"""A last rate below this part of the largest one has decayed."""


@dataclass(frozen=True)
class Decay:
    """A learning rate that falls.

    Attributes:
        column: Its column.
        largest: The largest rate.
        last: The last one.
    """

    column: str
    largest: float
    last: float


def decay_in(runs: Sequence[RawRun]) -> Decay | None:
    """Find the first column of a learning rate that ends well below its largest value.

    Args:
        runs: Runs of one arm.
    """
    for run in runs:
        for column in run.columns:
            if not _RATE.fullmatch(column):
                continue
            texts = (
                point.cells[column] for piece in run.pieces for point in piece.points if column in point.cells
            )
            rates = [rate for text in texts if math.isfinite(rate := _number(text))]
            if len(rates) > 1 and rates[-1] < _FALLEN * max(rates):
                return Decay(column, max(rates), rates[-1])
    return None


def _number(text: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return math.nan
