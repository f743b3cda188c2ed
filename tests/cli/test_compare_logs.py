"""``algobias compare`` on logs of other trainers, as a command: what it reads, says, and shows."""

from __future__ import annotations

from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[1] / "logs" / "fixtures"
KERAS = FIXTURES / "keras"
ACCURACY = ("--columns", "test_metric=val_accuracy")


def test_folders_of_logs_are_judged_and_what_was_read_is_said(run):
    found = run("compare", KERAS / "base", KERAS / "variant", *ACCURACY, "--tolerance", "0.003")
    assert found.code == 0
    text = " ".join(found.err.replace("│", " ").split())
    assert "Verdict: bias" in text
    assert "Baseline read as Keras CSVLogger, 4 files" in text
    assert "test_metric = val_accuracy" in text
    (report,) = Path(".algobias/reports").glob("compare-*.html")
    assert "Baseline read as Keras CSVLogger, 4 files" in report.read_text()


def test_the_answer_as_json_says_how_logs_were_read(run):
    words = ("compare", KERAS / "base", f"{KERAS}/variant/*/history.csv", *ACCURACY, "--tolerance", "0.003")
    found = run(*words, "--json", "--quiet").json
    assert found["verdict"] == "bias"
    assert [entry["form"] for entry in found["logs"]] == ["Keras CSVLogger"] * 2
    assert found["logs"][0]["columns"]["train_loss"] == "loss"


def test_one_run_of_each_has_no_verdict_and_a_plan(run):
    one, other = (KERAS / arm / "seed=0" / "history.csv" for arm in ("base", "variant"))
    found = run("compare", one, other, *ACCURACY, "--tolerance", "0.003")
    assert found.code == 0
    text = " ".join(found.err.replace("│", " ").split())
    assert "Verdict: undecided" in text
    assert "one run of each arm cannot tell a change from a seed" in text.lower()
    assert "seeds of each arm at 0.125 times the length" in text
    assert run("compare", one, other, *ACCURACY, "--fail-on", "bias").code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((KERAS / "base", KERAS / "variant"), "val_accuracy (higher is better), val_loss (lower is better)"),
        ((KERAS / "base", KERAS / "variant", KERAS, KERAS), "two: put each pattern in quotes"),
        ((KERAS / "base", KERAS / "variant", "--columns", "x"), "role=column"),
        ((KERAS / "base", KERAS / "variant", "--format", "kerass"), "did you mean 'keras'"),
        ((KERAS / "base", KERAS / "variant", *ACCURACY, "--seeds", "0,1"), "runs, 4"),
        ((KERAS / "base", KERAS / "variant", *ACCURACY, "--seeds", "a"), "whole numbers"),
        ((KERAS / "base", KERAS / "nothing*", *ACCURACY), "fits none"),
        ((KERAS / "base", KERAS / "variant", *ACCURACY, "--one-run"), "4 in base and 4 in variant"),
    ],
)
def test_questions_and_mistakes_are_one_message(refused, words, says):
    refused("compare", *words, says=says)
