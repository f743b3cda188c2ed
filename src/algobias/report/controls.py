"""The controls of a study, as text: what each is, what it recovers, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from algobias.report import numerals, words
from algobias.report.record import Interval, StudyRecord, number_or_none
from algobias.report.words import mapping


def control_cards(record: StudyRecord) -> list[dict[str, Any]]:
    """One card per control: what it is, R and R*, verdict in words, costs against both references."""
    cards = []
    places = words.decimals(record)
    for index, raw in enumerate(record.result.get("controls") or []):
        control = mapping(raw)
        verdict = str(control.get("verdict") or "")
        general = control.get("general")
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
        if general is not None and verdict in ("recovered", "partial"):
            facts.append(("Kind", words.GENERAL if general else words.REPAIR))
        if control.get("reason"):
            facts.append(("Remark", str(control["reason"])))
        other = mapping(control.get("other"))
        if other:
            recovered = numerals.estimate(Interval.read(other.get("recovered")), 2)
            against = numerals.estimate(Interval.read(other.get("recovered_against_treated_baseline")), 2)
            facts.append((f"The same {place(other)}", f"R {recovered}; R* {against}"))
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
        return "at the matched level" + (f" ({numerals.loss(level)})" if level is not None else "")
    return "at the planned end" if at == "planned_end" else at.replace("_", " ")


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
