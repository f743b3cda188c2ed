"""The tables of the report: seeds, costs, levels, decisions, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from algobias.report import numerals, words
from algobias.report.points import Points
from algobias.report.record import Interval, StudyRecord, number_or_none
from algobias.report.words import mapping


def seed_table(points: Points) -> dict[str, Any]:
    """Test metric of every seed at the planned end: header and rows of text."""
    places = words.decimals(points.record)
    labels = list(points.labels.values())
    rows = []
    for replicate in sorted({row["replicate"] for row in points.seeds}):
        found = {row["arm"]: row for row in points.seeds if row["replicate"] == replicate}
        cells = []
        for label in labels:
            row = found.get(label)
            text = "" if row is None else numerals.fixed(row["metric"], places)
            cells.append(text + (" (diverged)" if row is not None and row["diverged"] else ""))
        named = sorted({row["seed"] for row in found.values()}, key=int)
        rows.append({"seed": ", ".join(str(seed) for seed in named), "cells": cells})
    return {"labels": labels, "rows": rows}


def seeds_text(points: Points) -> str:
    """``0 to 8`` or ``0, 3, 7`` for each arm, arms with the same seeds together."""
    groups: dict[str, list[str]] = {}
    for arm, label in points.labels.items():
        seeds = sorted({run.outcome.seed for run in points.record.runs if run.arm == arm})
        whole = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1))
        text = f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(str(seed) for seed in seeds)
        groups.setdefault(text, []).append(label)
    if len(groups) == 1:
        return next(iter(groups)) + " (all arms)"
    return "; ".join(f"{text} ({', '.join(labels)})" for text, labels in groups.items())


def cost_table(record: StudyRecord) -> dict[str, Any]:
    """Cost vectors of all arms: one row per kind of cost, value and ratio to the baseline."""
    arms = [mapping(arm) for arm in record.result.get("arms") or []]
    if not arms:
        return {"labels": [], "rows": []}
    base = next((mapping(arm.get("cost")) for arm in arms if arm.get("name") == "baseline"), {})
    known = [key for key in numerals.COST_WORDS if any(key in mapping(arm.get("cost")) for arm in arms)]
    rows = []
    for key in known:
        values = [number_or_none(mapping(arm.get("cost")).get(key)) for arm in arms]
        reference = number_or_none(base.get(key))
        rows.append(
            {
                "name": numerals.COST_WORDS[key][0],
                "cells": [
                    (
                        numerals.amount(key, value),
                        "" if arm.get("name") == "baseline" else numerals.ratio(value, reference),
                    )
                    for arm, value in zip(arms, values, strict=True)
                ],
            }
        )
    return {"labels": [words.arm_label(str(arm.get("name")), record) for arm in arms], "rows": rows}


def rate_only(record: StudyRecord) -> str:
    """What the arm with only the learning rate changed shows, in a sentence."""
    found = mapping(record.result.get("rate_only"))
    own, whole = Interval.read(found.get("gap")), Interval.read(record.result.get("gap"))
    if not own.known:
        return ""
    places = words.decimals(record)
    text = (
        "With only the learning rate of the variant, the gap to the baseline at the planned end is "
        f"{words.with_unit(numerals.estimate(own, places), record)}; with the whole change it is "
        f"{numerals.estimate(whole, places)}. "
    )
    at = mapping(found.get("at_level"))
    matched = Interval.read(at.get("gap") if "gap" in at else at)
    if matched.known:
        text += f"At the matched level it is {numerals.estimate(matched, places)}. "
    return text + "This describes, and never decides."


def level_table(record: StudyRecord) -> list[dict[str, str]]:
    """The gap at further levels: ``level, gap, note``."""
    places, rows = words.decimals(record), []
    for item in mapping(record.result.get("fit")).get("levels") or []:
        entry = mapping(item)
        reached = number_or_none(entry.get("seeds_reached"))
        rows.append(
            {
                "level": numerals.loss(number_or_none(entry.get("level"))),
                "gap": numerals.estimate(Interval.read(entry.get("gap")), places),
                "reached": str(int(reached)) if reached is not None else "",
            }
        )
    return rows


def moved_table(record: StudyRecord) -> list[dict[str, str]]:
    """Coordinates of the bias, largest first: ``probe, effect, status, baseline, variant, unit, mark``.

    ``mark`` is the number of the reason below the table, or nothing.
    """
    rows, reasons = [], moved_reasons(record)
    for item in record.result.get("moved") or []:
        entry = mapping(item)
        value = Interval.read({**entry, "mean": entry.get("effect")})
        rows.append(
            {
                "probe": str(entry.get("probe") or "").replace("_", " "),
                "effect": numerals.estimate(value, 1, signed=True),
                "status": str(entry.get("status") or "").replace("_", " "),
                "baseline": _mean_and_sd(entry.get("baseline")),
                "variant": _mean_and_sd(entry.get("variant")),
                "unit": str(entry.get("unit") or ""),
                "mark": str(reasons.index(reason) + 1) if (reason := _reason(entry)) else "",
            }
        )
    return rows


def moved_reasons(record: StudyRecord) -> list[str]:
    """Why coordinates could not be compared, each reason once, in the order of the table."""
    found = (_reason(mapping(item)) for item in record.result.get("moved") or [])
    return list(dict.fromkeys(reason for reason in found if reason))


def _reason(entry: Mapping[str, Any]) -> str:
    return words.without_code(str(entry.get("reason") or ""))


def _mean_and_sd(data: object) -> str:
    mean, sd = (number_or_none(mapping(data).get(key)) for key in ("mean", "sd"))
    if mean is None:
        return ""
    spread = "" if sd is None else f" \u00b1 {numerals.significant(sd, 2)}"
    return numerals.significant(mean) + spread


def readings_table(record: StudyRecord) -> dict[str, Any]:
    """Mean of every coordinate in every arm: header and rows; only where there are more than two arms."""
    arms = [mapping(arm) for arm in mapping(record.result.get("readings")).get("arms") or []]
    names = dict.fromkeys(name for arm in arms for name in mapping(arm.get("values")))
    if len(arms) < 3:
        return {"labels": [], "rows": []}
    rows = [
        {
            "name": name.replace("_", " "),
            "cells": [_mean_and_sd(mapping(arm.get("values")).get(name)) for arm in arms],
        }
        for name in names
    ]
    labels = []
    for arm in arms:
        label = words.arm_label(str(arm.get("name")), record)
        labels.append(label if arm.get("matched") else f"{label} (not at matched fit)")
    losses = [numerals.loss(number_or_none(arm.get("train_loss"))) for arm in arms]
    return {"labels": labels, "rows": [{"name": "training loss there", "cells": losses}, *rows]}


def moved_text(record: StudyRecord) -> str:
    """What moved, in a sentence; or why nothing was read."""
    readings = mapping(record.result.get("readings"))
    if readings.get("probes"):
        return str(readings.get("summary") or "")
    if "readings" in record.result:
        why = str(readings.get("reason") or "")
        said = f": {why}" if why else ""
        return f"No coordinates of the bias were read{said}."
    return "No coordinates of the bias were read: only the curves of these runs are here, not their weights."


def decision_table(record: StudyRecord) -> list[dict[str, str]]:
    """The decision log: ``n, gap, states, decided``."""
    places, rows = words.decimals(record), []
    for decision in record.decisions:
        states = _states(mapping(decision.get("states")))
        decided = str(decision.get("decided") or decision.get("text") or "").replace("_", " ")
        count = number_or_none(decision.get("n"))
        rows.append(
            {
                "n": str(int(count)) if count is not None else "",
                "gap": numerals.estimate(Interval.read(decision.get("gap")), places),
                "states": states,
                # The text of a look may begin with the states, which have a column of their own.
                "decided": decided.removeprefix(f"{states}: "),
            }
        )
    return rows


def _states(states: Mapping[str, Any]) -> str:
    order = {"gap": 0, "bias_share": 1, "fit_share": 2}
    names = sorted(states, key=lambda name: order.get(name, len(order)))
    return ", ".join(f"{name.replace('_', ' ')} {states[name]}" for name in names)
