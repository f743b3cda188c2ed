"""What a control study tried and chose, as entries of its result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from algobias.answer.result import control_result, interval, number
from algobias.judge.recovery import Place, Recovery
from algobias.studies.control.candidates import Setting
from algobias.studies.control.confirm import Confirmation
from algobias.studies.control.limits import Limits
from algobias.studies.control.search import Score, Selection
from algobias.studies.control.tuned import TunedGap


def tried_entries(
    selection: Selection,
    settings: Sequence[Setting],
    limits: Sequence[Limits],
    at: Place,
    rungs: Sequence[int],
) -> list[dict[str, Any]]:
    """One entry for each setting: its last rung's figures, and why it was dropped.

    ``lever, why, undoes, seeds, baseline_metric, over_limit[], chosen, dropped``, and what a control's entry
    has.
    """
    last: dict[int, Score] = {}
    for score in selection.scores:
        last[score.setting] = score
    entries = []
    for number_, setting in enumerate(settings):
        score = last[number_]
        found = score.matched if at == "matched" and score.matched is not None else score.planned
        entry: dict[str, Any] = {
            "lever": setting.text,
            "why": setting.why,
            "undoes": setting.undoes,
            "seeds": score.seeds,
            "baseline_metric": number(score.baseline_metric),
            "baseline_cost": {axis: number(value) for axis, value in score.baseline_cost.items()},
            "over_limit": [
                {"axes": str(limit), "reason": reason}
                for limit in limits
                if (reason := score.over(limit, at)) is not None
            ],
            "chosen": number_ in selection.chosen,
            "dropped": _dropped(score, limits, at, rungs[-1]),
        }
        if found is not None:
            entry |= control_result(found, setting.text, undoes=setting.undoes)
        entries.append(entry)
    return sorted(entries, key=lambda entry: (-entry["seeds"], -_gain(entry)))


def chosen_entries(
    selection: Selection,
    settings: Sequence[Setting],
    limits: Sequence[Limits],
    picked: Sequence[int],
    at: Place,
    found: Confirmation | None,
    tuned: Callable[[Recovery], TunedGap] | None = None,
    variant_cost: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
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
    entries: list[dict[str, Any]] = []
    for limit, setting in zip(limits, selection.chosen, strict=True):
        entry: dict[str, Any] = dict.fromkeys(
            ("axes", "lever", "undoes", "at", "confirmed", "general", "reason", "over_limit", "tuned_gap")
        )
        entry["axes"] = str(limit)
        if setting is not None:
            entry["lever"], entry["undoes"] = settings[setting].text, settings[setting].undoes
            entry["at"] = limit.place(at)
            control = list(picked).index(setting)
            judged = None if found is None else found.judged(control, limit.place(at))
            if judged is not None:
                entry |= {
                    "at": judged.at,
                    "confirmed": judged.verdict,
                    "general": judged.general,
                    "reason": judged.reason,
                    "over_limit": limit.broken_by(judged, variant_cost or {}),
                }
                if tuned is not None:
                    left = tuned(judged)
                    entry["tuned_gap"] = {**interval(left.gap), "at": left.at}
        entries.append(entry)
    return entries


def confirmation_entries(
    found: Confirmation, places: Sequence[tuple[int, Place]], confirmed: Sequence[Setting]
) -> list[dict[str, Any]]:
    """One entry for each look: ``n``, and what was ``said`` of each of ``levers``."""
    levers = [confirmed[control].text for control, _ in places]
    return [
        {"n": n, "said": list(said), "levers": levers, "at": [place for _, place in places]}
        for n, said in found.log
    ]


def _dropped(score: Score, limits: Sequence[Limits], at: Place, last: int) -> str | None:
    """Why a setting did not get to the last rung; None where it did."""
    if score.seeds == last:
        return None
    reasons = [score.over(limit, at) for limit in limits]
    if all(reason is not None for reason in reasons):
        return f"after {score.seeds} seeds: {reasons[0]}"
    return f"after {score.seeds} seeds: others gained more within the limits"


def _gain(entry: dict[str, Any]) -> float:
    mean = (entry.get("improvement") or {}).get("mean")
    return -math.inf if mean is None else float(mean)
