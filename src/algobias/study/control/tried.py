"""What a control study tried and chose, as entries of its result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from algobias.study.control.candidates import Setting
from algobias.study.control.confirm import Confirmation
from algobias.study.control.limits import Limits
from algobias.study.control.search import Score, Selection
from algobias.study.recovery import Place
from algobias.study.result import control_result, number


def tried_entries(
    selection: Selection,
    settings: Sequence[Setting],
    limits: Sequence[Limits],
    at: Place,
    rungs: Sequence[int],
) -> list[dict[str, Any]]:
    """One entry for each setting: its last rung's figures, and why it was dropped.

    ``lever, why, seeds, baseline_metric, over_limit[], chosen, dropped``, and what a control's entry has.
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
            "seeds": score.seeds,
            "baseline_metric": number(score.baseline_metric),
            "over_limit": [
                {"axes": str(limit), "reason": reason}
                for limit in limits
                if (reason := score.over(limit, at)) is not None
            ],
            "chosen": number_ in selection.chosen,
            "dropped": None
            if score.seeds == rungs[-1]
            else f"after {score.seeds} seeds: others gained more within the limits",
        }
        if found is not None:
            entry |= control_result(found, setting.text)
        entries.append(entry)
    return sorted(entries, key=lambda entry: (-entry["seeds"], -_gain(entry)))


def chosen_entries(
    selection: Selection,
    settings: Sequence[Setting],
    limits: Sequence[Limits],
    picked: Sequence[int],
    places: Sequence[Place],
    found: Confirmation | None,
) -> list[dict[str, Any]]:
    """One entry for each of the limits: ``axes, lever, at, confirmed, general``; no ``lever``: none helps."""
    entries: list[dict[str, Any]] = []
    for limit, setting in zip(limits, selection.chosen, strict=True):
        entry: dict[str, Any] = dict.fromkeys(("axes", "lever", "at", "confirmed", "general"))
        entry["axes"] = str(limit)
        if setting is not None:
            entry["lever"] = settings[setting].text
            place = list(picked).index(setting)
            entry["at"] = places[place]
            judged = None if found is None else found.judged(place, places[place])
            if judged is not None:
                entry |= {"at": judged.at, "confirmed": judged.verdict, "general": judged.general}
        entries.append(entry)
    return entries


def _gain(entry: dict[str, Any]) -> float:
    mean = (entry.get("improvement") or {}).get("mean")
    return -math.inf if mean is None else float(mean)
