"""The tuned baseline: what the same settings, seeds and limits on cost do for the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from algobias.inference.statistics import Interval, paired
from algobias.judge.arm import FitScale
from algobias.judge.describe import gap_at, training_metric_scale
from algobias.judge.design import Design, Run
from algobias.judge.extension import Book
from algobias.judge.recovery import Place, Recovery
from algobias.runs.arm_name import under_control
from algobias.treatments.confirm import Confirmation


@dataclass(frozen=True)
class TunedGap:
    """Tuned baseline minus treated variant.

    Attributes:
        gap: Positive: the tuned baseline does better.
        at: Where both were read: ``matched`` or ``planned_end``.
    """

    gap: Interval
    at: Place


def tuned_gap(
    design: Design, runs: Sequence[Run], found: Confirmation, judged: Recovery, tuned: int | None
) -> TunedGap:
    """How far a treated variant is from the best that the same search found for the baseline.

    Read where the control is judged, seed by seed; at the planned end where the tuned baseline has no level
    in common with the treated variant.

    Args:
        design: The confirmation's.
        runs: Its runs.
        found: What it found; its stopping look sets seeds and error level.
        judged: The control, at the place where it is judged.
        tuned: Number of the control that is the tuned baseline's; None: the baseline as it is.
    """
    split, look = found.verdict.split, found.look
    book = Book(replace(design, only_look=look), [run for run in runs if run.replicate < look])
    alters = design.control_alters_loss or (False,) * design.controls
    by_metric = design.alters_loss or alters[judged.control]
    scale = training_metric_scale(design, book) if by_metric else FitScale()
    names = (
        "baseline" if tuned is None else under_control("baseline", tuned),
        under_control("variant", judged.control),
    )
    best, treated = (book.everything(name, look, scale) for name in names)
    incomparable = not by_metric and tuned is not None and alters[tuned]
    if judged.at == "matched" and judged.level is not None and not incomparable:
        there = gap_at(best, treated, judged.level, split)
        if there.gap is not None and there.seeds_reached == look and math.isfinite(there.gap.mean):
            return TunedGap(there.gap, "matched")
    ends = paired(best.end_metric - treated.end_metric, split.resolution)
    return TunedGap(ends.interval(split.errors.printed), "planned_end")
