"""What stands on the page: every number of a record turned into text, tiles and tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from algobias.report import figures, words
from algobias.report.figures.base import Spec
from algobias.report.points import Points
from algobias.report.record import Interval, StudyRecord, number_or_none
from algobias.report.theme import ARM_COLORS, ARM_SHAPES, SHAPE_PATHS
from algobias.report.words import mapping


@dataclass(frozen=True)
class FigureEntry:
    """One figure on the page.

    Attributes:
        key: Name inside the page.
        spec: Points (and a width) -> Vega-Lite spec.
        title: What it shows.
        read: How to read it.
        notes: Remarks that hold for this record only.
    """

    key: str
    spec: Callable[..., Spec]
    title: str
    read: str
    notes: tuple[str, ...] = ()


def figure_list(points: Points) -> list[FigureEntry]:
    """The figures that this record has data for."""
    record = points.record
    entries: list[FigureEntry] = []
    if points.seeds:
        entries += [
            FigureEntry(
                "seeds",
                figures.seed_dots,
                "Test metric of every seed",
                "One mark per seed. Thin lines join baseline and variant runs of one seed. The bar below the marks "
                "is the mean with its own 95 % interval. Shaded: from the baseline\u2019s mean down to the tolerance.",
            ),
            FigureEntry(
                "loss",
                figures.training_loss,
                "Training loss",
                "Thin lines are seeds, thick lines geometric means; marks are the planned end. "
                + ("The dotted line is the matched level." if points.on == "train_loss" else ""),
                _curve_notes(points),
            ),
            FigureEntry("metric", figures.test_metric, "Test metric", _metric_read(points)),
            FigureEntry(
                "fit", figures.metric_against_fit, "Test metric at equal training fit", _fit_read(points)
            ),
        ]
    if Interval.read(record.result.get("gap")).known:
        fit = mapping(record.result.get("fit"))
        entries.append(
            FigureEntry(
                "split",
                figures.split,
                "The gap and its two shares",
                "Bars are estimates, lines 95 % intervals, small dots single seeds. The dashed line is the tolerance.",
                (f"The shares are {words.MISSING}: {fit.get('reason')}.",) if fit.get("reason") else (),
            )
        )
    if record.result.get("controls"):
        entries.append(
            FigureEntry(
                "recovery",
                figures.recovery,
                "Part of the gap that comes back",
                "0: nothing recovered; 1: all of the gap. R measures against the untreated baseline, R* against the "
                "baseline with the same control. A dashed line is an unbounded interval.",
            )
        )
    if sum(Interval.read(decision.get("gap")).known for decision in record.decisions) > 1:
        entries.append(
            FigureEntry(
                "looks",
                figures.gap_by_look,
                "The gap at each look",
                "The estimate and its interval each time the study looked. The dashed line is the tolerance.",
            )
        )
    return entries


def content(points: Points) -> dict[str, Any]:
    """Everything the template prints besides figures."""
    record = points.record
    result = record.result
    verdict = words.verdict_words(record)
    return {
        "verdict": verdict,
        "verdict_name": words.verdict_name(record),
        "reason": str(result.get("reason") or ""),
        "would_decide": str(result.get("would_decide") or "") if result.get("verdict") == "undecided" else "",
        "claim": words.claim(record),
        "warnings": [str(item) for item in result.get("warnings") or []],
        "task": str(result.get("task") or ""),
        "study": str(result.get("study") or ""),
        "change": words.change_text(record),
        "tiles": tiles(record),
        "arms": arm_keys(points),
        "population": population(record),
        "seed_table": seed_table(points),
        "costs": cost_table(record),
        "controls": control_cards(record),
        "rate_only": rate_only(record, points),
        "levels": level_table(record),
        "moved": moved_table(record),
        "differences": record.differences,
        "decisions": decision_table(record),
        "command": record.command,
        "environment": record.environment,
        "recipes": [(words.arm_label(arm, record), text) for arm, text in record.recipes.items()],
        "seeds_text": seeds_text(points),
        "glossary": words.GLOSSARY,
        "metric_name": figures.metric_title(points),
        "seconds": words.duration(value)
        if (value := number_or_none(result.get("seconds"))) is not None
        else "",
    }


def tiles(record: StudyRecord) -> list[dict[str, str]]:
    """The numbers at a glance: ``label, value, note``."""
    result, places, kind = record.result, words.decimals(record), words.unit(record)
    fit = mapping(result.get("fit"))
    gap = Interval.read(result.get("gap"))
    tolerance = number_or_none(result.get("tolerance"))

    def tile(label: str, value: Interval, note: str) -> dict[str, str]:
        if not value.known:
            return {"label": label, "value": words.MISSING, "note": value.reason}
        return {
            "label": label,
            "value": words.fixed(value.mean, places) + (f" {kind}" if kind else ""),
            "note": f"95 % interval {words.bounds(value, places)}" + note,
        }

    looks = [n for n in result.get("looks") or [] if number_or_none(n) is not None]
    taken = len(record.decisions)
    level = number_or_none(fit.get("level"))
    at = f", at {'training metric' if fit.get('on') == 'train_metric' else 'training loss'} {words.loss(level)}"
    return [
        tile("Gap at the planned end", gap, ""),
        {
            "label": "Tolerance",
            "value": words.fixed(tolerance, places) + (f" {kind}" if kind and tolerance is not None else ""),
            "note": str(result.get("tolerance_reason") or "fixed before the runs"),
        },
        tile("Bias share", Interval.read(fit.get("bias_share")), at if level is not None else ""),
        tile("Fit share", Interval.read(fit.get("fit_share")), ""),
        {
            "label": "Seeds used",
            "value": str(gap.n) if gap.n else words.MISSING,
            "note": "paired: one run of each arm",
        },
        {
            "label": "Look",
            "value": (f"{taken} of {max(len(looks), taken)}" if looks else str(taken)) if taken else "none",
            "note": f"planned at {', '.join(str(n) for n in looks)} seeds" if looks else "",
        },
    ]


def arm_keys(points: Points) -> list[dict[str, str]]:
    """The legend: label, colour in both schemes, shape and meaning of each arm that has runs."""
    keys = []
    for index, (arm, label) in enumerate(points.labels.items()):
        keys.append(
            {
                "label": label,
                "note": words.arm_note(arm, points.record),
                "light": ARM_COLORS["light"][index % len(ARM_COLORS["light"])],
                "dark": ARM_COLORS["dark"][index % len(ARM_COLORS["dark"])],
                "path": SHAPE_PATHS[ARM_SHAPES[index % len(ARM_SHAPES)]],
            }
        )
    return keys


def population(record: StudyRecord) -> str:
    """The interval for the population of examples, and the unpaired one, where they were computed."""
    places, parts = words.decimals(record), []
    for key, text in (("population", "for the population of examples"), ("welch", "without pairing (Welch)")):
        value = Interval.read(record.result.get(key))
        if value.known:
            parts.append(f"{text}: {words.estimate(value, places)}")
    return "; ".join(parts)


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
            text = "" if row is None else words.fixed(row["metric"], places)
            cells.append(text + (" (diverged)" if row is not None and row["diverged"] else ""))
        named = sorted({row["seed"] for row in found.values()})
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
    known = [key for key in words.COST_WORDS if any(key in mapping(arm.get("cost")) for arm in arms)]
    rows = []
    for key in known:
        values = [number_or_none(mapping(arm.get("cost")).get(key)) for arm in arms]
        reference = number_or_none(base.get(key))
        rows.append(
            {
                "name": words.COST_WORDS[key][0],
                "cells": [
                    (
                        words.amount(key, value),
                        "" if arm.get("name") == "baseline" else words.ratio(value, reference),
                    )
                    for arm, value in zip(arms, values, strict=True)
                ],
            }
        )
    return {"labels": [words.arm_label(str(arm.get("name")), record) for arm in arms], "rows": rows}


def control_cards(record: StudyRecord) -> list[dict[str, Any]]:
    """One card per control: what it is, R and R*, verdict in words, costs against both references."""
    cards = []
    for index, raw in enumerate(record.result.get("controls") or []):
        control = mapping(raw)
        verdict = str(control.get("verdict") or "")
        one = Interval.read(control.get("recovered"))
        other = Interval.read(control.get("recovered_against_treated_baseline"))
        general = control.get("general")
        cards.append(
            {
                "name": words.arm_label(f"variant+control:{index}", record).removeprefix("variant + "),
                "lever": str(control.get("lever") or ""),
                "at": {"matched": "at the matched level", "end": "at the planned end"}.get(
                    str(control.get("at")), str(control.get("at") or "").replace("_", " ")
                ),
                "verdict": verdict,
                "meaning": words.CONTROL_VERDICTS.get(verdict, ""),
                "recovered": words.estimate(one, 2),
                "against": words.estimate(other, 2),
                "missing": other.reason or str(control.get("reason") or ""),
                "kind": ""
                if general is None
                else "a general improvement: it helps the baseline at least half as much"
                if general
                else "a repair: it helps the variant more than it helps the baseline",
                "costs": control_costs(control),
            }
        )
    return cards


REFERENCES = {
    "variant": "the variant as audited",
    "audited": "the variant as audited",
    "variant_matched": "the variant trained to the baseline\u2019s loss",
    "variant_at_baseline_loss": "the variant trained to the baseline\u2019s loss",
    "baseline": "the baseline",
}


def control_costs(control: Any) -> dict[str, Any]:
    """Cost ratios of a control: one column per reference."""
    ratios = mapping(control.get("cost_ratio"))
    if not any(isinstance(item, dict) for item in ratios.values()):
        ratios = {"variant": ratios} if ratios else {}
    keys = [key for key in words.COST_WORDS if any(key in mapping(item) for item in ratios.values())]
    return {
        "labels": [REFERENCES.get(name, name.replace("_", " ")) for name in ratios],
        "rows": [
            {
                "name": words.COST_WORDS[key][0],
                "cells": [
                    words.times(number_or_none(mapping(item).get(key))) or "\u2013"
                    for item in ratios.values()
                ],
            }
            for key in keys
        ],
    }


def rate_only(record: StudyRecord, points: Points) -> str:
    """What the arm with only the learning rate changed shows, in a sentence."""
    if "rate_only" not in points.labels:
        return ""
    means = {row["arm"]: row["mean"] for row in points.arm_means}
    base, own, variant = (
        means.get(points.labels.get(arm, "")) for arm in ("baseline", "rate_only", "variant")
    )
    if base is None or own is None or variant is None:
        return ""
    places = words.decimals(record)
    return (
        f"With only the learning rate of the variant, the mean gap to the baseline is {words.fixed(base - own, places)}; "
        f"with the whole change it is {words.fixed(base - variant, places)}. This describes, and never decides."
    )


def level_table(record: StudyRecord) -> list[dict[str, str]]:
    """The gap at further levels: ``level, gap, note``."""
    places, rows = words.decimals(record), []
    for item in mapping(record.result.get("fit")).get("levels") or []:
        entry = mapping(item)
        value = Interval.read(entry.get("bias_share") or entry.get("gap") or entry)
        rows.append(
            {
                "level": words.loss(number_or_none(entry.get("level"))),
                "gap": words.estimate(value, places),
                "note": value.reason or str(entry.get("reason") or ""),
            }
        )
    return rows


def moved_table(record: StudyRecord) -> list[dict[str, str]]:
    """Coordinates of the bias that moved: ``probe, effect, status``."""
    rows = []
    for item in record.result.get("moved") or []:
        entry = mapping(item)
        value = Interval(*(number_or_none(entry.get(key)) for key in ("effect", "low", "high")))
        rows.append(
            {
                "probe": str(entry.get("probe") or "").replace("_", " "),
                "effect": words.estimate(value, 1, signed=True),
                "status": str(entry.get("status") or "").replace("_", " "),
            }
        )
    return rows


def decision_table(record: StudyRecord) -> list[dict[str, str]]:
    """The decision log: ``n, gap, states, decided``."""
    places, rows = words.decimals(record), []
    for decision in record.decisions:
        states = mapping(decision.get("states"))
        count = number_or_none(decision.get("n"))
        rows.append(
            {
                "n": str(int(count)) if count is not None else "",
                "gap": words.estimate(Interval.read(decision.get("gap")), places),
                "states": ", ".join(f"{name.replace('_', ' ')} {state}" for name, state in states.items()),
                "decided": str(decision.get("decided") or "").replace("_", " "),
            }
        )
    return rows


def _curve_notes(points: Points) -> tuple[str, ...]:
    gone = {
        label: sum(run.outcome.diverged for run in points.planned_runs[arm])
        for arm, label in points.labels.items()
    }
    notes = [
        f"{count} of {len(points.planned_runs[arm])} seeds of {label} diverged: \u00d7 marks where the loss was last "
        "finite; they are not in the mean line, and score as a predictor that knows nothing."
        for (arm, label), count in zip(points.labels.items(), gone.values(), strict=True)
        if count
    ]
    if points.by_length:
        notes.append(
            "The learning rate decays, so runs of other lengths are separate full-schedule runs; only the planned "
            "length is drawn here."
        )
    return tuple(notes)


def _metric_read(points: Points) -> str:
    low, _ = figures.metric_window(points)
    below = any(row["metric"] is not None and row["metric"] < low for row in points.curves)
    text = "Thin lines are seeds, thick lines means; marks are the planned end."
    return text + (
        " The axis starts a little below where the arms end; earlier checks lie under it." if below else ""
    )


def _fit_read(points: Points) -> str:
    measure = "training metric" if points.on == "train_metric" else "training loss"
    level = number_or_none(mapping(points.record.result.get("fit")).get("level"))
    side = mapping(points.record.result.get("fit")).get("side")
    text = f"Each arm\u2019s test metric when it has reached a given {measure}; training runs to the right. "
    if points.by_length:
        text += "Each mark is a run with its full schedule; a line joins the lengths of one seed. "
    if level is None:
        return text + "No matched level is available."
    text += f"The dotted line is the matched level, {words.loss(level)}: the distance between the arms there is the bias share."
    if side == "upward":
        text += " The variant does not reach the baseline\u2019s loss, so the arms are compared at the loss the variant ended with."
    return text
