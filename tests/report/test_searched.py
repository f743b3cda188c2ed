"""What a control study chose, in the words of the report."""

from __future__ import annotations

from typing import Any

import pytest

from algobias.judge.recovery import UNBOUNDED
from algobias.reports import searched, words
from algobias.reports.controls import control_cards
from algobias.reports.figures.entries import figure_list
from algobias.reports.figures.points import Points
from algobias.reports.record import StudyRecord


@pytest.mark.parametrize(
    ("confirmed", "reason", "doubted"),
    [
        ("recovered", f"{UNBOUNDED}: the recovered fraction is unbounded", True),
        ("recovered", None, False),
        ("none", f"{UNBOUNDED}: the recovered fraction is unbounded", False),
    ],
)
def test_a_recovery_of_a_gap_that_is_not_there_is_doubted(
    confirmed: str, reason: str | None, doubted: bool
) -> None:
    entry = {"axes": "updates", "lever": "sam:0.1", "at": "matched", "confirmed": confirmed, "reason": reason}
    (row,) = searched.chosen(StudyRecord({"chosen": [entry]}))
    assert bool(row["doubt"]) == doubted


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ({"mean": 1.84, "low": 0.97, "high": 2.71, "n": 6}, "a gap is left"),
        ({"mean": 0.84, "low": 0.42, "high": 1.71, "n": 6}, "a gap may be left"),
        ({"mean": 1.84, "low": None, "high": None, "n": 1}, "a gap may be left"),
    ],
)
def test_a_gap_above_the_tolerance_is_left_for_sure(left: dict[str, Any], said: str) -> None:
    elsewhere = {"at": "matched", "verdict": "partial", "treated_gap": {**left, "low": 9.0, "high": 9.5}}
    control = {"lever": "lr:x2", "at": "planned_end", "verdict": "partial", "treated_gap": left}
    chosen = {"axes": "updates", "lever": "lr:x2", "at": "planned_end", "confirmed": "partial"}
    controls = [{**control, "other": elsewhere}]
    record = StudyRecord({"chosen": [chosen], "controls": controls, "tolerance": 0.43})
    assert searched.chosen(record)[0]["meaning"] == f"better than the variant, but {said}"
    assert control_cards(record)[0]["meaning"] == f"better than the variant, but {said}"


def test_a_lever_of_a_users_file_is_shown_by_its_class() -> None:
    own = "/home/me/halve.py:Bf16Grad:1"
    entry: dict[str, Any] = {"lever": f"lr:x2+{own}", "at": "matched"}
    tried = {**entry, "over_limit": [{"axes": "updates", "reason": "2"}]}
    result = {"change": [own], "base": [own], "chosen": [entry], "tried": [tried], "controls": [entry]}
    result["confirmation"] = [{"n": 4, "said": ["none"], "levers": [entry["lever"]]}]
    record = StudyRecord({**result, "tuned_baseline": own}, recipes={f"variant+lr:x2+{own}": "batch: 16"})
    assert words.change_text(record) == "Bf16Grad:1"
    assert words.arm_note(f"variant+lr:x2+{own}", record) == "the variant with lr:x2+Bf16Grad:1"
    (row,) = searched.chosen(record)
    assert (row["lever"], row["recipe"]) == ("lr:x2+Bf16Grad:1", "batch: 16")
    assert searched.tried(record)["rows"][0]["name"] == "lr:x2+Bf16Grad:1"
    assert searched.confirmation(record) == [{"n": "4", "said": "lr:x2+Bf16Grad:1 none"}]
    assert "/home" not in f"{searched.over_limits(record)}{control_cards(record)}"
    command = StudyRecord({"change": ["args: --file=/home/me/a.py:b"]})
    assert words.change_text(command) == "args: --file=/home/me/a.py:b", "the script's own option"


def test_what_undoes_the_change_is_said_beside_the_choice_and_in_the_table() -> None:
    undoes = "it undoes the change: the treated variant is the baseline"
    entry = {"axes": "updates", "lever": "lr:x2", "undoes": undoes, "confirmed": "recovered", "chosen": True}
    (row,) = searched.chosen(StudyRecord({"chosen": [entry]}))
    assert (row["undoes"], row["kind"]) == (undoes, "")
    (row,) = searched.tried(StudyRecord({"tried": [entry]}))["rows"]
    assert row["cells"][-1] == "chosen; it undoes the change"


