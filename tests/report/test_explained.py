"""What interventions showed, as rows of the report."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from made_studies import case
from rich.console import Console

from algobias.answer.answer import Answer
from algobias.answer.causes import PieceEntry
from algobias.answer.interval import Interval
from algobias.reports import explained, page
from algobias.reports.figures import piece_rows
from algobias.reports.html import render
from algobias.reports.record import StudyRecord


def record(*places: str) -> StudyRecord:
    part = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 4}
    entries = [
        {"kind": "dose", "text": f"lr:x{n}", "place": place, "gap": part, "recovered": part}
        for n, place in enumerate(places)
    ]
    made = case("bias")
    return replace(made, result={**made.result, "interventions": entries})


@pytest.mark.parametrize(
    ("places", "names"),
    [
        (("matched", "planned_end"), ["lr:x0", "lr:x1, at the planned end"]),
        (("planned_end", "planned_end"), ["lr:x0", "lr:x1"]),
        (("matched", "matched"), ["lr:x0", "lr:x1"]),
    ],
)
def test_what_is_compared_elsewhere_than_the_rest_says_so(places: tuple[str, ...], names: list[str]) -> None:
    assert [row["name"] for row in explained.table(record(*places))["rows"]] == names


@pytest.mark.parametrize(
    ("places", "where"),
    [
        (("matched", "planned_end"), "at equal training loss"),
        (("planned_end", "planned_end"), "at the planned end"),
    ],
)
def test_which_gap_is_meant_is_said(places: tuple[str, ...], where: str) -> None:
    made = record(*places)
    response = {"place": places[0], "gap_slope": {"mean": 1.0, "low": 0.5, "high": 1.5, "n": 4}}
    made = replace(made, result={**made.result, "dose_response": response})
    assert explained.table(made)["labels"][1] == f"Gap that is left {where}"
    assert any(f"the gap {where} grows" in line for line in explained.about_change(made))
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(explained.panel(made))
    assert f"Part of the gap {where} that is gone" in console.export_text()


def test_a_cause_and_sizes_that_are_not_told_apart_are_one_statement() -> None:
    """The first said that the change causes the gap, another that the gap does not change with it."""
    made = record("matched", "matched")
    for low, open_ in ((-0.22, True), (0.22, False)):
        slope = {"mean": 0.95, "low": low, "high": 2.13, "n": 4}
        response = {"place": "matched", "gap_slope": slope}
        lines = explained.about_change(replace(made, result={**made.result, "dose_response": response}))
        assert "caused by the change." in lines[0]
        assert ("which these seeds leave open" in lines[0]) is open_
        assert ("that interval includes 0" in lines[0]) is open_
        assert any("grows with the size of the change: +0.95" in line for line in lines) is not open_
        assert not any("not shown to change" in line for line in lines)


def test_unbounded_is_explained_where_it_is_met() -> None:
    made = record("matched")
    part = {"mean": 0.5, "low": None, "high": None, "n": 4}
    entries = [{**made.result["interventions"][0], "recovered": part}]
    for shown, told in (
        (made, False),
        (replace(made, result={**made.result, "interventions": entries}), True),
    ):
        console = Console(width=160, record=True, file=io.StringIO())
        console.print(explained.panel(shown))
        assert ("unbounded: the gap itself" in console.export_text()) is told
    page = render(made)
    for word in ("unbounded", "R*", "R, part that is gone", "seed sd"):
        assert f"<dt>{word}</dt>" in page
    assert "<code>algobias probes NAME</code>" in page


def test_a_baseline_that_an_intervention_leaves_as_it_was_has_no_recipe_of_its_own() -> None:
    """``baseline + args: --batch-size=45`` stood above the command with the batch of 32."""
    plain, own = "python train.py --batch-size=32\n", "python train.py --batch-size=45\n"
    text = "args: --batch-size=45"
    recipes = {"baseline": plain, f"variant+{text}": own, f"baseline+{text}": plain, "baseline+clip:1": own}
    made = replace(record("matched"), recipes=recipes)
    explain = replace(made, result={**made.result, "explain_of": "0f0f"})
    names = [label for label, _ in page.recipes(explain)]
    assert names == ["baseline", f"variant + {text}", "baseline + clip:1"]
    assert len(page.recipes(made)) == 4, "of a control study both were trained"


def test_coordinates_of_which_the_same_is_said_share_a_line() -> None:
    alone, both = "only sam brought it back", "it stayed moved"
    entries = [
        {"coordinate": "top_eigenvalue", "word": "undecided", "because": alone},
        {"coordinate": "weight_norm", "word": "accompanied by", "because": both},
        {"coordinate": "trace", "word": "undecided", "because": alone},
        {"coordinate": "margin_raw", "word": "not related", "because": "it moved by less than 1 seed sd"},
    ]
    made = record("matched")
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(explained.panel(replace(made, result={**made.result, "statements": entries})))
    said = console.export_text()
    assert f"top eigenvalue, trace: undecided; {alone}." in said
    assert f"weight norm: accompanied by; {both}." in said
    assert said.count(alone) == 1
    assert "not related (moved by less than one seed sd): margin raw" in said


def with_pieces(*guilty: bool | None) -> Any:
    entries = tuple(
        PieceEntry(
            piece=f"layer {number}",
            alone=Interval(mean=0.8, low=0.5, high=1.1, n=6) if word is not None else Interval(),
            repaired=Interval(mean=0.9, low=0.6, high=1.2, n=6),
            guilty=word,
        )
        for number, word in enumerate(guilty)
    )
    return SimpleNamespace(answer=Answer(pieces=entries))


def test_pieces_are_a_table_a_sentence_and_a_picture() -> None:
    record = with_pieces(True, False, None)
    shown = explained.pieces(record)
    assert len(shown["labels"]) == 3
    assert [(row["name"], row["cells"][-1]) for row in shown["rows"]] == [
        ("layer 0", "yes"), ("layer 1", "no"), ("layer 2", "unknown")
    ]  # fmt: skip
    cells = [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in shown["rows"][0]["cells"]]
    assert cells[:2] == ["0.80 [0.50, 1.10]", "0.90 [0.60, 1.20]"]
    assert explained.about_pieces(record).startswith("Guilty: layer 0 (it makes at least 0.7")
    assert "each makes" in explained.about_pieces(with_pieces(True, True))
    assert "No single piece" in explained.about_pieces(with_pieces(False))
    assert explained.about_pieces(with_pieces()) == ""
    rows = piece_rows(record)
    assert [row["row"] for row in rows] == ["layer 0\nguilty"] * 2 + ["layer 1"] * 2 + ["layer 2"]
    assert {row["kind"] for row in rows} == {"made by it alone", "gone without it"}
