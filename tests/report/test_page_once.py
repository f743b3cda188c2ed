"""What stands on the page: reasons once, legends of what is drawn, no layer without rows."""

from __future__ import annotations

import re
from dataclasses import replace

from made_studies import case

from algobias.reports import numerals, tables, words
from algobias.reports.html import arms_in, render, with_rows

REASON = "replay differs: the same training does not give the stored loss"


def test_a_reason_stands_once_below_the_table_and_has_no_advice_for_code() -> None:
    made = case("moved")
    moved = [{**item, "status": "not_comparable", "reason": REASON} for item in made.result["moved"]]
    moved[0]["reason"] = "it needs class labels; pass labels= where they are elsewhere"
    shown = replace(made, result={**made.result, "moved": moved})
    assert tables.moved_reasons(shown) == ["it needs class labels", REASON]
    assert [row["mark"] for row in tables.moved_table(shown)] == ["1", *["2"] * (len(moved) - 1)]
    page = render(shown)
    assert page.count("does not give the stored loss") == 1
    assert "pass labels=" not in page
    assert words.without_code("nothing of the kind") == "nothing of the kind"


def test_layers_without_rows_are_left_out_and_legends_name_what_is_drawn() -> None:
    layers = [{"data": {"name": name}} for name in ("full", "empty", "other")]
    spec = {"layer": layers, "datasets": {"full": [{"arm": "variant"}], "empty": [], "other": [{"at": 1}]}}
    assert with_rows(spec)["layer"] == [layers[0], layers[2]]
    assert arms_in(spec) == {"variant"}


def test_every_statistic_of_the_page_is_explained() -> None:
    page = render(case("bias")).partition('<dl class="glossary">')[2]
    named = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    wanted = ("twin", "population interval", "correlation of the arms", "exact sign-flip test")
    assert set(wanted) <= set(named)
    assert "one-sided error of each decision" in named
    assert "In a paper quote" in named["95 % interval"]


def test_a_zero_has_no_sign() -> None:
    assert [numerals.fixed(value, 2) for value in (-0.0, -0.001)] == ["0.00", "0.00"]