def test_looks_of_one_lever_at_two_places_are_told_apart() -> None:
    entry: dict[str, Any] = {"n": 4, "said": ["recovered", "none"], "levers": ["sam:0.1"] * 2}
    entry["at"] = ["matched", "planned_end"]
    (row,) = searched.confirmation(StudyRecord({"confirmation": [entry], "controls": [{"lever": "sam:0.1"}]}))
    assert row == {"n": "4", "said": "sam:0.1 matched recovered, sam:0.1 planned end none"}


def test_the_distance_from_the_tuned_baseline_is_told_in_the_unit_of_the_metric() -> None:
    left = {"mean": 0.31, "low": -0.2, "high": 0.82, "n": 9, "at": "planned_end"}
    result = {"chosen": [{"lever": "sam:0.1", "tuned_gap": left}], "metric": "accuracy", "tolerance": 0.4}
    (row,) = searched.chosen(StudyRecord({**result, "tuned_baseline": "ema:0.99"}))
    assert row["tuned"].startswith("The tuned baseline (ema:0.99) minus this variant: +0.31")
    assert row["tuned"].endswith("points, at the planned end")
    (row,) = searched.chosen(StudyRecord(result))
    assert row["tuned"].startswith("The baseline, which no setting improved, minus this variant")
    (row,) = searched.chosen(StudyRecord({"chosen": [{"lever": "sam:0.1", "tuned_gap": None}]}))
    assert row["tuned"] == ""


def test_what_breaks_a_limit_is_told_with_its_figures() -> None:
    reason = "gradients 2.00 times the variant, more than 1.05"
    broken = [{"axes": "as audited", "reason": reason}]
    entries = [{"lever": "sam:0.1", "over_limit": broken}, {"lever": "lr:x2", "over_limit": []}]
    rows = searched.over_limits(StudyRecord({"tried": entries}))
    assert rows == [{"name": "sam:0.1", "limit": "as audited", "reason": reason}]
    (row,) = searched.chosen(StudyRecord({"chosen": [{"lever": "sam:0.1", "over_limit": reason}]}))
    assert row["over"] == f"on these seeds it costs {reason}"


def test_what_no_limit_allows_is_not_called_worse() -> None:
    broken = [{"axes": "as audited", "reason": "updates 4 times the variant"}]
    tried: list[dict[str, Any]] = [{"lever": name, "improvement": {"mean": 1.0, "n": 4}} for name in "abc"]
    tried[1]["over_limit"], tried[2]["over_limit"] = broken, broken * 2
    rows = searched.tried(StudyRecord({"tried": tried, "chosen": [{"axes": "x"}, {"axes": "y"}]}))["rows"]
    assert [row["cells"][-1] for row in rows] == [
        "not the best",
        "not the best, above a limit",
        "above every limit",
    ]


@pytest.mark.parametrize(
    ("earlier", "told"), [(0, ""), (1, "A control study of this"), (3, "3 control studies of this")]
)
def test_earlier_control_studies_are_told(earlier: int, told: str) -> None:
    said = searched.again(StudyRecord({"earlier_studies": earlier}))
    assert said.startswith(told)
    assert bool(said) == bool(earlier)


def test_the_arm_of_the_tuned_baseline_is_labelled() -> None:
    levers = [{"lever": "sam:0.1"}, {"lever": "ema:0.99"}]
    record = StudyRecord({"controls": levers, "tuned_baseline": "ema:0.99"})
    assert words.arm_note("baseline+ema:0.99", record) == "the baseline with ema:0.99: the tuned baseline"
    assert words.arm_note("variant+ema:0.99", record) == "the variant with ema:0.99"
    assert words.arm_note("baseline+sam:0.1", record) == "the baseline with sam:0.1"


def test_settings_that_the_picture_of_the_search_leaves_out_are_named() -> None:
    gains = {"recovered": {"mean": 1.0, "n": 4}}
    known = {"lever": "lr:x2", **gains, "cost_ratio": {"variant": {"gradients": 1.0}}}
    free = {"lever": "args: --epochs=32", **gains, "cost_ratio": {"variant": {"updates": 4.0}}}
    (entry,) = (
        one for one in figure_list(Points(StudyRecord({"tried": [known, free]}))) if one.key == "pareto"
    )
    assert entry.notes == ("Not drawn, since their gradients are not known: args: --epochs=32.",)
    (entry,) = (one for one in figure_list(Points(StudyRecord({"tried": [known]}))) if one.key == "pareto")
    assert entry.notes == ()
