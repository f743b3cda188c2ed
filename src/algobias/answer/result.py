"""From a verdict and its runs to what a study answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from algobias.answer.answer import Answer
from algobias.answer.arm import ArmSummary
from algobias.answer.control import ControlEntry
from algobias.answer.cost import Costs
from algobias.answer.fit import IN_VAIN, Fit, FitCurve, FitScale, LevelGap, MatchedArm
from algobias.answer.form import JsonObject
from algobias.answer.gap import Failures, Gap, LevelInterval, RateOnly
from algobias.answer.interval import Share, interval, number, own_interval, spread
from algobias.answer.look import LookEntry
from algobias.inference.bounds import Bounds
from algobias.inference.statistics import QUIET, Interval
from algobias.judge import checks
from algobias.judge import verdict as judged
from algobias.judge.design import Design, Run
from algobias.judge.drawn import Drawn, drawn_at_fit
from algobias.judge.plan import Look
from algobias.judge.recovery import Recovery
from algobias.judge.verdict import Verdict
from algobias.runs.cost import Cost
from algobias.runs.outcome import Outcome


def arm_summary(
    name: str, outcomes: Sequence[Outcome], recipe: JsonObject | None, address: str | None
) -> ArmSummary:
    """Make one entry of ``arms``: the arm at its planned end.

    A run that diverged by then counts with its trivial metric; the cost is the mean over seeds, up to then.
    """
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.also)
    return ArmSummary(
        name=name,
        recipe=recipe,
        address=address,
        seeds=tuple(o.seed for o in outcomes),
        metric=own_interval([o.end_metric for o in outcomes]),
        per_seed=tuple(number(o.end_metric) for o in outcomes),
        also={name: spread([o.also[name] for o in outcomes if name in o.also]) for name in names},
        train_metric=spread([float(o.curve.train_metric[o.planned]) for o in outcomes]),
        train_loss=spread([float(o.curve.train_loss[o.planned]) for o in outcomes]),
        diverged=sum(o.diverged for o in outcomes),
        cost=mean_cost([o.cost.after(float(o.curve.update[o.planned])) for o in outcomes]),
    )


def mean_cost(costs: Sequence[Cost]) -> Costs:
    """Take the mean cost vector over seeds."""
    rows = [asdict(cost) for cost in costs]
    return Costs(**{key: float(np.mean([row[key] for row in rows])) for key in rows[0]} if rows else {})


@QUIET
def judged_answer(design: Design, verdict: Verdict, controls: Sequence[str], runs: Sequence[Run]) -> Answer:
    """Make the part of the answer that follows from the verdict and its runs alone.

    Args:
        design: What was fixed before the first run.
        verdict: What was decided.
        controls: The controls as spelled.
        runs: All runs, for what is drawn at equal fit.
    """
    answer = verdict_result(design, verdict, controls)
    return answer.changed(fit=answer.fit.merged(drawn_fit(drawn_at_fit(design, runs))))


def drawn_fit(drawn: Drawn) -> Fit:
    """Make the part of ``fit`` that is drawn."""
    scale = drawn.scale
    in_vain = drawn.longer is not None and drawn.longer > IN_VAIN
    made = Fit(
        scale=None if scale is None else FitScale(best=scale.best, floor=scale.floor),
        matched_arms=tuple(
            MatchedArm(arm=arm.arm, level=arm.level, mean=arm.mean, n=arm.n) for arm in drawn.matched_arms
        ),
        curves=tuple(
            FitCurve(arm=arm, points=tuple(map(tuple, points))) for arm, points in drawn.curves.items()
        ),
        notes=drawn.notes,
    )
    return made.changed(longer=number(drawn.longer)) if in_vain else made


def verdict_result(design: Design, verdict: Verdict, controls: Sequence[str]) -> Answer:
    """Make the part of the answer that follows from the verdict alone."""
    split = verdict.split
    per_seed = None
    if split.paired:
        per_seed = tuple(a - b for a, b in zip(split.baseline_end, split.variant_end, strict=True))
    gap = interval(split.gap)
    fit = Fit(
        matched=split.side is not None,
        on=split.on,
        side=split.side,
        level=number(split.level),
        reference_level=number(split.reference_level),
        reason=split.unavailable_because,
        levels=tuple(
            LevelGap(level=one.level, gap=interval(one.gap), seeds_reached=one.seeds_reached)
            for one in verdict.levels
        ),
        seeds_reached=split.seeds_reached,
        fit_share=share(split.fit_share, split.fit_state, split.fit_bounds),
        bias_share=share(split.bias_share, split.bias_state, split.bias_bounds),
    )
    answer = Answer(
        verdict=verdict.name,
        reason=verdict.reason,
        warnings=tuple(verdict.warnings),
        tolerable=verdict.tolerable,
        would_decide=verdict.would_decide,
        tolerance=design.tolerance,
        looks=design.looks,
        gap=Gap()
        .merged(gap)
        .changed(state=split.gap_state, bounds=_ends(split.gap_bounds), per_seed=per_seed),
        resolution=number(split.resolution),
        failures=failures_result(verdict.failures),
        claim="this test set",
        population=interval(verdict.population) if verdict.population else None,
        welch=interval(verdict.welch),
        correlation=number(verdict.correlation),
        sign_flip_p=number(verdict.sign_flip_p),
        alpha=verdict.alpha,
        fit=fit,
        moved=(),
        rate_only=rate_only_result(verdict.rate_only),
        controls=tuple(
            control_result(one, controls[one.control], undoes=design.undone_by(one.control))
            for one in verdict.recoveries
        ),
    )
    return answer.changed(doubts=verdict.doubts) if verdict.doubts else answer


def share(value: Interval | None, state: str, bounds: Bounds | None = None) -> Share:
    """Make an entry of a share of the gap."""
    made = Share().merged(interval(value)).changed(state=state)
    return made if bounds is None else made.changed(bounds=_ends(bounds))


def _ends(bounds: Bounds) -> tuple[float | None, float | None]:
    return number(bounds.low), number(bounds.high)


def failures_result(failures: checks.Failures | None) -> Failures | None:
    """Tell variant seeds that came to nothing, and the share that may; or None."""
    if failures is None:
        return None
    return Failures(**failures._asdict(), at_most=failures.at_most)


def rate_only_result(rate_only: judged.RateOnly | None) -> RateOnly | None:
    """Tell what changing the learning rate alone does, or None."""
    if rate_only is None:
        return None
    at_level = rate_only.at_level
    return RateOnly(
        gap=interval(rate_only.gap),
        level=None if at_level is None else at_level.level,
        at_level=LevelInterval().merged(interval(None if at_level is None else at_level.gap)),
    )


def control_result(
    recovery: Recovery, lever: str, *, undoes: str | None = None, nested: bool = False
) -> ControlEntry:
    """Make one entry of ``controls``.

    Args:
        recovery: What it recovers.
        lever: As spelled.
        undoes: How it leaves nothing of the change, or None.
        nested: The entry is the ``other`` of another.
    """
    ratios = {"variant": _ratios(recovery.cost_ratio)}
    matched = recovery.cost_ratio_matched
    if matched is not None and any(math.isfinite(value) for value in matched.values()):
        ratios["variant_at_matched_fit"] = _ratios(matched)
    entry = ControlEntry(
        lever=lever,
        at=recovery.at,
        level=number(recovery.level),
        on=recovery.on,
        recovered=interval(recovery.recovered),
        recovered_against_treated_baseline=interval(recovery.against_treated_baseline),
        treated_gap=interval(recovery.treated_gap),
        improvement=interval(recovery.improvement),
        verdict=recovery.verdict,
        general=recovery.general,
        undoes=undoes,
        reason=recovery.reason,
        cost_ratio=ratios,
    )
    if recovery.other is not None and not nested:
        entry = entry.changed(other=control_result(recovery.other, lever, undoes=undoes, nested=True))
    return entry


def _ratios(multiples: Mapping[str, float]) -> Costs:
    return Costs(**{axis: number(value) for axis, value in multiples.items()})


def outcomes_of(runs: Sequence[Run], arm: str, replicates: int) -> list[Outcome]:
    """Outcomes of an arm as planned (length 1, or what contains it), by replicate."""
    best: dict[int, Run] = {}
    for run in runs:
        if run.arm != arm or run.replicate >= replicates or run.length < 1:
            continue
        kept = best.get(run.replicate)
        if kept is None or run.length < kept.length:
            best[run.replicate] = run
    return [best[replicate].outcome for replicate in sorted(best)]


def look_entry(look: Look) -> LookEntry:
    """Make the entry of one look in the decision log."""
    split = look.split
    return LookEntry(
        n=look.n,
        gap=interval(split.gap),
        bias_share=interval(split.bias_share),
        fit_share=interval(split.fit_share),
        states={"gap": split.gap_state, "bias share": split.bias_state, "fit share": split.fit_state},
        decided=look.text,
    )
