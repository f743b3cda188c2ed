"""States, doubts and headlines say what the numbers beside them say."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from synthetic import record

from algobias.answer.gap import Gap
from algobias.answer.interval import Interval
from algobias.answer.measured.readings import NO_CAUSE
from algobias.answer.next.step import next_text
from algobias.console.live import LiveView
from algobias.console.terminal import plan_panel, verdict_panel
from algobias.reports.glance import tiles
from algobias.reports.html import render
from algobias.reports.numerals import sentence
from algobias.reports.record import StudyRecord
from algobias.reports.verdicts import state_text, verdict_words
from algobias.reports.words import control_meaning

DOUBT = "in 12 of 12 runs metric falls while the training loss falls: ask again with --lower-is-better"


def changed(verdict: str, **more: Any) -> StudyRecord:
    made = record(verdict, 6)
    return replace(made, result={**made.result, **more})


def printed(made: StudyRecord) -> str:
    console = Console(file=io.StringIO(), width=400, force_terminal=False, color_system=None)
    console.print(verdict_panel(made))
    return console.file.getvalue()  # type: ignore[attr-defined]


def flat(made: StudyRecord) -> str:
    """What is printed, without the lines and breaks of the frame."""
    return " ".join(printed(made).replace("│", " ").split())


def share(state: str, low: float, high: float) -> dict[str, Any]:
    return {"mean": (low + high) / 2, "low": low, "high": high, "n": 6, "state": state}


@pytest.mark.parametrize(
    ("name", "state", "high", "wanted"),
    [
        ("gap", "absent", -0.1, "absent: the variant is better"),
        ("bias_share", "absent", -0.1, "absent: the variant is better"),
        ("fit_share", "absent", -0.1, "absent: the variant fits better"),
        ("gap", "absent", 0.2, "absent"),
        ("gap", "present", 0.2, "present"),
        ("gap", "unknown", -0.1, "unknown"),
        ("gap", "of another version", 0.2, ""),
    ],
)
def test_what_is_absent_on_the_variants_side_is_said_to_be(
    name: str, state: str, high: float, wanted: str
) -> None:
    assert state_text(name, Gap.from_json(share(state, high - 0.1, high))) == wanted


def test_the_bound_that_decides_goes_before_the_printed_interval() -> None:
    decided = Gap.from_json({**share("absent", -0.2, -0.1), "bounds": [-0.2, 0.02]})
    assert state_text("gap", decided) == "absent"
    assert (
        verdict_words(changed("no_gap", gap={**share("absent", -0.2, -0.1), "bounds": [-0.2, 0.02]})).mark
        == "="
    )
    assert (
        verdict_words(changed("no_gap", gap={**share("absent", -0.2, -0.1), "bounds": [-0.2, -0.1]})).mark
        == "+"
    )


@pytest.mark.parametrize("bounds", [[-0.2, -0.1], [-0.2, 0.02]])
@pytest.mark.parametrize("high", [-0.1, 0.1])
def test_better_is_said_only_where_both_the_bound_and_the_printed_interval_are_below_0(
    high: float, bounds: list[float]
) -> None:
    made = changed("no_gap", gap={**share("absent", -0.3, high), "bounds": bounds})
    better = high < 0 and bounds[1] < 0
    assert (verdict_words(made).mark == "+") is better
    assert ("generalises better" in verdict_words(made).title) is better
    assert ("the variant is better" in next_text(made)) is better
    assert ("absent: the variant is better" in printed(made)) is better


@pytest.mark.parametrize(
    ("state", "ends", "bounds", "wanted"),
    [
        ("present", (-0.1, 0.6), [0.04, 0.5], "present: above 0.04, one-sided"),
        ("present", (-0.1, 0.6), [0.004, 0.5], "present: above 0.004, one-sided"),
        ("present", (0.1, 0.6), [0.14, 0.5], "present"),
        ("absent", (-0.1, 0.6), [-0.1, 0.38], "absent: below 0.38, one-sided"),
        ("absent", (-0.1, 0.4), [-0.1, 0.398], "absent: below 0.398, one-sided"),
        ("absent", (-0.1, 0.3), [-0.1, 0.2], "absent"),
        ("unknown", (-0.1, 0.6), [-0.1, 0.5], "unknown"),
        ("present", (-0.1, 0.6), [], "present"),
    ],
)
@pytest.mark.parametrize("name", ["gap", "bias_share", "fit_share"])
def test_a_state_that_the_printed_interval_denies_stands_with_the_bound_that_decided(
    name: str, state: str, ends: tuple[float, float], bounds: list[float], wanted: str
) -> None:
    entry = {**share(state, *ends), "bounds": bounds}
    assert state_text(name, Gap.from_json(entry), 0.4, 2) == wanted
    fit = {**record("mixed", 6).result["fit"], **({} if name == "gap" else {name: entry})}
    made = changed("mixed", fit=fit, **({"gap": entry} if name == "gap" else {}))
    assert f"{wanted}, " in printed(made).replace(")", ", ")
    assert f">{wanted}</span>" in render(made)


@pytest.mark.parametrize(("looks", "shared"), [([6], False), ([4, 6, 9], True)])
def test_the_footnotes_speak_of_looks_only_where_there_are_several(looks: list[int], shared: bool) -> None:
    made = changed("no_gap", gap=share("absent", -0.3, -0.1), looks=looks)
    text = " ".join(printed(made).split())
    assert "Decided one-sided" in text
    assert ("shared over the looks" in text) is shared
    page = render(made)
    assert ("shared out over the looks" in page) is shared
    assert ("pay for looking several times" in page) is shared
    assert ("all looks together" in page) is shared


def test_states_are_explained_where_they_are_printed() -> None:
    made = changed("no_gap", gap=share("absent", -0.3, -0.1))
    assert "absent: the variant is better" in printed(made)
    assert "present: clear of 0; absent: below the tolerance" in printed(made)
    assert "<dt>present, absent, unknown</dt>" in render(made)
    assert "absent: the variant is better</span>" in render(made)
    assert next(tile["state"] for tile in tiles(made)) == "absent", "it picks a colour"


def test_states_are_not_explained_where_there_are_none() -> None:
    assert "clear of 0" not in printed(record("not_applied", 6))


@pytest.mark.parametrize("high", [-0.1, 0.2])
def test_a_headline_does_not_deny_the_loss_that_a_better_fit_hides(high: float) -> None:
    fit = {**record("no_gap", 6).result["fit"], "bias_share": share("present", 0.1, 0.3)}
    hidden = verdict_words(changed("no_gap", gap=share("absent", high - 0.1, high), fit=fit))
    assert "because it fits the training data better" in hidden.title
    assert "no loss to explain" not in hidden.meaning.lower()


def test_what_doubts_the_question_stands_above_the_verdict() -> None:
    made = changed("bias", doubts=[DOUBT], warnings=[DOUBT, "no tolerance was given"])
    text = printed(made)
    assert text.index("falls while the training loss falls") < text.index("Verdict: bias")
    assert text.count("falls while the training loss falls") == 1
    assert text.index("No tolerance was given") > text.index("Verdict: bias")
    page = render(made)
    assert page.index("falls while the training loss falls") < page.index("Verdict: <strong>bias")


def test_a_note_on_the_shares_is_told_in_the_terminal_and_in_the_report() -> None:
    fit = {**record("optimization", 6).result["fit"], "notes": ["zero by construction"]}
    made = changed("optimization", fit=fit)
    assert "Zero by construction." in printed(made)
    assert "Zero by construction." in render(made)


def test_words_of_the_terminal_are_explained_where_they_are_met() -> None:
    made = changed("no_gap", looks=[4, 6, 9], tolerance_reason="1.25 times the seed sd 0.3 of 6 baselines")
    text = flat(made)
    assert "the study may stop at 4, 6 or 9 seeds" in text
    assert "seed sd: the spread between seeds" in text
    assert "seed sd" not in printed(changed("no_gap", looks=[6], tolerance_reason="as given"))
    plan = {"task": "t", "arms": [{"name": "noise"}, {"name": "baseline"}]}
    console = Console(file=io.StringIO(), width=120)
    console.print(plan_panel(plan))
    assert "seed spread" in console.file.getvalue()  # type: ignore[attr-defined]
    view = LiveView(Console(file=io.StringIO(), width=120))
    view.update("noise", 0, 1, 10, None, None)
    assert "seed spread 0/1" in view._done()


def test_what_moved_speaks_of_no_gap_where_there_is_none() -> None:
    readings = {"probes": ["trace"], "summary": f"At matched fit, what moved most: trace. {NO_CAUSE}"}
    for verdict, gap in (("bias", True), ("no_gap", False)):
        text = flat(changed(verdict, readings=readings))
        assert ("what caused the gap" in text) is gap
        assert ("no loss as large as the tolerance goes with it" in text) is not gap


@pytest.mark.parametrize(
    ("mean", "low", "diverged", "breaks"),
    [(70.0, 60.0, 0, True), (0.1, -0.5, 0, False), (70.0, -3.0, 0, False), (0.1, -0.5, 2, True)],
)
def test_a_rate_that_breaks_training_by_itself_is_said_to(
    mean: float, low: float, diverged: int, breaks: bool
) -> None:
    arms = [*record("bias", 6).result["arms"], {"name": "rate_only", "seeds": [0, 1], "diverged": diverged}]
    gap = {"mean": mean, "low": low, "high": mean + 9, "n": 6}
    page = render(changed("bias", rate_only={"gap": gap}, arms=arms))
    assert ("raining breaks down at that rate" in page) is breaks
    assert ("(2 of 2 runs diverged)" in page) is bool(diverged)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("base.csv is read as a table", "base.csv is read as a table."),
        ("train_loss of it is nan", "train_loss of it is nan."),
        ("--scale names it", "--scale names it."),
        ("seed3: it failed", "seed3: it failed."),
        ("baseline's runs end early", "Baseline's runs end early."),
        ("variant, seed 3: it failed", "Variant, seed 3: it failed."),
    ],
)
def test_a_sentence_begins_with_a_capital_but_for_a_name(text: str, wanted: str) -> None:
    assert sentence(text) == wanted


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (Interval(mean=0.1, low=-0.2, high=0.45, n=6), True),
        (Interval(mean=0.1, low=-0.2, high=0.3, n=6), False),
        (Interval(), False),
    ],
)
def test_a_gap_that_is_recovered_beside_an_interval_that_reaches_the_tolerance(
    left: Interval, told: bool
) -> None:
    assert ("as decided one-sided" in control_meaning("recovered", left, record("bias", 6))) is told
