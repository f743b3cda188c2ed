"""``algobias compare`` on logs of other trainers, as a command: what it reads, says, and shows."""

from __future__ import annotations

import json
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


STEPS = ("--columns", "update=step,train_loss=loss,test_metric=accuracy")
HISTORY = ("--columns", "update=step,update=_step,train_loss=loss,test_metric=accuracy")


def curve(seed: int, worse: float = 0.0) -> list[tuple[int, float, float]]:
    """Checks of a run: update, loss, accuracy."""
    return [
        (step, 2 / (1 + step / 50) + seed / 1000, 90 - 40 / (1 + step / 50) - worse + seed % 3 / 10)
        for step in range(0, 500, 50)
    ]


@pytest.fixture
def plain_tables() -> tuple[Path, Path]:
    """Two folders of tables whose columns are no format's, one with other files beside them."""
    for arm, worse in (("base", 0.0), ("var", 1.0)):
        Path(arm).mkdir()
        for seed in range(4):
            rows = "".join(f"{step},{loss:.4f},{metric:.3f}\n" for step, loss, metric in curve(seed, worse))
            Path(arm, f"run_s{seed}.csv").write_text(f"step,loss,accuracy\n{rows}")
    Path("base", "config.json").write_text('{"step": 1, "loss": 2, "accuracy": 3}')
    Path("base", "notes.txt").write_text("step, and loss: what was tried\n")
    return Path("base"), Path("var")


@pytest.fixture
def histories() -> Path:
    """A folder of histories of W&B: the variant of the tables."""
    for seed in range(4):
        rows = [{"_step": step, "loss": loss, "accuracy": metric} for step, loss, metric in curve(seed, 1.0)]
        place = Path("history", f"seed={seed}", "wandb-history.jsonl")
        place.parent.mkdir(parents=True)
        place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Path("history")


@pytest.mark.parametrize("said", [(), ("--format", "csv")])
def test_named_columns_make_a_table_of_those_files_that_have_them(run, plain_tables, said):
    found = run("compare", *plain_tables, *STEPS, *said, "--tolerance", "0.5", "--json", "--quiet").json
    assert found["verdict"] == "bias"
    assert [(entry["form"], entry["files"]) for entry in found["logs"]] == [("a table", 4)] * 2


@pytest.mark.parametrize("said", [(), ("--format", "csv", "--format", "wandb-history")])
def test_each_arm_is_read_in_its_own_format(run, plain_tables, histories, said):
    words = ("compare", plain_tables[0], histories, *HISTORY, *said)
    found = run(*words, "--tolerance", "0.5", "--json", "--quiet").json
    assert [entry["form"] for entry in found["logs"]] == ["a table", "W&B history"]
    assert found["gap"]["mean"] == pytest.approx(1.0, abs=0.01)


def test_what_is_no_table_of_named_columns_is_asked_about(refused, plain_tables, histories):
    tables = ("compare", *plain_tables)
    refused(*tables, says="any other table: --columns update=...,train_loss=...,test_metric=...")
    refused(*tables, "--columns", "update=stepp,train_loss=loss", says="named, update=stepp,train_loss=loss")
    three = ("--format", "csv") * 3
    refused(*tables, *STEPS, *three, says="one for both arms, or one for each of them")
    mixed = ("compare", plain_tables[0], histories, *STEPS, "--format", "csv")
    refused(*mixed, says="which looks like W&B history: --format wandb-history (twice where the arms differ")
    Path("base", "nanogpt.log").write_text(
        "step 0: train loss 2.0, val loss 2.1\niter 0: loss 2.0, time 1ms\n"
    )
    refused(*tables, *STEPS, says="--format nanogpt or --format csv (twice where the arms differ")


def test_one_file_of_two_possible_formats_is_read_in_the_one_that_is_said(run, refused):
    Path("log.csv").write_text("epoch,train_loss,valid_loss,eval_loss\n1,1,1,1\n2,.5,.6,.6\n")
    Path("other.csv").write_text("epoch,train_loss,valid_loss,eval_loss\n1,1,1,1\n2,.5,.7,.7\n")
    refused("compare", "log.csv", "other.csv", says="--format fastai or --format timm")
    found = run("compare", "log.csv", "other.csv", "--format", "timm", "--json", "--quiet").json
    assert [entry["form"] for entry in found["logs"]] == ["timm summary.csv"] * 2


def test_a_tolerance_that_stands_beside_the_table_is_said_to(run):
    for arm, worse in (("baseline", 0.0), ("variant", 1.0)):
        rows = [
            f"{seed},{step},{loss},{metric}" for seed in range(4) for step, loss, metric in curve(seed, worse)
        ]
        Path(f"{arm}.csv").write_text("\n".join(["seed,update,train_loss,test_metric", *rows]) + "\n")
    words = ("compare", "baseline.csv", "variant.csv", "--json", "--quiet")
    assert run(*words).json["tolerance_reason"] == "1.25 seed sd of the baseline"
    Path("compare.yaml").write_text("tolerance: 0.62\n")
    beside = run(*words).json
    assert (beside["tolerance"], beside["tolerance_reason"]) == (0.62, "as compare.yaml says")
    assert run(*words, "--tolerance", "0.5").json["tolerance_reason"] == "as given"
