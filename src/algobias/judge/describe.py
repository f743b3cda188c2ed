"""What is said besides the verdict: other levels, the rate alone, controls, the population.

Nothing here decides. The arms it needs are asked for after the verdict, for the replicates of the
stopping look only.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from algobias.inference.statistics import Interval, population_interval
from algobias.judge.arm import Arm, FitScale
from algobias.judge.checks import broken_because
from algobias.judge.design import Design, Request
from algobias.judge.extension import ROUNDING, Book, Frontier, extensions, frozen_reference, settle
from algobias.judge.inexact import error_at, metric_error
from algobias.judge.recovery import Four, Recovery, recovery
from algobias.judge.split import FACTOR, LevelGap, Split, difference, exact_or, matched_level
from algobias.judge.treated import end_levels
from algobias.judge.verdict import MATCHED_GAPS, RateOnly, Verdict
from algobias.runs.arm_name import ArmName, under_control

FURTHER = (3.0, 10.0)
"""Besides the matched level the gap is described at these multiples of L*."""

NO_REPAIR = "R* is left to the confirmation"

FINE = 0.9
"""A tolerance below this many seed sd is warned of."""


def describe(
    design: Design, book: Book, verdict: Verdict, reference: float | None, scale: FitScale
) -> list[Request] | Verdict:
    """Fill in the descriptive fields of a verdict, or say which runs they need.

    Args:
        design: The design.
        book: The runs there are.
        verdict: What was decided.
        reference: L*.
        scale: The audit's fit measure.
    """
    if verdict.name == "not_applied":
        return verdict
    look = verdict.look
    controls = {
        i: (under_control("variant", i), under_control("baseline", i))
        for i in range(design.controls)
        if i not in design.baselines_only
    }
    alone = [under_control("baseline", i) for i in design.baselines_only]
    arms = (["rate_only"] if design.rate_only else []) + [arm for pair in controls.values() for arm in pair]
    arms += alone
    wanted = book.missing(arms, look)
    if wanted and design.can_extend:
        return wanted
    absent = {request.arm for request in wanted}
    recoveries: list[Recovery] = []
    for number, pair in controls.items():
        if absent & set(pair):
            continue
        found = _recovery(design, book, verdict, number, reference, scale)
        if isinstance(found, list):
            wanted += found
        else:
            recoveries.append(found)
    if design.can_scale:
        wanted += [request for arm in alone for request in _to_level(design, book, verdict, arm, scale)]
    if wanted and design.can_extend:
        # Two controls may want the same shorter schedule of the baseline.
        return list(dict.fromkeys(wanted))
    baseline, variant = (book.everything(arm, look, scale) for arm in ("baseline", "variant"))
    levels = [factor * reference for factor in FURTHER] if reference is not None else []
    if scale.on == "train_loss":
        levels += design.levels
    rate_only = None
    if design.rate_only and "rate_only" not in absent:
        rate_only = _rate_only(baseline, book.everything("rate_only", look, scale), verdict.split)
    return replace(
        verdict,
        levels=tuple(gap_at(baseline, variant, level, verdict.split) for level in levels),
        rate_only=rate_only,
        recoveries=tuple(recoveries),
        population=_population(design, baseline, variant, verdict.split),
        warnings=(
            *verdict.warnings,
            *(fine_tolerance(design.tolerance, verdict.split) if verdict.name == "undecided" else ()),
            *early_match(verdict.split),
        ),
    )


def early_match(split: Split) -> tuple[str, ...]:
    """A warning where arms are matched at more than 10 times L*: the baseline is far from its end there."""
    level, reference = split.level, split.reference_level
    if level is None or reference is None or not level > FURTHER[-1] * reference:
        return ()
    measure = "training loss" if split.on == "train_loss" else "distance from a perfect training metric"
    times = f"{level / reference:.2g} times that at which the baseline ends ({reference:.2g})"
    return (
        f"the arms are compared at a {measure} of {level:.2g}, {times}: early in the baseline's training, "
        "which may say little of how both would end",
    )


def fine_tolerance(tolerance: float, split: Split) -> tuple[str, ...]:
    """A warning where the tolerance is below 0.9 of the baseline's seed sd: it takes many seeds to decide."""
    if len(split.baseline_end) < 2:
        return ()
    sd = float(np.std(split.baseline_end, ddof=1))
    if not tolerance < FINE * sd < math.inf:
        return ()
    share = f"{tolerance / sd:.2g} of the baseline's seed sd (spread between seeds) of {sd:.3g}"
    return (f"the tolerance of {tolerance:g} is only {share}: it takes many seeds to decide",)


