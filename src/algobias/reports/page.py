"""What stands on the page: every number of a record turned into text, tiles and tables."""

from __future__ import annotations

from algobias.answer.measured.readings import ReadingsSummary
from algobias.answer.next.step import next_steps
from algobias.answer.next.typed import repeated
from algobias.answer.single import SingleRuns
from algobias.own.user_file import without_files
from algobias.reports import (
    besides,
    controls,
    explained,
    figures,
    glance,
    logs,
    numerals,
    searched,
    tables,
    verdicts,
    words,
)
from algobias.reports.evidence import evidence_lines
from algobias.reports.figures.points import Points
from algobias.reports.figures.theme import paint
from algobias.reports.record import StudyRecord


def content(points: Points) -> dict[str, object]:
    """Everything the template prints besides figures."""
    record = points.record
    answer = record.answer
    readings = answer.readings or ReadingsSummary()
    return {
        "verdict": verdicts.verdict_words(record),
        "verdict_name": verdicts.verdict_name(record),
        "reason": answer.reason or "",
        "would_decide": would_decide(record),
        "claim": words.claim(record),
        "next_steps": next_steps(record),
        "doubts": [numerals.sentence(text) for text in verdicts.doubts(record)],
        "warnings": [numerals.sentence(text) for text in verdicts.warnings(record)],
        "task": words.task_text(answer.task),
        "study": answer.study or "",
        "change": words.change_text(record),
        "base": " then ".join(without_files(lever) for lever in answer.base),
        "tiles": glance.tiles(record),
        "arms": arm_keys(points),
        "statistics": glance.statistics(record),
        "seed_table": tables.seed_table(points),
        "further": besides.further_metrics(points),
        "samples": besides.samples(points),
        "chosen": searched.chosen(record),
        "fresh_examples": answer.fresh_examples,
        "tried": searched.tried(record),
        "over_limits": searched.over_limits(record),
        "again": searched.again(record),
        "confirmation": searched.confirmation(record),
        "statements": explained.statements(record),
        "about_change": explained.about_change(record),
        "interventions": explained.table(record),
        "pieces": explained.pieces(record),
        "about_pieces": explained.about_pieces(record),
        "costs": tables.cost_table(record),
        "controls": controls.control_cards(record),
        "rate_only": tables.rate_only(record),
        "levels": tables.level_table(record),
        "moved": tables.moved_table(record),
        "moved_reasons": [numerals.sentence(text) for text in tables.moved_reasons(record)],
        "moved_text": tables.moved_text(record),
        "moved_notes": [numerals.sentence(note) for note in readings.notes],
        "readings": tables.readings_table(record),
        "differences": record.differences,
        "logs": [numerals.sentence(line) for line in logs.read_lines(record) + evidence_lines(record)],
        "decisions": tables.decision_table(record),
        "one_look": answer.one_look,
        "command": repeated(record),
        "environment": record.environment,
        "recipes": recipes(record),
        "seeds_text": tables.seeds_text(points),
        "metric_name": figures.metric_title(points),
        "seconds": numerals.duration(answer.seconds) if answer.seconds is not None else "",
    }


def recipes(record: StudyRecord) -> list[tuple[str, str]]:
    """Label and recipe of each arm, but of a baseline that an intervention on the change leaves as it was.

    Its label would name what was done to the variant, beside a recipe in which nothing of it is.
    """
    plain = record.recipes.get("baseline")
    return [
        (words.arm_label(arm, record), text)
        for arm, text in record.recipes.items()
        if not (record.answer.explain_of and arm.startswith("baseline+") and text == plain)
    ]


def would_decide(record: StudyRecord) -> str:
    """For an undecided study: what would decide it, where the reason does not say so already."""
    if record.answer.verdict != "undecided" or "--scale" in (record.answer.reason or ""):
        return ""
    count = record.answer.would_decide
    if record.answer.single is not None:
        return _more_runs(record.answer.single)
    if count is not None:
        return f"{count} seeds, with a chance of 80 %, if the estimates are right. Continue with more looks."
    return "Not more seeds of this kind alone; see the reason."


def _more_runs(single: SingleRuns) -> str:
    """What would decide where there is one run of each arm."""
    known = (
        "if seeds scatter as little as the checks of this pair (they usually scatter more)"
        if single.seeds_known
        else "the fewest that can show a loss to be absent (a tolerance and more checks say more)"
    )
    runs = f"at least {single.seeds} seeds of each arm at {single.length:g} times the length"
    return f"{runs}, {known}; together {single.cost:.3g} times the cost of these two runs."


def arm_keys(points: Points) -> list[dict[str, str]]:
    """The legend: label, colour in both schemes, shape and meaning of each arm that has runs."""
    return [
        {"label": label, "note": words.arm_note(arm, points.record), **paint(place)}
        for place, (arm, label) in enumerate(points.labels.items())
    ]
