"""Numbers of a run from its output and its files."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from algobias.commands.numbers.curves import Check, Point, checks, located, outcome_of
from algobias.commands.numbers.sources import Source, Value
from algobias.errors import BadInput
from algobias.jobs.job import JOB, Result
from logs.curves import CHECKS, STEPS, accuracy

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


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        (
            r"stdout:test acc (\S+)",
            "'90.28.' is not possible.*group is the number alone.* matched 'test acc 90",
        ),
        (r"stdout:step (?P<update>\S+) test acc (?P<value>[\d.]+\d)", "'9:' is not possible"),
        ("csv:m.csv:acc", r"'90\.28\.' is not possible.*column acc of .*m\.csv, row 3"),
        ("json:m.json:eval.acc", r"'90\.28\.' is not possible.*eval\.acc of .*m\.json, object 1"),
        ("json:m.json:flag", "True is not possible"),
        ("jsonl:m.jsonl:acc", r"\[9\] is not possible.*object 2"),
    ],
)
def test_what_is_no_number_is_refused_and_not_left_out(source: str, wrong: str, tmp_path: Path) -> None:
    """Left out, the value before it would be taken for the last."""
    (tmp_path / "m.csv").write_text('acc\n75.28\n" "\n90.28.\n')
    (tmp_path / "m.json").write_text('{"eval": {"acc": "90.28."}, "flag": true}')
    (tmp_path / "m.jsonl").write_text('{"acc": null}\n{"acc": [9]}\n')
    with pytest.raises(BadInput, match=f"--metric: {wrong}"):
        read(source, tmp_path, "step 8 test acc 75.28\nstep 9: test acc 80\nFinal test acc 90.28.\n")


def test_spellings_of_infinity_and_tables_with_their_header_again(tmp_path: Path) -> None:
    output = "loss inf\nloss -Infinity\nloss 1e200\nloss 12 %\n"
    numbers = [number for number, _ in read(r"stdout:loss (.+)", tmp_path, output)]
    assert numbers == [math.inf, -math.inf, math.inf, 12.0]
    (tmp_path / "m.csv").write_text("acc\n1\nacc\n2\n")
    assert read("csv:m.csv:acc", tmp_path) == [(1.0, None), (2.0, None)]
    (tmp_path / "m.json").write_text(f'{{"loss": {"9" * 400}}}')
    assert read("json:m.json:loss", tmp_path) == [(math.inf, None)]


def test_lines_of_objects_the_torn_last_among_them(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"_step": 1, "acc": 3}\n\n{"_step": 2, "acc": 4}\n{"_step": 3, "ac')
    assert read("jsonl:m.jsonl:acc", tmp_path) == [(3.0, 1), (4.0, 2)]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("tab:x", "auto, auto:NAME"),
        ("tb", "tb:TAG"),
        ("tb:", "tb:TAG"),
        ("csv:acc", "csv:PATH:COLUMN"),
        ("stdout:val loss", "a group"),
        ("stdout:val (", "regular expression"),
    ],
)
def test_what_is_no_source_is_refused(text: str, part: str) -> None:
    with pytest.raises(BadInput, match=part):
        Source.parse(text, "--metric")


def test_a_torn_line_of_objects_that_is_not_the_last_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"acc": 3}\nWARNING: low disk\nnull\n{"acc": 4}\n')
    with pytest.raises(BadInput, match=r"'WARNING: low disk' .* JSON, as every line of .*m\.jsonl .*line 2"):
        read("jsonl:m.jsonl:acc", tmp_path)
    (tmp_path / "m.json").write_text('{"acc": 3}\n{"acc": 4}\n')
    with pytest.raises(BadInput, match=r"a file that is JSON; .* jsonl:PATH:KEY"):
        read("json:m.json:acc", tmp_path)


EVENTS = Path(__file__).parents[1] / "logs" / "fixtures" / "tensorboard" / "base"


def test_a_tag_of_event_files(tmp_path: Path) -> None:
    """Files that torch and tensorboardX wrote, somewhere below the run's own folder."""
    shutil.copytree(EVENTS / "seed=0", tmp_path / "out" / "logs" / "now")
    told = read("tb:val/acc", tmp_path)
    assert [update for _, update in told] == [STEPS * (k + 1) for k in range(CHECKS)]
    numbers = [float(np.float32(accuracy("base", 0, update or 0))) for _, update in told]
    assert [number for number, _ in told] == pytest.approx(numbers, rel=1e-7)
    with pytest.raises(BadInput, match=r"'val/accuracy' .*a tag in .*: .*val/acc"):
        read("tb:val/accuracy", tmp_path)
    shutil.copytree(EVENTS / "seed=1", tmp_path / "out" / "logs" / "other")
    with pytest.raises(BadInput, match=r"tb:FOLDER:TAG.*several folders.*logs/now, logs/other"):
        read("tb:val/acc", tmp_path)
    assert read("tb:{out}/logs/now:val/acc", tmp_path) == told
    with pytest.raises(BadInput, match="a folder that the run has written event files into"):
        read("tb:none:val/acc", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="a folder with event files of TensorBoard that this run wrote"):
        read("tb:empty:val/acc", tmp_path)


