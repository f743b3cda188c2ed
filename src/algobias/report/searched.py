"""The search and the confirmation of a control study, as text: what was tried, why dropped, what to copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from algobias.judge.recovery import UNBOUNDED
from algobias.report import numerals, words
from algobias.report.record import Interval, StudyRecord, number_or_none
from algobias.report.words import mapping

PLACES = {"planned_end": "at the planned end", "matched": "at matched fit"}

DOUBT = "on these seeds the gap itself is not clear of 0, which says little of the control"


def chosen(record: StudyRecord) -> list[dict[str, str]]:
    """One entry for each limit: ``axes, lever, at, confirmed, meaning, undoes, doubt, over, tuned, kind,
    recipe``."""
    rows = []
    for item in record.result.get("chosen") or []:
        entry = mapping(item)
        lever, confirmed = entry.get("lever"), str(entry.get("confirmed") or "")
        kind = {True: words.GENERAL, False: words.REPAIR}.get(entry.get("general"), "")  # type: ignore[arg-type]
        recipe = record.recipes.get(f"variant+{lever}", "") if lever else ""
        unbounded = confirmed == "recovered" and str(entry.get("reason") or "").startswith(UNBOUNDED)
        rows.append(
            {
                "axes": str(entry.get("axes") or ""),
                "lever": str(lever or ""),
                "at": PLACES.get(str(entry.get("at")), ""),
                "confirmed": confirmed,
                "meaning": words.CONTROL_VERDICTS.get(confirmed, ""),
                "undoes": str(entry.get("undoes") or ""),
                "doubt": DOUBT if unbounded else "",
                "over": f"on these seeds it costs {entry['over_limit']}" if entry.get("over_limit") else "",
                "tuned": _tuned(record, mapping(entry.get("tuned_gap"))),
                "kind": kind if confirmed in ("recovered", "partial") else "",
                "recipe": recipe,
            }
        )
    return rows


def _tuned(record: StudyRecord, found: Mapping[str, Any]) -> str:
    """How far the treated variant is from the best the same search found for the baseline."""
    gap = Interval.read(found)
    if not gap.known:
        return ""
    setting = record.result.get("tuned_baseline")
    best = f"The tuned baseline ({setting})" if setting else "The baseline, which no setting improved,"
    left = words.with_unit(numerals.estimate(gap, words.decimals(record), signed=True), record)
    return f"{best} minus this variant: {left}, {PLACES.get(str(found.get('at')), '')}"


def again(record: StudyRecord) -> str:
    """A remark where the audit had control studies before this one; else nothing."""
    earlier = int(number_or_none(record.result.get("earlier_studies")) or 0)
    if not earlier:
        return ""
    many = "A control study" if earlier == 1 else f"{earlier} control studies"
    return (
        f"{many} of this audit had been begun before. The seeds of this confirmation are new; the test "
        "examples are not, and a choice made after seeing earlier answers is no longer blind to them."
    )


def over_limits(record: StudyRecord) -> list[dict[str, str]]:
    """What breaks a limit, with its figures: ``name, limit, reason``; every limit that is broken once."""
    rows = []
    for item in record.result.get("tried") or []:
        entry = mapping(item)
        for broken in map(mapping, entry.get("over_limit") or []):
            rows.append(
                {
                    "name": str(entry.get("lever") or ""),
                    "limit": str(broken.get("axes") or ""),
                    "reason": str(broken.get("reason") or ""),
                }
            )
    return rows


def tried(record: StudyRecord) -> dict[str, Any]:
    """Every setting on its last rung: header and rows of text, most seeds and largest gain first."""
    places = words.decimals(record)
    rows = []
    for item in record.result.get("tried") or []:
        entry = mapping(item)
        against = mapping(mapping(entry.get("cost_ratio")).get("variant"))
        fate = "chosen" if entry.get("chosen") else "out early" if entry.get("dropped") else "not the best"
        if entry.get("undoes"):
            fate += f"; {str(entry['undoes']).partition(':')[0]}"
        over = len(entry.get("over_limit") or [])
        if over and not entry.get("chosen"):
            fate += (
                ", above every limit" if over == len(record.result.get("chosen") or []) else ", above a limit"
            )
        rows.append(
            {
                "name": str(entry.get("lever") or ""),
                "cells": [
                    str(entry.get("seeds") or ""),
                    numerals.estimate(Interval.read(entry.get("improvement")), places, signed=True),
                    numerals.fixed(Interval.read(entry.get("recovered")).mean, 2),
                    numerals.times(number_or_none(against.get("gradients"))) or "",
                    numerals.times(number_or_none(against.get("updates"))) or "",
                    numerals.fixed(number_or_none(entry.get("baseline_metric")), places),
                    fate,
                ],
            }
        )
    labels = [
        "Seeds",
        "Gain of the variant",
        "R",
        "Gradients",
        "Updates",
        "Baseline with it",
        "What became of it",
    ]
    return {"labels": labels if rows else [], "rows": rows}


def confirmation(record: StudyRecord) -> list[dict[str, str]]:
    """One row for each look of the confirmation: ``n, said``."""
    controls = [str(mapping(one).get("lever")) for one in record.result.get("controls") or []]
    rows = []
    for item in record.result.get("confirmation") or []:
        entry = mapping(item)
        said, at = entry.get("said") or [], entry.get("at") or []
        levers = entry.get("levers") or controls
        twice = len(set(levers)) < len(levers)
        named = [
            f"{lever} {str(place).replace('_', ' ')}" if twice else lever
            for lever, place in zip(levers, at or levers, strict=False)
        ]
        text = ", ".join(f"{lever} {word}" for lever, word in zip(named, said, strict=False))
        rows.append({"n": str(entry.get("n") or ""), "said": text})
    return rows
