"""The search and the confirmation of a control study, as text: what was tried, why dropped, what to copy."""

from __future__ import annotations

from algobias.answer.interval import Interval
from algobias.answer.search import Chosen, TunedGap
from algobias.own.user_file import without_files
from algobias.reports import numerals, words
from algobias.reports.record import StudyRecord
from algobias.reports.text_table import TextTable, text_table

PLACES = {"planned_end": "at the planned end", "matched": "at matched fit"}

TRIED = ("Seeds", "Gain of the variant", "R", "Gradients", "Updates", "Baseline with it", "What became of it")
"""Headings of the settings that were tried."""

DOUBT = "on these seeds the gap itself is not clear of 0, which says little of the control"


def chosen(record: StudyRecord) -> list[dict[str, str]]:
    """One entry for each limit: ``axes, lever, at, confirmed, meaning, undoes, doubt, over, tuned, kind,
    recipe``."""
    rows = []
    for choice in record.answer.chosen:
        lever, confirmed = choice.lever, choice.confirmed or ""
        kind = "" if choice.general is None else words.GENERAL if choice.general else words.REPAIR
        recipe = record.recipes.get(f"variant+{lever}", "") if lever else ""
        rows.append(
            {
                "axes": choice.axes or "",
                "lever": without_files(lever or ""),
                "at": PLACES.get(str(choice.at), ""),
                "confirmed": confirmed,
                "meaning": words.control_meaning(confirmed, _left(record, choice), record),
                "undoes": choice.undoes or "",
                "doubt": DOUBT if choice.of_no_gap else "",
                "over": f"on these seeds it costs {choice.over_limit}" if choice.over_limit else "",
                "tuned": _tuned(record, choice.tuned_gap),
                "kind": kind if confirmed in ("recovered", "partial") else "",
                "recipe": recipe,
            }
        )
    return rows


def _left(record: StudyRecord, choice: Chosen) -> Interval:
    """Take the gap that is left with what was chosen, where the choice is judged."""
    judged = (
        control.seen_at({choice.at}) for control in record.answer.controls if control.lever == choice.lever
    )
    return next((control.treated_gap for control in judged if control.at == choice.at), Interval())


def _tuned(record: StudyRecord, gap: TunedGap | None) -> str:
    """How far the treated variant is from the best the same search found for the baseline."""
    if gap is None or not gap.known:
        return ""
    setting = without_files(record.answer.tuned_baseline or "")
    best = f"The tuned baseline ({setting})" if setting else "The baseline, which no setting improved,"
    left = words.with_unit(numerals.estimate(gap, words.decimals(record), signed=True), record)
    return f"{best} minus this variant: {left}, {PLACES.get(str(gap.at), '')}"


def again(record: StudyRecord) -> str:
    """A remark where the audit had control studies before this one; else nothing."""
    earlier = record.answer.earlier_studies
    if not earlier:
        return ""
    many = "A control study" if earlier == 1 else f"{earlier} control studies"
    return (
        f"{many} of this audit had been begun before. The seeds of this confirmation are new; the test "
        "examples are not, and a choice made after seeing earlier answers is no longer blind to them."
    )


def over_limits(record: StudyRecord) -> list[dict[str, str]]:
    """What breaks a limit, with its figures: ``name, limit, reason``; every limit that is broken once."""
    return [
        {"name": without_files(setting.lever or ""), "limit": broken.axes, "reason": broken.reason}
        for setting in record.answer.tried
        for broken in setting.over_limit
    ]


def tried(record: StudyRecord) -> TextTable[str]:
    """Every setting on its last rung: header and rows of text, most seeds and largest gain first."""
    places = words.decimals(record)
    rows: list[tuple[str, list[str]]] = []
    for setting in record.answer.tried:
        against = setting.against_variant
        over, limits = len(setting.over_limit), len(record.answer.chosen)
        fate = "chosen" if setting.chosen else "out early" if setting.dropped else "not the best"
        if over and not setting.chosen:
            # What no limit allows was never compared with the others.
            fate = "above every limit" if over == limits else f"{fate}, above a limit"
        if setting.undoes:
            fate += f"; {setting.undoes.partition(':')[0]}"
        cells = [
            str(setting.seeds or ""),
            numerals.estimate(setting.improvement, places, signed=True),
            numerals.fixed(setting.recovered.mean, 2),
            numerals.times(against.gradients),
            numerals.times(against.updates),
            numerals.fixed(setting.baseline_metric, places),
            fate,
        ]
        rows.append((without_files(setting.lever or ""), cells))
    return text_table(TRIED, rows)


def confirmation(record: StudyRecord) -> list[dict[str, str]]:
    """One row for each look of the confirmation: ``n, said``."""
    controls = tuple(str(control.lever) for control in record.answer.controls)
    rows = []
    for look in record.answer.confirmation:
        levers = look.levers or controls
        twice = len(set(levers)) < len(levers)
        named = [
            f"{lever} {place.replace('_', ' ')}" if twice else lever
            for lever, place in zip(levers, look.at or levers, strict=False)
        ]
        named = [without_files(lever) for lever in named]
        text = ", ".join(f"{lever} {word}" for lever, word in zip(named, look.said, strict=False))
        rows.append({"n": str(look.n or ""), "said": text})
    return rows
