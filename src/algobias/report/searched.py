"""The search and the confirmation of a control study, as text: what was tried, why dropped, what to copy."""

from __future__ import annotations

from typing import Any

from algobias.report import numerals, words
from algobias.report.record import Interval, StudyRecord, number_or_none
from algobias.report.words import mapping
from algobias.study.recovery import UNBOUNDED

DOUBT = "on these seeds the gap itself is not clear of 0, which says little of the control"


def chosen(record: StudyRecord) -> list[dict[str, str]]:
    """One entry for each limit on cost: ``axes, lever, confirmed, meaning, doubt, recipe``."""
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
                "at": str(entry.get("at") or "")
                .replace("planned_end", "at the planned end")
                .replace("matched", "at matched fit"),
                "confirmed": confirmed,
                "meaning": words.CONTROL_VERDICTS.get(confirmed, ""),
                "doubt": DOUBT if unbounded else "",
                "kind": kind if confirmed in ("recovered", "partial") else "",
                "recipe": recipe,
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
