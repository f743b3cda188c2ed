"""The report as a document: complete, safe, self-contained, small."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_studies import case
from synthetic import HOSTILE, VERDICTS, hostile, record

from algobias.answer.answer import Answer
from algobias.answer.result import arm_summary, outcomes_of, verdict_result
from algobias.json_values import clean
from algobias.judge.design import Design
from algobias.judge.plan import plan
from algobias.reports import html
from algobias.reports.numerals import amount, duration, fixed, loss
from algobias.reports.record import StudyRecord
from algobias.reports.tables import cost_table
from algobias.reports.verdicts import VERDICTS as WORDS
from algobias.reports.verdicts import verdict_words
from algobias.studies.reports import write

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Text, links and headings of a page; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.links: list[str] = []
        self.headings: list[int] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.stack.append(tag)
        self.attributes += attrs
        for name, value in attrs:
            if name in ("src", "href", "data", "action", "srcset", "poster"):
                self.links.append(value or "")
            if name == "id" and value:
                self.ids.append(value)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.stack.pop()

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "script":
            self.scripts.append(data)
        elif not self.stack or self.stack[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_every_study_gives_a_whole_page_without_links_outside(study: StudyRecord) -> None:
    text = html.render(study)
    page = Page(text)
    assert len(text.encode()) < 2_000_000
    for link in page.links:
        assert link.startswith(("#", "data:image/svg+xml;base64,")), link[:80]
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))


def test_many_seeds_from_a_table_stay_below_two_megabytes() -> None:
    text = html.render(record("bias", 300))
    assert len(text.encode()) < 2_000_000
    assert "for the first 90 of each arm" in text


@pytest.mark.parametrize("verdict", VERDICTS)
def test_verdict_in_words_with_reason_and_claim(verdict: str) -> None:
    shown = case(verdict)
    text = Page(html.render(shown)).text
    assert WORDS[verdict].title in text
    assert WORDS[verdict].meaning in text
    assert " ".join(str(shown.result["reason"]).split()) in text
    assert f"Verdict: {verdict.replace('_', ' ')}" in text
    assert "About this test set" in text
    assert ("What would decide" in text) == (verdict == "undecided")


def test_no_gap_has_three_faces() -> None:
    same = case("no_gap")
    real = StudyRecord({**same.result, "tolerable": True})
    better = StudyRecord({**same.result, "gap": {"mean": -1.0, "low": -1.4, "high": -0.6, "n": 4}})
    titles = {verdict_words(one).title for one in (same, real, better)}
    assert len(titles) == 3


def test_undecided_says_whether_the_gap_itself_is_known() -> None:
    result = case("undecided").result
    known = StudyRecord({**result, "gap": {**result["gap"], "state": "present"}})
    assert verdict_words(known).title != verdict_words(StudyRecord(result)).title


def test_page_holds_every_arm_and_seed() -> None:
    text = html.render(case("controls"))
    page = Page(text)
    for label in ("baseline", "variant", "rate only", "variant + control 1", "baseline + control 2"):
        assert label in page.text
    rows = re.findall(r'<th scope="row">(\d+)</th>((?:<td>[^<]*</td>)+)', text)
    table = {seed: re.findall(r"<td>([^<]*)</td>", cells) for seed, cells in rows if cells.count("<td>") == 7}
    assert sorted(table) == [str(seed) for seed in range(9)]
    assert all(all(cells) for cells in table.values())


def test_page_holds_every_section_that_has_data() -> None:
    text = Page(html.render(case("controls"))).text
    order = [
        "Numbers at a glance",
        "Every seed",
        "Learning curves",
        "At equal training fit",
        "Where the gap comes from",
        "Costs side by side",
        "Controls",
        "The gap at further levels",
        "What was changed",
        "Decision log",
        "How to reproduce",
        "Words",
    ]
    contents = text.index("How to reproduce Words") + 20
    places = [text.index("Numbers at a glance")] + [text.index(title, contents) for title in order[1:]]
    assert places == sorted(places)
    for wanted in ("[unbounded]", "batch: 16 -> 256", "5.12 GFLOP", "a general improvement", "0 to 8"):
        assert wanted in text
    assert "No coordinates of the bias were read" in text
    moved = {
        **case("bias").result,
        "moved": [{"probe": "top_eigenvalue", "effect": 4.1, "low": 3, "high": 5}],
    }
    assert "top eigenvalue" in Page(html.render(StudyRecord(moved, case("bias").runs))).text


def test_text_of_a_study_cannot_become_code() -> None:
    text = html.render(hostile())
    page = Page(text)
    assert len(page.scripts) == 3, "data, library, drawing: no script of the study's own"
    for evil in ("<script>alert(1)", "<img src=x", "{{7*7}}</title>", "\u202e", "\x1b"):
        assert evil not in text.replace(page.scripts[1], "")
    assert "49" not in Page(html.render(hostile())).text.split("</title>")[0][:200]
    assert HOSTILE.replace("\u202e", "\ufffd").replace("\x1b", "\ufffd") in page.text
    data = next(script for script in page.scripts if script.lstrip().startswith("{"))
    assert not set("<>&") & set(data)
    json.loads(data)


def test_data_inside_the_page_have_no_nan_and_unpack_to_the_spec() -> None:
    page = Page(html.render(case("diverged")))
    data = json.loads(
        next(script for script in page.scripts if script.lstrip().startswith("{")),
        parse_constant=lambda name: pytest.fail(name),
    )
    assert set(data["specs"]) == {"seeds", "loss", "metric", "fit", "split", "looks"}
    for spec in data["specs"].values():
        for name in spec["datasets"].values():
            assert name in data["tables"]


def test_pack_keeps_every_value_and_each_table_once() -> None:
    rows = [{"arm": "a", "x": 1.5}, {"arm": "b", "x": None}, {"arm": "a", "x": 2.0}]
    tables: dict[str, dict[str, list[object]]] = {}
    packed = html.pack({"datasets": {"one": rows, "two": list(rows), "empty": []}}, tables)
    assert packed["datasets"]["one"] == packed["datasets"]["two"]
    assert len(tables) == 2
    table = tables[packed["datasets"]["one"]]
    words = table["words"]
    assert isinstance(words, dict)
    back = [
        {
            key: words[key][value] if key in words else value
            for key, value in zip(table["columns"], row, strict=True)  # type: ignore[call-overload]
        }
        for row in table["rows"]
    ]
    assert back == rows


def test_report_without_runs_or_costs_still_renders() -> None:
    page = Page(html.render(StudyRecord({"verdict": "not_applied", "reason": "the same recipe"})))
    assert WORDS["not_applied"].title in page.text
    assert "Learning curves" not in page.text


def test_costs_that_nobody_knows_have_no_row() -> None:
    study = record("bias", 4)
    unknown = [(arm, dict.fromkeys(arm["cost"], None)) for arm in study.result["arms"]]
    arms = [{**arm, "cost": {**costs, "seconds": 2.0}} for arm, costs in unknown]
    table = cost_table(StudyRecord({**study.result, "arms": arms}))
    assert [row["name"] for row in table["rows"]] == ["Wall time"]


def test_verdict_of_a_later_version_is_shown_as_it_is() -> None:
    assert "Verdict: brand new" in Page(html.render(StudyRecord({"verdict": "brand_new"}))).text


def test_real_results_of_the_planner_render() -> None:
    runs = list(record("bias", 6, controls=1).runs)
    design = Design(tolerance=0.4, looks=(6,), controls=1, can_extend=False)
    verdict = plan(design, runs)
    assert not isinstance(verdict, list)
    arms = [arm_summary(arm, outcomes_of(runs, arm, 6), None, None) for arm in ("baseline", "variant")]
    found = verdict_result(design, verdict, ("lr:0.4+clip:1",))
    asked = Answer(task="digits", change=("batch:x16",), metric="accuracy")
    answer = asked.merged(found).changed(arms=tuple(arms))
    text = Page(html.render(StudyRecord(answer.to_json(), runs))).text
    assert verdict.reason in text
    assert "Gap without pairing (Welch)" in text
    assert "lr:0.4+clip:1" in text
    assert f"{verdict.split.gap.mean:.2f} points" in text.replace("\xa0", " ")


def test_write_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "one.html"
    assert write(case("no_gap"), path) == path
    write(case("bias"), path)
    assert WORDS["bias"].title in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["one.html"]


def test_records_are_cleaned_on_the_way_in() -> None:
    dirty = {"a": math.nan, "b": [np.float64(1.5), -math.inf], "c": "x\x1b[0m\u202ey\nz", 3: np.arange(2)}
    assert clean(dirty) == {"a": None, "b": [1.5, None], "c": "x\ufffd[0m\ufffdy\nz", "3": [0, 1]}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (fixed(-1.234, 2), "\u22121.23"),
        (fixed(0.0001, 2), "0.00"),
        (fixed(-0.0001, 2), "0.00"),
        (fixed(1.2, 2, signed=True), "+1.20"),
        (fixed(2.5e9, 2), "2.5e+09"),
        (fixed(None, 2), "not available"),
        (loss(2.3e-4), "2.3e-4"),
        (loss(0.31), "0.31"),
        (loss(None), "not finite"),
        (amount("updates", 2000.0), "2,000"),
        (amount("gradients", 3.2e7), "32 M"),
        (amount("flops", 5.12e9), "5.12 GFLOP"),
        (amount("bytes_sent", 0.0), "none"),
        (amount("peak_memory", 412e3), "412 kB"),
        (amount("bits", 32.0), "32 bit"),
        (amount("seconds", 80.0), "1 min 20 s"),
        (duration(0.42), "0.42 s"),
        (duration(7500), "2 h 5 min"),
        (duration(59.7), "1 min"),
    ],
)
def test_numbers_in_human_units(text: str, wanted: str) -> None:
    assert text == wanted
