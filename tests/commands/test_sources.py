"""Numbers of a run from its output and its files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from algobias.commands.curves import Point, Timeline, located, outcome_of
from algobias.commands.job import Result
from algobias.commands.sources import Source, Value
from algobias.errors import BadInput

WELL = Result(0, None, 2.0, 0.0)


def read(text: str, folder: Path, output: str = "") -> list[tuple[float, int | None]]:
    (folder / "stdout.txt").write_text(output)
    values = Source.parse(text, "--metric").values(folder / "stdout.txt", folder, folder / "out", "--metric")
    return [(value.number, value.update) for value in values]


def test_matches_of_the_output(tmp_path: Path) -> None:
    output = "step 5: val loss 2.5\nnoise\nstep 10: val loss 1e-1\nval loss nan\n"
    assert read(r"stdout:val loss ([\d.e-]+)", tmp_path, output) == [(2.5, None), (0.1, None)]
    named = r"stdout:step (?P<update>\d+): val loss (?P<value>\S+)"
    assert read(named, tmp_path, output) == [(2.5, 5), (0.1, 10)]
    last = read(r"stdout:val loss (\S+)", tmp_path, output)[-1][0]
    assert math.isnan(last)


def test_a_column_of_a_table_with_its_updates(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("\ufeffstep,acc,other\n10,90.5 %,\n20,,3\n30,92,\n")
    assert read("csv:log.csv:acc", tmp_path) == [(90.5, 10), (92.0, 30)]
    with pytest.raises(BadInput, match="step, acc, other"):
        read("csv:log.csv:accuracy", tmp_path)


def test_keys_of_objects_lists_on_the_way_among_them(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "state.json").write_text(
        '{"log_history": [{"step": 5, "loss": 3}, {"step": 5, "eval_acc": 80},'
        ' {"step": 9, "eval_acc": 85.5}]}'
    )
    assert read("json:{out}/state.json:log_history.eval_acc", tmp_path) == [(80.0, 5), (85.5, 9)]
    (tmp_path / "m.json").write_text('{"eval": {"acc": 71}, "a.b": 3, "flag": true}')
    assert read("json:m.json:eval.acc", tmp_path) == [(71.0, None)]
    assert read("json:m.json:a.b", tmp_path) == [(3.0, None)]
    assert read("json:m.json:flag", tmp_path) == []


def test_lines_of_objects_the_torn_last_among_them(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"_step": 1, "acc": 3}\n\n{"_step": 2, "acc": 4}\n{"_step": 3, "ac')
    assert read("jsonl:m.jsonl:acc", tmp_path) == [(3.0, 1), (4.0, 2)]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("tb", "auto, auto:NAME"),
        ("csv:acc", "csv:PATH:COLUMN"),
        ("stdout:val loss", "a group"),
        ("stdout:val (", "regular expression"),
    ],
)
def test_what_is_no_source_is_refused(text: str, part: str) -> None:
    with pytest.raises(BadInput, match=part):
        Source.parse(text, "--metric")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a file that can be read"):
        read("csv:none.csv:acc", tmp_path)


def test_output_without_updates_is_placed_by_the_time_it_came() -> None:
    timeline = Timeline((1.0, 2.0, 3.0), (10, 20, 30))
    marks = [(5, 1.5), (50, 2.5), (60, 0.5)]
    values = [Value(1.0, None, 4), Value(2.0, None, 40), Value(3.0, 7, 41), Value(4.0, None, 55)]
    assert [point.update for point in located(values, timeline, marks)] == [10, 20, 7, 4]
    assert [point.update for point in located(values[:2], Timeline(), None)] == [1, 2]


def test_checks_are_updates_with_both_numbers() -> None:
    metrics = [Point(5, 1.0), Point(10, 2.0), Point(10, 3.0), Point(20, 4.0)]
    losses = [Point(5, 0.5), Point(7, 0.4), Point(20, 0.2)]
    out = outcome_of(3, WELL, metrics, losses, sign=-1, trivial=9.0, updates=22)
    assert out.curve.update.tolist() == [5, 20]
    assert out.curve.test_metric.tolist() == [-1.0, -4.0]
    assert out.curve.train_loss.tolist() == [0.5, 0.2]
    assert (out.end_metric, out.diverged, out.cost.updates, out.trivial_metric) == (-4.0, False, 22.0, -9.0)
    alone = outcome_of(3, WELL, metrics, None)
    assert alone.curve.update.tolist() == [5, 10, 20]
    assert not alone.loss_known
    assert alone.end_metric == 4.0


@pytest.mark.parametrize(
    "result", [Result(1, None, 1.0, 0.0), Result(None, 11, 1.0, 0.0), Result(None, None, 0.0, 0.0, "gone")]
)
@pytest.mark.parametrize("known", [True, False])
def test_a_run_that_fails_is_an_outcome_and_scores_nothing(result: Result, known: bool) -> None:
    points = [Point(5, 80.0), Point(10, 90.0)]
    out = outcome_of(0, result, points, points if known else None, trivial=10.0)
    assert out.diverged
    assert out.end_metric == 10.0
    nothing = outcome_of(0, result, [], [] if known else None, trivial=10.0)
    assert nothing.diverged
    assert nothing.end_metric == 10.0


def test_a_metric_that_ends_as_nan_diverged() -> None:
    out = outcome_of(0, WELL, [Point(5, 80.0), Point(10, math.nan)], None, trivial=10.0)
    assert out.diverged
    assert out.end_metric == 10.0
