"""What whole runs show that the short ones of the preflight cannot: files at the end, a decaying rate."""

from __future__ import annotations

from pathlib import Path

import pytest
from quick_slots import Quick, here
from test_command_study import TOY, question

from algobias.commands.preflight import Finding, Preflight, outside_finding
from algobias.commands.short import SHORT_RUNS
from algobias.jobs.job import Job
from algobias.kept.store import Store
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