def gap_at(baseline: Arm, other: Arm, level: float, split: Split) -> LevelGap:
    """The gap at one level, over the replicates in which both arms reach it."""
    at = math.log(level)
    a, b = baseline.at_level(at), other.at_level(at)
    error = math.hypot(*(metric_error(arm, at, error_at(arm, at)) for arm in (baseline, other)))
    known = np.isfinite(a), np.isfinite(b)
    ours, theirs = (known[0] & known[1],) * 2 if split.paired else known
    a, b = a[ours], b[theirs]
    found = difference(a, b, split.paired, exact_or(split.resolution, a, b, baseline, other))
    told = found.n >= 2 and error < math.inf
    return LevelGap(level, found.with_error(error).interval(split.errors.printed) if told else None, found.n)


def _rate_only(baseline: Arm, arm: Arm, split: Split) -> RateOnly:
    a, b = baseline.end_metric, arm.end_metric
    gap = difference(a, b, split.paired, split.resolution).interval(split.errors.printed)
    at_level = None
    if split.side == "downward" and split.level is not None:
        at_level = gap_at(baseline, arm, split.level, split)
    return RateOnly(gap, at_level)


def _population(design: Design, baseline: Arm, variant: Arm, split: Split) -> Interval | None:
    if not design.population or design.corpus or not design.paired:
        return None
    tables = []
    for arm in (baseline, variant):
        rows = [next(p.outcome.per_example for p in row if p.length >= 1) for row in arm.paths]
        known = [row for row in rows if row is not None]
        if len(known) < len(rows) or len({len(row) for row in known}) != 1:
            return None
        tables.append(np.stack(known).astype(np.float64))
    if tables[0].shape != tables[1].shape or tables[0].shape[1] < 2:
        return None
    return population_interval(tables[0], tables[1], split.errors.printed, split.resolution)


def _recovery(
    design: Design, book: Book, verdict: Verdict, number: int, reference: float | None, scale: FitScale
) -> Recovery | list[Request]:
    look, split = verdict.look, verdict.split
    at_fit = verdict.name in MATCHED_GAPS if design.at == "verdict" else design.at == "matched"
    level = math.log(split.level) if split.side == "downward" and split.level is not None else None
    names = ("baseline", "variant", under_control("variant", number), under_control("baseline", number))
    own = scale_of(design, book, names[2], scale)
    if own != scale:
        scale, reference, level = own, frozen_reference(book, design.looks[0], own), None
    arms = Four(*(book.everything(name, look, scale) for name in names))
    broken = broken_because(arms.baseline, arms.treated_baseline, split.resolution)
    no_repair = None if design.repair else NO_REPAIR
    if broken is not None:
        no_repair = f"the treated baseline is broken: {broken}"
    upward = design.upward and design.paired and split.side == "upward"
    if upward and at_fit and design.decays and design.can_scale:
        shorter = _shorter(book, names, arms, scale)
        if isinstance(shorter, list):
            return shorter
        arms = shorter
    target = _target(arms, reference, level) if at_fit and not upward else None
    if target is not None and design.can_scale:
        # Without R* the treated baseline is not trained on.
        treated = names[2:3] if no_repair else names[2:]
        grown = _grown(book, names, treated, look, scale, reference, target, arms)
        if isinstance(grown, list):
            return grown
        arms = grown
    found = recovery(
        *arms,
        at="matched" if at_fit else "planned_end",
        reference=reference,
        level=None if level is None else math.exp(level),
        tolerance=design.tolerance,
        errors=split.errors,
        resolution=split.resolution,
        fewest=split.fewest,
        control=number,
        pair=design.paired,
        upward=upward,
        no_repair=no_repair,
    )
    # What leaves nothing of the change repairs nothing, whatever R* is.
    undone = design.undone_by(number)

    def described(one: Recovery) -> Recovery:
        other = None if one.other is None else described(one.other)
        return replace(one, other=other, on=own.on, general=None if undone else one.general)

    return described(found)


