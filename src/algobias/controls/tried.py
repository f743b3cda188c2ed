"""What a control study tried and chose, as entries of its result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from algobias.answer.cost import Costs
from algobias.answer.interval import interval, number
from algobias.answer.result import control_result
from algobias.answer.search import Chosen, ConfirmationLook, OverLimit, Tried, TunedGap
from algobias.judge.recovery import Place, Recovery
from algobias.treatments import tuned as tuned_baseline
from algobias.treatments.confirm import Confirmation
from algobias.treatments.gathered import Candidate
from algobias.treatments.limits import Limits
from algobias.treatments.search import Score, Selection


def tried_entries(
    selection: Selection,
    settings: Sequence[Candidate],
    limits: Sequence[Limits],
    at: Place,
    rungs: Sequence[int],
    idle: Mapping[int, str] | None = None,
) -> tuple[Tried, ...]:
    """One entry for each setting: its last rung's figures, and why it was dropped.

    ``lever, why, undoes, seeds, baseline_metric, over_limit[], chosen, dropped``, and what a control's entry
    has.

    Args:
        selection: What the search chose.
        settings: What was tried.
        limits: The limits on cost.
        at: Where the audit's verdict compares controls.
        rungs: Seeds of each rung.
        idle: Why some did nothing in any of their runs, by number.
    """
    last: dict[int, Score] = {}
    for score in selection.scores:
        last[score.setting] = score
    entries = []
    for number_, setting in enumerate(settings):
        score = last[number_]
        found = score.matched if at == "matched" and score.matched is not None else score.planned
        entry = Tried(
            lever=setting.text,
            why=setting.why,
            undoes=setting.undoes,
            seeds=score.seeds,
            baseline_metric=number(score.baseline_metric),
            baseline_cost=Costs(**{axis: number(value) for axis, value in score.baseline_cost.items()}),
            over_limit=tuple(
                OverLimit(axes=str(limit), reason=reason)
                for limit in limits
                if (reason := score.over(limit, at)) is not None
            ),
            chosen=number_ in selection.chosen,
            dropped=(idle or {}).get(number_) or _dropped(score, limits, at, rungs[-1]),
        )
        if found is not None:
            entry = entry.merged(control_result(found, setting.text, undoes=setting.undoes))
        entries.append((score.seeds, entry))
    return tuple(entry for _, entry in sorted(entries, key=lambda each: (-each[0], -_gain(each[1]))))


def chosen_entries(
    selection: Selection,
    settings: Sequence[Candidate],
    limits: Sequence[Limits],
    picked: Sequence[int],
    at: Place,
    found: Confirmation | None,
    tuned: Callable[[Recovery], tuned_baseline.TunedGap] | None = None,
    variant_cost: Mapping[str, float] | None = None,
) -> tuple[Chosen, ...]:
    """One entry for each of the limits: ``axes, lever, undoes, at, confirmed, general, reason, over_limit,
    tuned_gap``; no ``lever``: none helps.

    A setting chosen within two limits is judged where each of them counts costs. ``over_limit`` says which
    limit it breaks on the fresh seeds, though it kept within all in the search. ``tuned_gap`` is the tuned
    baseline minus the treated variant, with ``at``, where both were read.

    Args:
        selection: What the search chose.
        settings: What was tried.
        limits: The limits on cost.
        picked: Settings that were confirmed, in the order of their arms.
        at: Where the audit's verdict compares controls.
        found: What the confirmation found, or None where nothing was chosen.
        tuned: Tells how far a treated variant is from the tuned baseline.
        variant_cost: Cost of the variant over the baseline's on the fresh seeds, per axis.
    """
    entries: list[Chosen] = []
    for limit, setting in zip(limits, selection.chosen, strict=True):
        entry = NOTHING.changed(axes=str(limit))
        if setting is not None:
            chosen = settings[setting]
            entry = entry.changed(lever=chosen.text, undoes=chosen.undoes, at=limit.place(at))
            control = list(picked).index(setting)
            judged = None if found is None else found.judged(control, limit.place(at))
            if judged is not None:
                entry = entry.changed(
                    at=judged.at,
                    confirmed=judged.verdict,
                    general=judged.general,
                    reason=judged.reason,
                    over_limit=limit.broken_by(judged, variant_cost or {}),
                )
                if tuned is not None:
                    left = tuned(judged)
                    entry = entry.changed(tuned_gap=TunedGap().merged(interval(left.gap)).changed(at=left.at))
        entries.append(entry)
    return tuple(entries)


NOTHING = Chosen(
    axes=None,
    lever=None,
    undoes=None,
    at=None,
    confirmed=None,
    general=None,
    reason=None,
    over_limit=None,
    tuned_gap=None,
)
"""A choice of which nothing is known yet."""


def confirmation_entries(
    found: Confirmation, places: Sequence[tuple[int, Place]], confirmed: Sequence[Candidate]
) -> tuple[ConfirmationLook, ...]:
    """One entry for each look: ``n``, and what was ``said`` of each of ``levers``."""
    levers = tuple(confirmed[control].text for control, _ in places)
    return tuple(
        ConfirmationLook(n=n, said=said, levers=levers, at=tuple(place for _, place in places))
        for n, said in found.log
    )


def _dropped(score: Score, limits: Sequence[Limits], at: Place, last: int) -> str | None:
    """Why a setting did not get to the last rung; None where it did."""
    if score.seeds == last:
        return None
    reasons = [score.over(limit, at) for limit in limits]
    if all(reason is not None for reason in reasons):
        return f"after {score.seeds} seeds: {reasons[0]}"
    return f"after {score.seeds} seeds: others gained more within the limits"


def _gain(entry: Tried) -> float:
    mean = entry.improvement.mean
    return -math.inf if mean is None else mean
