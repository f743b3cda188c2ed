"""The controls of a study, as text: what each is, what it recovers, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from algobias.report import numerals, words
from algobias.report.record import Interval, StudyRecord, number_or_none
from algobias.report.words import mapping

STATUSES = {
    "came_back": "came back",
    "beyond": "went beyond the baseline",
    "stayed": "stayed moved",
    "unclear": "may or may not have come back",
    "not_comparable": "could not be compared",
}

WITH_IT = {
    "recovered": "generalisation came back",
    "partial": "generalisation came back in part",
    "none": "generalisation was not shown to come back",
    "harmful": "generalisation got worse still",
}

NAMED = 3
"""So many coordinates of a kind are named in a sentence; the picture and the JSON have all."""


def as_chosen(record: StudyRecord) -> list[Mapping[str, Any]]:
    """The controls, each first at the place where it was chosen, where a search chose it; the other within.

    A control that was chosen within the cost of the variant as audited is judged at the planned end. What it
    does at the matched level, at a cost it was not chosen for, must not be read as the answer.
    """
    places: dict[str, set[str]] = {}
    for item in record.result.get("chosen") or []:
        entry = mapping(item)
        places.setdefault(str(entry.get("lever")), set()).add(str(entry.get("at")))
    found = []
    for control in map(mapping, record.result.get("controls") or []):
        wanted, other = places.get(str(control.get("lever")), set()), mapping(control.get("other"))
        if control.get("at") not in wanted and other.get("at") in wanted:
            first = {key: value for key, value in control.items() if key not in ("other", "coordinates")}
            control = {**other, "other": first, "coordinates": control.get("coordinates")}
        found.append(control)
    return found


def control_cards(record: StudyRecord) -> list[dict[str, Any]]:
    """One card per control: what it is, R and R*, verdict in words, costs against both references."""
    cards = []
    places = words.decimals(record)
    for index, control in enumerate(as_chosen(record)):
        verdict = str(control.get("verdict") or "")
        general, undoes = control.get("general"), control.get("undoes")
        facts = [
            ("R, recovered part of the gap", numerals.estimate(Interval.read(control.get("recovered")), 2)),
            (
                "R*, against the baseline with the same control",
                numerals.estimate(Interval.read(control.get("recovered_against_treated_baseline")), 2),
            ),
        ]
        if record.result.get("tuned_baseline") and record.result["tuned_baseline"] == control.get("lever"):
            facts.append(("Role", "what serves the baseline best: its baseline is the tuned baseline"))
        left = Interval.read(control.get("treated_gap"))
        if left.known:
            facts.append(("Gap that is left", words.with_unit(numerals.estimate(left, places), record)))
        if undoes:
            facts.insert(0, ("Kind", f"no repair: {undoes}"))
        elif general is not None and verdict in ("recovered", "partial"):
            facts.append(("Kind", words.GENERAL if general else words.REPAIR))
        if control.get("reason"):
            facts.append(("Remark", str(control["reason"])))
        other = mapping(control.get("other"))
        if other:
            recovered = numerals.estimate(Interval.read(other.get("recovered")), 2)
            against = numerals.estimate(Interval.read(other.get("recovered_against_treated_baseline")), 2)
            said = f"{other['verdict']}: " if other.get("verdict") else ""
            facts.append((f"The same {place(other)}", f"{said}R {recovered}; R* {against}"))
        if coordinates_text(control):
            facts.append(("Coordinates", coordinates_text(control)))
        cards.append(
            {
                "name": words.control_name(index, record),
                "lever": str(control.get("lever") or ""),
                "at": place(control),
                "verdict": verdict,
                "meaning": words.CONTROL_VERDICTS.get(verdict, ""),
                "facts": facts,
                "costs": control_costs(control),
            }
        )
    return cards


def place(control: Mapping[str, Any]) -> str:
    """Where a control was compared, in words."""
    at, level = str(control.get("at") or ""), number_or_none(control.get("level"))
    if at == "matched":
        on = "" if control.get("on", "train_loss") == "train_loss" else f"{words.FIT_WORDS['train_metric']} "
        return "at the matched level" + (f" ({on}{numerals.loss(level)})" if level is not None else "")
    return "at the planned end" if at == "planned_end" else at.replace("_", " ")


def coordinates_text(control: Mapping[str, Any]) -> str:
    """Which coordinates that moved came back under a control, and whether generalisation did; or nothing."""
    plain = [one for one in map(mapping, control.get("coordinates") or []) if not one.get("twin")]
    by_status: dict[str, list[Mapping[str, Any]]] = {status: [] for status in STATUSES}
    for one in plain:
        by_status.setdefault(str(one.get("status")), []).append(one)
    if not plain:
        return ""
    unread = by_status["not_comparable"]
    if len(unread) == len(plain):
        return f"not compared: {unread[0].get('reason')}"
    told = [
        f"{len(found)} {STATUSES.get(status, status)} ({_named(found)})"
        for status, found in by_status.items()
        if found
    ]
    matched = next(
        (one for one in (control, mapping(control.get("other"))) if one.get("at") == "matched"), {}
    )
    outcome = WITH_IT.get(str(matched.get("verdict")), "")
    of = f"of {len(plain)} that moved, at matched fit, {', '.join(told)}"
    return f"{of}; {outcome} {place(matched)}. Seen together, which is no proof of cause" if outcome else of


def _named(found: Sequence[Mapping[str, Any]]) -> str:
    names = [str(one.get("probe") or "").replace("_", " ") for one in found[:NAMED]]
    return ", ".join(names) + (", ..." if len(found) > NAMED else "")


REFERENCES = {
    "variant": "the variant as audited",
    "variant_at_matched_fit": "the variant trained to the matched level",
    "baseline": "the baseline",
}


def control_costs(control: Mapping[str, Any]) -> dict[str, Any]:
    """Cost ratios of a control: one column per reference."""
    ratios = {name: mapping(item) for name, item in mapping(control.get("cost_ratio")).items()}
    keys = [key for key in numerals.COST_WORDS if any(key in item for item in ratios.values())]
    return {
        "labels": [REFERENCES.get(name, name.replace("_", " ")) for name in ratios],
        "rows": [
            {
                "name": numerals.COST_WORDS[key][0],
                "cells": [_multiple(item, key) for item in ratios.values()],
            }
            for key in keys
        ],
    }


def _multiple(ratios: Mapping[str, Any], key: str) -> str:
    return numerals.times(number_or_none(ratios.get(key))) or "\u2013"
