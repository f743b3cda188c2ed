"""What whole runs show that the short ones of the preflight cannot: files at the end, a decaying rate."""

from __future__ import annotations

from pathlib import Path

import pytest
from quick_slots import Quick, here
from test_command_study import TOY, question

from algobias.answer.next.lengths import length_options, scale_of
from algobias.commands.findings import Finding, Preflight
from algobias.commands.numbers.inside import Told
from algobias.commands.preflight import outside_finding
from algobias.commands.short import SHORT_RUNS
from algobias.errors import BadInput
from algobias.jobs.job import Job
from algobias.kept.store import Store
from algobias.reports.page import would_decide
from algobias.reports.record import StudyRecord
from algobias.runs.progress import Progress
from algobias.studies.command.run import run_command


class Said(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def saves_at_the_end(job: Job) -> int:
    """A script that saves its model beside itself, which a run of a few updates does not get to."""
    if SHORT_RUNS not in job.folder.parts:
        (job.cwd / "model.pt").write_text("weights")
    return here(job)


def test_an_ok_of_short_runs_names_its_updates_and_is_taken_back() -> None:
    ok = outside_finding([], 20)
    assert (ok.passed, ok.text) == (True, "nothing is written outside of {out} in the first 20 updates")
    assert outside_finding(["log.csv"], 20).passed is False
    others = Finding("seeds", True, "two seeds end differently"), Finding("writes", None, "not looked at")
    found = Preflight((ok, *others), replay=True, seconds=1.0).withdrawn("writes", "log.csv is written")
    assert found.findings == (Finding("writes", False, "log.csv is written"), *others)


@pytest.mark.parametrize("carry", [here, saves_at_the_end])
def test_a_file_that_whole_runs_write_is_told_once_it_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carry
) -> None:
    Quick(carry).install(monkeypatch)
    (tmp_path / "beside").mkdir()
    words = ("python", str(TOY), "--seed={seed}", "--out={out}", "--iters=64")
    said, asked = Said(), question(command=words, args=("--bias=5",), looks=(3,), preflight=20)
    with Store(tmp_path / "store") as store:
        asked = asked.model_copy(update={"cwd": str(tmp_path / "beside")})
        answer = run_command(asked, store, progress=said).answer
    writes = {entry.check: entry for entry in answer.preflight}["writes"]
    warned = [text for text in answer.warnings if "outside of {out}" in text]
    assert "preflight ok: nothing is written outside of {out} in the first 20 updates" in said.messages
    assert writes.passed is (carry is here)
    assert len(warned) == (carry is not here)
    if warned:
        assert "(model.pt)" in writes.text
        assert warned[0] in said.messages


def test_a_decaying_rate_is_told_after_the_first_run_with_a_guess_of_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Quick(here).install(monkeypatch)
    said = Said()
    monkeypatch.setattr(Told, "rates", lambda told: [0.1, 0.05, 0.001])
    with Store(tmp_path) as store:
        asked = question(args=("--bias=5 --speed=0.25",), looks=(3,), tolerance=None)
        answer = run_command(asked, store, progress=said).answer
        done = len(quick.done)
        again = run_command(question(args=("--bias=0.01",), looks=(3,)), store).answer
    decays = next(at for at, text in enumerate(said.messages) if "the learning rate decays" in text)
    assert "(by its name, --scale '--iters')" in said.messages[decays]
    assert decays < next(at for at, text in enumerate(said.messages) if "no tolerance given" in text)
    assert done == 4 + 6
    # Once in the reason, and nowhere else.
    assert answer.reason.endswith("Runs of other lengths may tell (--scale '--iters'), not more seeds.")
    assert not [text for text in answer.warnings if "--scale" in text]
    assert would_decide(StudyRecord(answer.model_dump(mode="json"))) == ""
    assert [text for text in again.warnings if "--scale '--iters'" in text]
    assert "--scale" not in again.reason


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("python train.py --bs=32 --epochs 12", ("--epochs",)),
        (
            "python train.py --max_iters=2000 --lr_decay_iters=2000 --eval_iters=20",
            ("--max_iters", "--lr_decay_iters"),
        ),
        (
            "t --num-train-epochs 3 --warmup-steps 10 --decay-epochs 30 --save_steps=5",
            ("--num-train-epochs",),
        ),
        ("python t.py trainer.max_epochs=20 optim.lr=.1", ("trainer.max_epochs",)),
        ("python t.py --epochs --epoch 3 --steps=many --seed 3", ()),
    ],
)
def test_options_that_look_like_a_length(command: str, names: tuple[str, ...]) -> None:
    assert length_options(command.split()) == names
    assert scale_of(command.split()).startswith(f"--scale '{' '.join(names)}'" if names else "--scale OPTION")


def test_a_scale_with_another_value_than_the_commands_is_refused() -> None:
    asked = {"args": ("--bias=1",)}
    with pytest.raises(BadInput, match=r"^--scale: '--iters=20'.* --iters alone: the command sets it, to 64"):
        question(**asked, scale="--iters=20")
    assert question(**asked, scale="--iters=64.0").scaling
    assert question(**asked, scale="--epochs=20").scaling