def test_event_files_of_earlier_runs_in_a_shared_folder_are_left_out(tmp_path: Path) -> None:
    for seed in (0, 1):
        shutil.copytree(EVENTS / f"seed={seed}", tmp_path / "runs", dirs_exist_ok=True)
    (first,) = (tmp_path / "runs" / path.name for path in (EVENTS / "seed=0").iterdir())
    (tmp_path / JOB).write_text("{}")
    begun = (tmp_path / JOB).stat().st_mtime
    for path in (tmp_path / "runs").iterdir():
        os.utime(path, (begun + 5, begun - 60 if path == first else begun + 5))
    told = read("tb:runs:val/acc", tmp_path)
    assert told[-1][0] == pytest.approx(float(np.float32(accuracy("base", 1, told[-1][1] or 0))), rel=1e-7)
    assert len(told) == CHECKS
    assert Source.parse("tb:runs:val/acc", "--metric").shared
    assert not Source.parse("tb:val/acc", "--metric").shared


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (r"stdout:test accuracy (\S+)", "test accuracy"),
        (r"stdout:update (?P<update>\d+): test accuracy (?P<value>\S+)", "test accuracy"),
        (r"stdout:step (?P<update>\d+).* val loss[:=]\s*([\d.]+)", "val loss"),
        (r"stdout:Acc@1 = (\S+)", "Acc@1"),
        (r"stdout:\s+top1: (\S+)", "top1"),
        (r"stdout:(?P<value>\S+) % of (?P<update>\d+)", ""),
        (r"stdout:update (?P<update>\d+) test (?P<value>\S+)", ""),
        (r"stdout:(\S+)", ""),
        ("tb:val/acc", "val/acc"),
        ("auto:eval_loss", "eval_loss"),
        ("csv:a.csv:acc", "acc"),
    ],
)
def test_a_number_is_called_by_what_stands_before_it(text: str, name: str) -> None:
    assert Source.parse(text, "--metric").name == name


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a file that can be read"):
        read("csv:none.csv:acc", tmp_path)


def test_numbers_of_an_output_have_the_time_at_which_they_came() -> None:
    marks = [(5, 1.5), (50, 2.5)]
    values = [Value(1.0, None, 4), Value(2.0, 7, 40), Value(3.0, None, 99)]
    assert located(values, marks) == [Point(None, 1.0, 1.5), Point(7, 2.0, 2.5), Point(None, 3.0, 2.5)]
    assert all(math.isnan(point.time) for point in located(values, None))


def test_equal_updates_belong_together() -> None:
    metrics = [Point(5, 1.0), Point(10, 2.0), Point(20, 4.0)]
    losses = [Point(5, 0.5), Point(7, 0.4), Point(20, 0.2)]
    assert checks(metrics, losses) == [Check(5, 1.0, 0.5), Check(20, 4.0, 0.2)]
    alone = checks([Point(None, 3.0), Point(8, 4.0)], None)
    assert alone is not None
    assert [(check.update, check.metric) for check in alone] == [(1, 3.0), (8, 4.0)]


def test_epochs_are_not_taken_for_updates() -> None:
    """What the script counts is not what was counted: they are joined by time, never by numbers alone."""
    epochs = [Point(1, 80.0, 2.0), Point(20, 90.0, 9.0)]
    losses = [Point(20, 0.5, 1.0), Point(400, 0.1, 8.0)]
    assert checks(epochs, losses) == [Check(20, 80.0, 0.5), Check(400, 90.0, 0.1)]
    untimed = [Point(1, 80.0), Point(20, 90.0), Point(21, 90.0)]
    assert checks(untimed, losses) is None


