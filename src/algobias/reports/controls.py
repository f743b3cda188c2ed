"""The controls of a study, as text: what each is, what it recovers, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from algobias.answer.control import ControlEntry
from algobias.answer.cost import Costs
from algobias.answer.measured.moved import ReturnedCoordinate
from algobias.own.user_file import without_files
from algobias.reports import numerals, words
from algobias.reports.record import StudyRecord
from algobias.reports.text_table import TextTable, text_table

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


class ControlCard(TypedDict):
    """What is shown of one control."""

    name: str
    lever: str
    at: str
    verdict: str
    meaning: str
    facts: list[tuple[str, str]]
    costs: TextTable[str]


def as_chosen(record: StudyRecord) -> list[ControlEntry]:
    """The controls, each first at the place where it was chosen, where a search chose it; the other within.

    A control that was chosen within the cost of the variant as audited is judged at the planned end. What it
    does at the matched level, at a cost it was not chosen for, must not be read as the answer.
    """
    places: dict[str | None, set[str | None]] = {}
    for choice in record.answer.chosen:
        places.setdefault(choice.lever, set()).add(choice.at)
    return [control.seen_at(places.get(control.lever, set())) for control in record.answer.controls]


def control_cards(record: StudyRecord) -> list[ControlCard]:
    """One card per control: what it is, R and R*, verdict in words, costs against both references."""
    cards: list[ControlCard] = []
    places = words.decimals(record)
    for index, control in enumerate(as_chosen(record)):
        verdict, general, undoes = control.verdict, control.general, control.undoes
        facts = [
            ("R, recovered part of the gap", numerals.estimate(control.recovered, 2)),
            (
                "R*, against the baseline with the same control",
                numerals.estimate(control.recovered_against_treated_baseline, 2),
            ),
        ]
        if record.answer.tuned_baseline and record.answer.tuned_baseline == control.lever:
            facts.append(("Role", "what serves the baseline best: its baseline is the tuned baseline"))
        left = control.treated_gap
        if left.known:
            facts.append(("Gap that is left", words.with_unit(numerals.estimate(left, places), record)))
        if undoes:
            facts.insert(0, ("Kind", f"no repair: {undoes}"))
        elif general is not None and verdict in ("recovered", "partial"):
            facts.append(("Kind", words.GENERAL if general else words.REPAIR))
        if control.reason:
            facts.append(("Remark", control.reason))
        other = control.other
        if other is not None:
            recovered = numerals.estimate(other.recovered, 2)
            against = numerals.estimate(other.recovered_against_treated_baseline, 2)
            said = f"{other.verdict}: " if other.verdict else ""
            facts.append((f"The same {place(other)}", f"{said}R {recovered}; R* {against}"))
        if coordinates_text(control):
            facts.append(("Coordinates", coordinates_text(control)))
        cards.append(
            {
                "name": words.control_name(index, record),
                "lever": without_files(control.lever or ""),
                "at": place(control),
                "verdict": verdict,
                "meaning": words.control_meaning(verdict, left, record),
                "facts": facts,
                "costs": control_costs(control),
            }
        )
    return cards


def place(control: ControlEntry) -> str:
    """Say where a control was compared."""
    at, level = control.at or "", control.level
    if at == "matched":
        on = "" if control.on == "train_loss" else f"{words.FIT_WORDS['train_metric']} "
        return "at the matched level" + (f" ({on}{numerals.loss(level)})" if level is not None else "")
    return "at the planned end" if at == "planned_end" else at.replace("_", " ")


def coordinates_text(control: ControlEntry) -> str:
    """Which coordinates that moved came back under a control, and whether generalisation did; or nothing."""
    plain = [coordinate for coordinate in control.coordinates or () if not coordinate.twin]
    by_status: dict[str, list[ReturnedCoordinate]] = {status: [] for status in STATUSES}
    for coordinate in plain:
        by_status.setdefault(coordinate.status, []).append(coordinate)
    if not plain:
        return ""
    unread = by_status["not_comparable"]
    if len(unread) == len(plain):
        return f"not compared: {unread[0].reason}"
    told = [
        f"{len(alike)} {STATUSES.get(status, status)} ({_named(alike)})"
        for status, alike in by_status.items()
        if alike
    ]
    matched = control.matched
    outcome = "" if matched is None else WITH_IT.get(matched.verdict, "")
    of = f"of {len(plain)} that moved, at matched fit, {', '.join(told)}"
    if matched is None or not outcome:
        return of
    return f"{of}; {outcome} {place(matched)}. Seen together, which is no proof of cause"


def _named(coordinates: Sequence[ReturnedCoordinate]) -> str:
    names = [coordinate.name for coordinate in coordinates[:NAMED]]
    return ", ".join(names) + (", ..." if len(coordinates) > NAMED else "")


REFERENCES = {
    "variant": "the variant as audited",
    "variant_at_matched_fit": "the variant trained to the matched level",
    "baseline": "the baseline",
}


def control_costs(control: ControlEntry) -> TextTable[str]:
    """Cost ratios of a control: one column per reference."""
    ratios = control.cost_ratio
    # Of a command nobody knows most axes.
    axes = [axis for axis in numerals.COST_WORDS if any(one.on(axis) is not None for one in ratios.values())]
    return text_table(
        [REFERENCES.get(name, name.replace("_", " ")) for name in ratios],
        (
            (numerals.COST_WORDS[axis][0], [_multiple(costs, axis) for costs in ratios.values()])
            for axis in axes
        ),
    )


def _multiple(ratios: Costs, axis: str) -> str:
    return numerals.times(ratios.on(axis)) or "\u2013"