def _to_level(design: Design, book: Book, verdict: Verdict, arm: str, scale: FitScale) -> list[Request]:
    """What a treated baseline on its own wants so as to be read at the split's level, where there is one."""
    split, at_fit = verdict.split, design.at == "matched"
    unmatched = not at_fit or split.side != "downward" or split.level is None or design.decays
    if unmatched or scale_of(design, book, arm, scale) != scale:
        return []
    assert split.level is not None
    return extensions(arm, book.everything(arm, verdict.look, scale), math.log(split.level))


def scale_of(design: Design, book: Book, arm: str, scale: FitScale) -> FitScale:
    """The fit measure by which an arm is compared: that of the audit, unless its control alters the loss."""
    control = ArmName.parse(arm).control
    alters = control is not None and bool(design.control_alters_loss) and design.control_alters_loss[control]
    return training_metric_scale(design, book) if alters and scale.on == "train_loss" else scale


def training_metric_scale(design: Design, book: Book) -> FitScale:
    """The fit measure made of the training metric, recognised from the first look's baselines."""
    baselines = (book.planned("baseline", i) for i in range(design.looks[0]))
    return FitScale.of_metric([path.outcome for path in baselines if path is not None], design.train_examples)


def _target(arms: Four, reference: float | None, level: float | None) -> float | None:
    """log l that the treated arms should reach, or None where there is nothing to match."""
    if level is not None:
        return level
    if reference is None or not (arms.baseline.valid.all() and arms.variant.valid.all()):
        return None
    target = matched_level(reference, arms.baseline, arms.variant)
    return target if target <= math.log(FACTOR * reference) else None


def _shorter(book: Book, names: tuple[str, ...], arms: Four, scale: FitScale) -> Four | list[Request]:
    """The four arms of an upward match with shorter schedules around where the variant ended, or requests.

    An arm with a seed that does not come down to its level is not matched, and asks for nothing.
    """
    levels = end_levels(arms.variant, arms.variant.replicates)
    frontiers = [Frontier.of(book, name, arm, scale) for name, arm in zip(names, arms, strict=True)]
    for name, arm, frontier in zip(names, arms, frontiers, strict=True):
        if name == "variant" or (arm.reach > levels + ROUNDING)[np.isfinite(levels)].any():
            continue
        for replicate in np.flatnonzero(np.isfinite(levels)).tolist():
            frontier.descend(replicate, float(levels[replicate]))
    wanted = [request for frontier in frontiers for request in frontier.wanted]
    return wanted or Four(*(frontier.made() for frontier in frontiers))


def _grown(
    book: Book,
    names: tuple[str, ...],
    treated: tuple[str, ...],
    look: int,
    scale: FitScale,
    reference: float | None,
    target: float,
    arms: Four,
) -> Four | list[Request]:
    """The four arms with treated ones trained on to ``target`` (log l), like the variant, or the requests."""
    if not book.design.decays:
        by_name = dict(zip(names, arms, strict=True))
        return [request for name in treated for request in extensions(name, by_name[name], target)] or arms
    frontiers = {name: Frontier.of(book, name, arm, scale) for name, arm in zip(names, arms, strict=True)}
    for name in treated:
        for replicate in range(look):
            frontiers[name].climb(replicate, target)
    wanted = [request for frontier in frontiers.values() for request in frontier.wanted]
    if wanted or reference is None:
        return wanted or arms
    counted = [frontiers[name].made() for name in (*names[:2], *treated)]
    common = max(target, matched_level(reference, *counted))
    if common <= math.log(FACTOR * reference):
        settle([frontiers[name] for name in (*names[:2], *treated)], common)
    wanted = [request for frontier in frontiers.values() for request in frontier.wanted]
    return wanted or Four(*(frontier.made() for frontier in frontiers.values()))
