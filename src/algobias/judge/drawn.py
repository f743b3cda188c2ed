"""What is drawn of arms at equal fit: computed where the verdict is, so that pictures show its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from algobias.judge.arm import Arm, FitScale, Floats, Path
from algobias.judge.design import Design, Run
from algobias.judge.extension import Book
from algobias.judge.plan import ARMS, Look, replay
from algobias.judge.split import Split, matched_level

LEVELS = 40
"""Levels of fit at which the mean of an arm is drawn."""

ONE_RUN = (
    "in every seed the variant and the baseline are one run that ends at different updates: at equal "
    "training loss they are the same network, and the bias share is zero by construction"
)

INEXACT = (
    "losses that are measured on a run's own examples have an error: the standard error of both shares that "
    "comes of it, {:.2g}, is part of their intervals, and more seeds do not lower it (a larger --fit does)"
)

_DIGITS = 6


class MatchedMean(NamedTuple):
    """The mean test metric of an arm at matched fit.

    Attributes:
        arm: ``baseline`` or ``variant``.
        level: The matched level.
        mean: Over the seeds that the bias share rests on.
        n: Number of these seeds.
    """

    arm: str
    level: float | None
    mean: float
    n: int


class Drawn(NamedTuple):
    """Where the arms of a study stand at equal fit.

    Attributes:
        scale: The constants of l, or None.
        matched_arms: Baseline and variant at matched fit; the difference of their means is the bias share.
        curves: Arm -> points ``[l, mean test metric]`` at levels that all of its seeds reach.
        notes: What the shares come to by construction, and an error that is in their intervals.
        longer: Fit measure l to which longer runs of the variant came, as a multiple of that at its planned
            end (geometric mean over seeds); None where there are none.
    """

    scale: FitScale | None
    matched_arms: tuple[MatchedMean, ...]
    curves: dict[str, list[list[float]]]
    notes: tuple[str, ...]
    longer: float | None = None


def drawn_at_fit(design: Design, runs: Sequence[Run]) -> Drawn:
    """Say where the arms of a finished study stand at equal fit.

    Args:
        design: What was fixed before the first run.
        runs: All runs.

    Cost: that of :func:`~algobias.judge.plan.replay`.
    """
    looks, _ = replay(design, runs)
    if not looks:
        return Drawn(None, (), {}, ())
    look, book = looks[-1], Book(design, runs)
    arms = dict(zip(ARMS, look.arms, strict=True))
    for name in dict.fromkeys(run.arm for run in runs):
        if name not in arms and book.rows(name):
            arms[name] = book.everything(name, look.n, look.scale)
    return Drawn(
        scale=look.scale,
        matched_arms=_matched_arms(look),
        curves={name: points for name, arm in arms.items() if (points := mean_at_levels(arm))},
        notes=_notes(look),
        longer=longer_fit(book, look.n, look.scale),
    )


def longer_fit(book: Book, n: int, scale: FitScale) -> float | None:
    """How far the longest runs of the variant fit beyond its planned end: the ratio of l, over seeds.

    Args:
        book: The runs there are.
        n: Replicates.
        scale: The fit measure.
    """
    arm = book.everything("variant", n, scale)
    ratios = []
    for row, paths in enumerate(arm.paths):
        lowest = float(arm.reach[row])
        if paths[-1].length > 1 and math.isfinite(lowest) and math.isfinite(arm.end_fit[row]):
            ratios.append(lowest - float(arm.end_fit[row]))
    return math.exp(float(np.mean(ratios))) if ratios else None


def _notes(look: Look) -> tuple[str, ...]:
    split = look.split
    notes = [ONE_RUN] if split.side is not None and are_one_run(*look.arms) else []
    if split.level_error:
        notes.append(INEXACT.format(split.level_error))
    return tuple(notes)


def are_one_run(baseline: Arm, variant: Arm) -> bool:
    """Whether in every seed the two are one run that ends at two places, as under a smaller budget."""
    pairs = list(zip(baseline.paths, variant.paths, strict=False))
    if len(baseline) != len(variant) or baseline.replicates != variant.replicates:
        return False
    return bool(pairs) and all(len(a) == len(b) == 1 and _go_together(a[0], b[0]) for a, b in pairs)


def _go_together(one: Path, other: Path) -> bool:
    a, b = one.outcome, other.outcome
    if a.curve.update[a.planned] == b.curve.update[b.planned]:
        return False
    shared, here, there = np.intersect1d(a.curve.update, b.curve.update, return_indices=True)
    return len(shared) > 2 and all(
        np.array_equal(getattr(a.curve, name)[here], getattr(b.curve, name)[there])
        for name in ("train_loss", "test_metric")
    )


def matched_metrics(split: Split, baseline: Arm, variant: Arm) -> tuple[Floats, Floats]:
    """Test metrics at matched fit of the seeds that the bias share rests on.

    Args:
        split: A split with shares.
        baseline: The baseline by which it was made.
        variant: The variant by which it was made.

    Returns:
        One value for each seed that counts, of the baseline and of the variant; ``split.bias_share.mean`` is
        the difference of their means.
    """
    if split.side == "downward":
        assert split.reference_level is not None
        level = matched_level(split.reference_level, baseline, variant)
        a, b = baseline.at_level(level), variant.at_level(level)
    else:
        ended = np.isfinite(variant.end_fit)
        b = np.where(ended, variant.end_metric, math.nan)
        if split.paired:
            a = baseline.at_level(variant.end_fit)
        else:
            ends = variant.end_fit[ended]
            a = np.mean([baseline.at_level(float(end)) for end in ends], axis=0)
    if split.paired:
        both = np.isfinite(a) & np.isfinite(b)
        return a[both], b[both]
    return a[np.isfinite(a)], b[np.isfinite(b)]


def mean_at_levels(arm: Arm) -> list[list[float]]:
    """Points ``[l, mean test metric]`` from where the first seed starts to where the last one gets."""
    rows = [row for row in range(len(arm)) if arm.finite[row] and math.isfinite(arm.log_fit[row].min())]
    if not rows:
        return []
    kept = arm.take(rows)
    readable = np.isfinite(kept.log_fit)
    first = kept.log_fit[np.arange(len(rows)), readable.argmax(1)]
    start, stop = float(first.min()), float(kept.log_fit.min(1).max())
    if not start > stop:
        return []
    points = []
    for level in np.linspace(start, stop, LEVELS):
        mean = float(kept.at_level(float(level)).mean())
        if math.isfinite(mean):
            points.append([_rounded(math.exp(level)), _rounded(mean)])
    return points


def _matched_arms(look: Look) -> tuple[MatchedMean, ...]:
    if look.split.side is None:
        return ()
    metrics = matched_metrics(look.split, *look.arms)
    return tuple(
        MatchedMean(name, look.split.level, float(values.mean()), len(values))
        for name, values in zip(ARMS, metrics, strict=True)
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
