"""Controls in the report: where each was chosen comes first, and what its coordinates did."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_studies import case
from rich.console import Console

from algobias.answer.control import ControlEntry
from algobias.answer.search import SAME_EXAMPLES
from algobias.console.terminal import verdict_panel
from algobias.reports import controls, figures, glance, html
from algobias.reports.figures import entries as figure_entries
from algobias.reports.figures.points import Points
from algobias.reports.record import StudyRecord


def test_a_control_is_shown_first_where_it_was_chosen() -> None:
    record = case("controlled")
    assert [one["at"] for one in record.result["controls"]] == ["matched", "matched"]
    first, second = controls.as_chosen(record)
    assert (first.at, first.verdict) == ("matched", "recovered")
    assert (second.at, second.verdict) == ("planned_end", "none")
    assert second.other is not None
    assert (second.other.at, second.other.verdict) == ("matched", "partial")
    assert second.other.other is None
    card = controls.control_cards(record)[1]
    assert (card["verdict"], card["at"]) == ("none", "at the planned end")
    same = dict(card["facts"])[
        "The same at the matched level (distance of the training metric from perfect 0.062)"
    ]
    assert same.startswith("partial: R 0.78")
    rows = figures.recovery(Points(record), 600)["datasets"]["recoveries"]
    assert [row["row"].partition("\n")[0] for row in rows] == [
        "R, control 1, matched",
        "R*, control 1, matched",
        "R, control 2, planned end",
        "R*, control 2, planned end",
    ]
    assert rows[2]["mean"] == 0.11


def test_without_a_choice_controls_stay_as_they_are() -> None:
    record = case("controls")
    assert controls.as_chosen(record) == list(record.answer.controls)
    assert "matched" not in figures.recovery(Points(record), 600)["datasets"]["recoveries"][0]["row"]


def test_the_sentence_counts_coordinates_and_leaves_out_twins() -> None:
    first, second = controls.as_chosen(case("controlled"))
    assert controls.coordinates_text(first) == (
        "of 2 that moved, at matched fit, 1 came back (margin input), 1 went beyond the baseline "
        "(top eigenvalue); generalisation came back at the matched level. Seen together, which is no "
        "proof of cause"
    )
    assert controls.coordinates_text(second) == "not compared: not every seed reaches the matched level"
    assert controls.coordinates_text(ControlEntry()) == ""


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("partial", "in part"), ("none", "not shown to come back"), ("harmful", "got worse still")],
)
def test_the_sentence_says_what_generalisation_did_at_matched_fit(verdict: str, said: str) -> None:
    entry = {"probe": "trace", "twin": False, "status": "stayed"}
    matched = {"at": "matched", "verdict": verdict, "coordinates": [entry] * 5}
    text = controls.coordinates_text(ControlEntry.from_json(matched))
    assert "5 stayed moved (trace, trace, trace, ...)" in text
    assert said in text
    elsewhere = {"at": "planned_end", "verdict": "recovered", "coordinates": [entry], "other": matched}
    assert said in controls.coordinates_text(ControlEntry.from_json(elsewhere))
    alone = {"at": "planned_end", "verdict": "recovered", "coordinates": [entry]}
    assert "generalisation" not in controls.coordinates_text(ControlEntry.from_json(alone))


def test_the_picture_has_the_variant_and_the_controls_that_were_read() -> None:
    points = Points(case("controlled"))
    rows = figures.returned_rows(points)
    assert {row["arm"] for row in rows} == {"variant", "variant + control 1"}
    assert [row["effect"] for row in rows] == [-9.7, 6.1, 5.2, -0.4, -2.0, 5.0]
    spec = figures.returned(points, 600)
    offsets = {
        layer["data"]["name"]: layer["mark"]["yOffset"]
        for layer in spec["layer"]
        if "yOffset" in layer["mark"]
    }
    assert len(set(offsets.values())) == len(offsets) == 2, "marks of two arms do not lie on each other"
    assert "margin input, variant + control 1 -0.4" in spec["description"]
    assert figures.svg(spec).startswith("<svg")
    assert "returned" in [entry.key for entry in figure_entries.figure_list(points)]
    assert figures.returned_rows(Points(case("moved"))) == [], "no control: nothing to compare with"


def test_the_page_and_the_terminal_tell_it() -> None:
    record = case("controlled")
    text = html.render(record)
    assert "The coordinates that moved, without and with control" in text
    assert "1 went beyond the baseline (top eigenvalue)" in text
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(verdict_panel(record))
    said = " ".join(console.export_text().replace("\N{BOX DRAWINGS LIGHT VERTICAL}", " ").split())
    assert "none: no effect could be shown; compared at the planned end" in said


def test_examples_are_called_fresh_only_where_no_choice_has_seen_them() -> None:
    chosen = [{"axes": "updates", "lever": "lr:x2", "confirmed": "none", "at": "matched"}]
    for warnings, seen in (([], False), ([SAME_EXAMPLES], True)):
        made = case("controlled")
        more = {"chosen": chosen, "tried": [{"lever": "lr:x2"}], "warnings": warnings}
        text = html.render(replace(made, result={**made.result, **more}))
        assert ("On fresh seeds, compared at matched fit" in text) is seen
        assert ("examples no choice has seen" in text) is not seen


def test_the_look_of_a_control_study_is_told() -> None:
    def look(**result) -> str:
        bare = StudyRecord(
            {"gap": {"mean": 1.0, "low": 0.5, "high": 1.5, "n": 9}, "looks": [4, 6, 9], **result}
        )
        return next(tile["value"] for tile in glance.tiles(bare) if tile["label"] == "Look")

    assert look() == "3 of 3"
    assert look(confirmation=[{"n": 4}, {"n": 6}]) == "2 of 3"
    assert look(looks=[4, 6]) == "none"


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        ([7, None], "coordinates of controls is '7'"),
        ([{"probe": None, "status": 3, "effect": "x"}], "probe of coordinates is 'None'"),
        ("x", "coordinates of controls is 'x'"),
    ],
)
def test_odd_entries_are_refused_by_their_name(odd: object, says: str) -> None:
    record = case("controlled")
    broken = [{**one, "coordinates": odd} for one in record.result["controls"]]
    with pytest.raises(ValueError, match=says):
        replace(record, result={**record.result, "controls": broken})