def test_a_loss_belongs_to_the_first_metric_after_it_and_the_last_to_the_last() -> None:
    losses = [Point(10, 0.5, 1.0), Point(20, 0.4, 3.0), Point(30, 0.3, 9.0)]
    metrics = [Point(None, 0.0, 0.5), Point(None, 1.0, 1.2), Point(None, 1.5, 1.3), Point(None, 2.0, 4.0)]
    assert checks(metrics, losses) == [Check(10, 1.0, 0.5), Check(20, 2.0, 0.4), Check(30, 2.0, 0.3)]


def test_without_times_one_metric_belongs_to_the_end_and_as_many_go_in_order() -> None:
    losses = [Point(10, 0.5), Point(20, 0.4)]
    assert checks([Point(None, 7.0)], losses) == [Check(20, 7.0, 0.4)]
    assert checks([Point(None, 7.0), Point(None, 8.0)], losses) == [Check(10, 7.0, 0.5), Check(20, 8.0, 0.4)]
    assert checks([Point(None, 7.0)] * 3, losses) is None


def test_an_outcome_of_checks() -> None:
    told = [Check(20, 4.0, 0.2), Check(5, 1.0, 0.5), Check(20, 4.5, 0.2)]
    out = outcome_of(3, WELL, told, loss_known=True, sign=-1, trivial=9.0)
    assert out.curve.update.tolist() == [5, 20]
    assert out.curve.test_metric.tolist() == [-1.0, -4.5]
    assert out.curve.train_loss.tolist() == [0.5, 0.2]
    assert (out.end_metric, out.diverged, out.trivial_metric) == (-4.5, False, -9.0)
    assert out.cost.after(20.0).seconds == WELL.seconds


@pytest.mark.parametrize(
    "result", [Result(1, None, 1.0, 0.0), Result(None, 11, 1.0, 0.0), Result(None, None, 0.0, 0.0, "gone")]
)
@pytest.mark.parametrize("known", [True, False])
def test_a_run_that_fails_is_an_outcome_and_scores_nothing(result: Result, known: bool) -> None:
    for told in ([Check(5, 80.0, 0.5), Check(10, 90.0, 0.4)], []):
        out = outcome_of(0, result, told, loss_known=known, trivial=10.0)
        assert out.diverged
        assert out.end_metric == 10.0


def test_a_metric_that_ends_as_nan_diverged() -> None:
    told = [Check(5, 80.0, math.nan), Check(10, math.nan, math.nan)]
    out = outcome_of(0, WELL, told, loss_known=False, trivial=10.0)
    assert out.diverged
    assert out.end_metric == 10.0


def test_an_output_is_read_to_its_end_however_long(tmp_path: Path) -> None:
    line = "x" * 1000 + "\n"
    (tmp_path / "stdout.txt").write_text(line * 70_000 + "val 3.5\n")
    source = Source.parse(r"stdout:val (\S+)", "--metric")
    (value,) = source.values(tmp_path / "stdout.txt", tmp_path, tmp_path / "out", "--metric")
    assert value == Value(3.5, None, 70_000 * 1001 + 8, 0.1)


def test_updates_that_are_no_numbers_are_none(tmp_path: Path) -> None:
    named = r"stdout:update (?P<update>\S+) acc (?P<value>\S+)"
    assert read(named, tmp_path, "update nan acc 1\nupdate inf acc 2\nupdate 3 acc 4\n") == [
        (1.0, None),
        (2.0, None),
        (4.0, 3),
    ]
    (tmp_path / "log.csv").write_text("step,acc\nnan,1\n4,2\n")
    assert read("csv:log.csv:acc", tmp_path) == [(1.0, None), (2.0, 4)]
    (tmp_path / "m.jsonl").write_text('{"step": Infinity, "acc": 1}\n')
    assert read("jsonl:m.jsonl:acc", tmp_path) == [(1.0, None)]
    (tmp_path / "wide.csv").write_text("acc\n" + "9" * 200_000 + "\n")
    with pytest.raises(BadInput, match="a table of comma-separated values"):
        read("csv:wide.csv:acc", tmp_path)


def test_a_file_older_than_the_run_is_another_runs(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"acc": 1}')
    os.utime(tmp_path / "m.json", (1, 1))
    (tmp_path / "job.json").write_text("{}")
    with pytest.raises(BadInput, match="older than the run"):
        read("json:m.json:acc", tmp_path)
    os.utime(tmp_path / "m.json")
    assert read("json:m.json:acc", tmp_path) == [(1.0, None)]
    assert Source.parse("json:m.json:acc", "--metric").shared
    assert not Source.parse("json:{out}/m.json:acc", "--metric").shared
