"""What the report and the next step say of an audit of a command."""

from __future__ import annotations

from html import unescape

import pytest

from algobias.answer.next.step import next_text
from algobias.reports.evidence import LEVELS, evidence_lines
from algobias.reports.html import render
from algobias.reports.record import StudyRecord
from algobias.reports.tables import moved_text
from algobias.reports.words import unit


def record(verdict: str, evidence: str | None, **more: object) -> StudyRecord:
    found = [
        {"check": "writes", "passed": True, "text": "nothing is written outside"},
        {"check": "seeds", "passed": False, "text": "two seeds end alike"},
    ]
    result = {
        "schema": 1,
        "study": "0123456789ab",
        "gap": {"mean": 5.0, "low": 4.0, "high": 6.0, "n": 4},
        "verdict": verdict,
        "reason": "so",
        "evidence": evidence,
        "preflight": found,
        **more,
    }
    return StudyRecord(result={**result, "task": "python train.py", "change": ["args: --lr=1"]})


@pytest.mark.parametrize("level", LEVELS)
def test_the_level_of_evidence_and_the_preflight_stand_on_the_page(level: str) -> None:
    shown = record("undecided", level)
    lines = evidence_lines(shown)
    assert lines[0] == f"evidence: {level}: {LEVELS[level]}"
    assert lines[1] == "preflight: as it must be (writes)"
    assert lines[2] == "preflight, seeds (not as it must be): two seeds end alike"
    page = unescape(render(shown))
    assert "Evidence: " + level in page
    assert "two seeds end alike" in page


def test_other_studies_have_no_such_lines() -> None:
    assert evidence_lines(StudyRecord(result={"schema": 1, "verdict": "no_gap"})) == []


@pytest.mark.parametrize(
    ("verdict", "evidence", "part"),
    [
        ("bias", "with replay", "algobias control 0123456789ab"),
        ("optimization", "with replay", "longer schedule in --args"),
        ("not_applied", "with counters", "the script reads"),
        ("undecided", "metric only", "--train-loss"),
        ("no_gap", "with replay", "keep the change"),
    ],
)
def test_the_next_step_names_options_of_run(verdict: str, evidence: str, part: str) -> None:
    told = next_text(record(verdict, evidence))
    assert part in told
    assert ("algobias control" in told) is (verdict in ("bias", "optimization"))
    assert "explain" not in told
    assert "algobias levers args" not in told


@pytest.mark.parametrize(
    ("metric", "ends", "kind"),
    [
        ("val_accuracy", (0.93, 0.94), ""),
        ("minus accuracy", (-0.93, -0.94), ""),
        ("val_accuracy", (93.0, 0.9), "points"),
        ("val_accuracy", (), "points"),
    ],
)
def test_accuracies_that_are_fractions_have_no_points(
    metric: str, ends: tuple[float, ...], kind: str
) -> None:
    arms = [{"name": "baseline", "metric": {"mean": end}} for end in ends]
    assert unit(record("bias", None, metric=metric, arms=arms)) == kind


def test_how_coordinates_of_a_command_are_read_is_said_where_they_can_be() -> None:
    assert "--probes cheap" in moved_text(record("bias", "with replay"))
    assert "--probes" not in moved_text(record("bias", "metric only"))
    assert "--probes" not in moved_text(record("bias", None))
