"""Audits of a command from its words to the verdict, on a script whose answer is known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from algobias.commands.question import CommandQuestion
from algobias.errors import BadInput
from algobias.kept.store import Store
from algobias.studies.command.forecast import plan_of
from algobias.studies.command.options import CommandOptions
from algobias.studies.command.run import run_command

TOY = Path(__file__).with_name("toy.py")
METRIC = r"stdout:update (?P<update>\d+) .* test (?P<value>\S+)"
LOSS = r"stdout:update (?P<update>\d+) train (?P<value>\S+)"


def question(**fields: object) -> CommandQuestion:
    words = (sys.executable, str(TOY), "--seed={seed}", "--iters=64")
    usual = {
        "command": words,
        "metric": METRIC,
        "train_loss": LOSS,
        "trivial": 10.0,
        "tolerance": 1.0,
        "fit": 0,
        "preflight": 0,
    }
    return CommandQuestion(**{**usual, **fields})


@pytest.mark.parametrize(
    ("args", "scale", "verdict"),
    [
        ("--bias=0.01", None, "no_gap"),
        ("--bias=5", None, "bias"),
        ("--speed=0.25", "--iters", "optimization"),
        ("--bias=5 --speed=0.25", "--iters", "mixed"),
        ("--fail=1", None, "broken"),
    ],
)
def test_the_verdict_of_a_change_whose_answer_is_known(
    tmp_path: Path, args: str, scale: str | None, verdict: str
) -> None:
    with Store(tmp_path) as store:
        audit = run_command(question(args=(args,), scale=scale), store, CommandOptions(slots=4))
    assert audit.answer.verdict == verdict, audit.answer.reason
    assert audit.answer.change == (f"args: {args}",)
    if verdict == "broken":
        assert any("CUDA out of memory" in warning for warning in audit.answer.warnings)
    if scale is not None:
        lengths = {run.length for run in audit.runs}
        assert lengths > {1.0}
        bias = 5.0 if verdict == "mixed" else 0.0
        assert audit.answer.fit.bias_share.mean == pytest.approx(bias, abs=0.2)


def test_without_a_training_loss_the_loss_is_real_and_no_more(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        asked = question(args=("--bias=5",), train_loss=None)
        audit = run_command(asked, store, CommandOptions(slots=4))
    assert audit.answer.verdict == "undecided"
    assert "The loss is real; fit or bias cannot be told without a training loss." in audit.answer.reason
    assert audit.answer.evidence == "metric only"
    assert audit.answer.arms[0].train_loss.mean is None


def test_numbers_from_a_file_of_the_run_and_a_metric_of_which_less_is_better(tmp_path: Path) -> None:
    words = (sys.executable, str(TOY), "--seed={seed}", "--out={out}")
    with Store(tmp_path) as store:
        asked = question(
            command=words,
            args=("--bias=-5",),
            metric="json:{out}/log.json:accuracy",
            train_loss="json:{out}/log.json:train_loss",
            lower_is_better=True,
            trivial=None,
        )
        audit = run_command(asked, store, CommandOptions(slots=4))
        assert audit.answer.verdict == "bias"
        assert audit.answer.metric == "minus accuracy"
        assert audit.answer.gap.mean == pytest.approx(5)
        runs = list(tmp_path.glob("runs/*/*/*/run"))
        assert len(runs) == 2 * audit.verdict.look
        assert not list(tmp_path.glob("runs/*/*/*/run/out")), "what runs write goes once it has been read"
        kept = run_command(asked.model_copy(update={"seed": 50}), store, CommandOptions(slots=4, keep=True))
        assert len(list(tmp_path.glob("runs/*/*/*/run/out/log.json"))) == 2 * kept.verdict.look


def test_a_command_that_never_ends_well_stops_with_its_last_words(tmp_path: Path) -> None:
    with Store(tmp_path) as store, pytest.raises(BadInput, match="CUDA out of memory"):
        run_command(question(command=(*question(aa=True).command, "--fail=1"), aa=True), store)
    with Store(tmp_path) as store:
        assert store.find_study("last").status == "failed"


def test_a_source_that_finds_nothing_costs_no_run_again(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        wrong = question(args=("--bias=5",), metric=r"stdout:accuracy (\S+)")
        with pytest.raises(
            BadInput, match=r"^--metric: .*finds no number in .*; its output ends: .*update 64"
        ):
            run_command(wrong, store)
        (first,) = tmp_path.glob("runs/*/*/0/run/result.json")
        before = first.stat().st_mtime_ns
        audit = run_command(question(args=("--bias=5",)), store, CommandOptions(slots=4))
        assert audit.answer.verdict == "bias"
        assert first.stat().st_mtime_ns == before


def test_an_edited_script_is_another_run(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(TOY.read_text() + "\nimport helper\n")
    (tmp_path / "helper.py").write_text("x = 1\n")
    words = (sys.executable, str(script), "--seed={seed}")
    with Store(tmp_path / "store") as store:
        asked = question(command=words, args=("--bias=5",))
        first = run_command(asked, store, CommandOptions(slots=4))
        again = run_command(asked, store, CommandOptions(slots=4))
        assert again.study == first.study
        assert again.answer.without("seconds") == first.answer.without("seconds")
        (tmp_path / "helper.py").write_text("x = 2\n")
        edited = run_command(asked, store, CommandOptions(slots=4))
        assert edited.study != first.study
        assert edited.answer.arms[0].address != first.answer.arms[0].address


def test_nothing_is_run_for_a_plan_and_what_cannot_be_is_refused(tmp_path: Path) -> None:
    told = plan_of(question(args=("--bias=5",), control=("args: --speed=2",)), slots=3)
    assert [arm.name for arm in told.arms] == [
        "baseline",
        "variant",
        "variant+args: --speed=2",
        "baseline+args: --speed=2",
    ]
    assert any("--bias=5 --speed=2" in remark for remark in told.commands)
    for fields, part in (
        ({}, "what makes the variant"),
        ({"aa": True, "args": ("--x=1",)}, "either --aa or a change"),
        ({"args": ("--bias=1",), "env": ("A",)}, "NAME=VALUE"),
        ({"args": ("64",)}, "options only"),
        ({"args": ("--bias=1",), "scale": "--epochs"}, "planned value"),
        ({"args": ("--bias=1",), "metric": "tab:acc"}, "auto:NAME"),
        ({"args": ("--bias=1",), "train_loss": "auto"}, "auto:NAME"),
        ({"change": ("label_noise:0.1",)}, "label_noise cannot: a batch does not say"),
    ):
        with pytest.raises(BadInput, match=part):
            question(**fields)


def command(store: Path, *more: str) -> list[str]:
    asked = [
        sys.executable,
        "-m",
        "algobias",
        "run",
        "--store",
        str(store),
        "--metric",
        METRIC,
        "--trivial",
        "10",
    ]
    asked += [
        "--train-loss",
        LOSS,
        "--tolerance",
        "1",
        "--fit",
        "0",
        "--slots",
        "2",
        *more,
        "--json",
        "--quiet",
    ]
    return [*asked, "--args=--bias=5", "--", sys.executable, str(TOY), "--seed={seed}", "--iters=64"]


@pytest.mark.wide
def test_killed_and_begun_again_the_command_prints_the_same(tmp_path: Path) -> None:
    whole = subprocess.run(command(tmp_path / "a"), capture_output=True, text=True, timeout=200)
    assert whole.returncode == 0, whole.stderr
    with subprocess.Popen(command(tmp_path / "b"), stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 100
        while not list((tmp_path / "b").glob("runs/*/*/2/outcome.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    again = subprocess.run(command(tmp_path / "b"), capture_output=True, text=True, timeout=200)
    assert again.returncode == 0, again.stderr
    one, two = json.loads(whole.stdout), json.loads(again.stdout)
    for answer in (one, two):
        for arm in answer["arms"]:
            assert arm["cost"].pop("seconds") > 0
        for key in ("seconds", "store", "report"):
            answer.pop(key)
    assert one == two
    assert one["verdict"] == "bias"
    assert Path(json.loads(whole.stdout)["report"]).is_file()


def test_the_preflight_stops_what_cannot_be_judged(tmp_path: Path) -> None:
    deaf = (sys.executable, str(TOY), "--iters=64")
    with Store(tmp_path) as store:
        with pytest.raises(BadInput, match=r"does not take the seed; .*--force goes on"):
            run_command(question(command=deaf, args=("--bias=5",), preflight=5), store)
        with pytest.raises(BadInput, match="ends as the baseline does"):
            run_command(question(args=("--out={out}",), preflight=5), store)
        forced = run_command(
            question(command=deaf, args=("--bias=5",), preflight=5),
            store,
            CommandOptions(slots=4, force=True),
        )
    assert any("does not take the seed" in warning for warning in forced.answer.warnings)
    assert {finding.check for finding in forced.answer.preflight} >= {"seeds", "variant", "writes", "inside"}


def test_writes_outside_of_the_folder_of_the_run_are_found(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    words = (sys.executable, str(TOY), "--seed={seed}", "--out=results")
    asked = question(command=words, args=("--bias=5",), preflight=5, cwd=str(tmp_path / "here"))
    with Store(tmp_path / "store") as store, pytest.raises(BadInput, match=r"results/log\.json"):
        run_command(asked, store)


def test_a_script_that_is_edited_while_its_study_runs_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    original = TOY.read_text()
    script.write_text(original)
    # The variant edits the script: as an editor would, in the middle of the study.
    edit = f"import pathlib\nif options.bias:\n    pathlib.Path({str(script)!r}).write_text('print(1)')\n"
    script.write_text(original + edit)
    words = (sys.executable, str(script), "--seed={seed}")
    with Store(tmp_path / "store") as store:
        asked = question(command=words, args=("--bias=5",))
        with pytest.raises(BadInput, match=r"mine\.py.*stays as it is while the study runs"):
            run_command(asked, store, CommandOptions(slots=1))
        script.write_text(original)
        audit = run_command(asked, store, CommandOptions(slots=4))
        assert audit.answer.gap.mean == pytest.approx(5.0, abs=1e-9)


@pytest.mark.wide
def test_two_at_once_carry_out_each_run_once(tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = tmp_path / "mine.py"
    script.write_text(TOY.read_text() + f"\nopen({str(count)!r}, 'a').write('x')\n")
    words = [
        word if word != str(TOY) else str(script) for word in command(tmp_path / "store", "--preflight", "0")
    ]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=200)[0]) for process in both]
    assert answers[0]["gap"] == answers[1]["gap"]
    assert len(count.read_text()) == sum(len(arm["seeds"]) for arm in answers[0]["arms"])


def test_a_file_that_every_run_writes_in_one_place_is_read_one_run_at_a_time(tmp_path: Path) -> None:
    words = (sys.executable, str(TOY), "--seed={seed}", "--out=results")
    with Store(tmp_path / "store") as store:
        asked = question(
            command=words,
            args=("--bias=5",),
            metric="json:results/log.json:accuracy",
            train_loss="json:results/log.json:train_loss",
            cwd=str(tmp_path),
        )
        audit = run_command(asked, store, CommandOptions(slots=4))
    assert audit.answer.gap.per_seed == pytest.approx([5.0] * audit.answer.gap.n)


def test_the_next_step_is_a_command_that_can_be_typed(tmp_path: Path) -> None:
    """Options go before what is somebody else's command."""
    from algobias.answer.next.step import next_text
    from algobias.reports.record import StudyRecord

    asked = "algobias run --looks 3 --args=--b=2 -- python train.py --looks 7"
    answer = {"schema": 1, "study": "0" * 12, "verdict": "undecided", "would_decide": 9, "looks": [3]}
    told = next_text(StudyRecord(result={**answer, "evidence": "with replay"}, command=asked))
    assert "algobias run --args=--b=2 --looks 3,9 -- python train.py --looks 7" in told


def test_an_injected_change_that_never_acts_is_not_applied(tmp_path: Path) -> None:
    """Whatever else the variant changes: what was asked about is the lever."""
    with Store(tmp_path) as store:
        audit = run_command(
            question(args=("--bias=5",), change=("sam:0.05",)), store, CommandOptions(slots=4)
        )
    assert audit.answer.verdict == "not_applied"
    assert "sam:0.05 acted in no run of the variant" in audit.answer.reason
