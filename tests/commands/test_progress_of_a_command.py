"""What whoever watches an audit of a command is told: every run, also those of other lengths."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from quick_slots import Quick, here
from rich.console import Console
from test_command_study import question

from algobias.commands.placed import label_of
from algobias.console.live import LiveView
from algobias.kept.store import Store
from algobias.runs.progress import Progress
from algobias.studies.command.beforehand import expected_times
from algobias.studies.command.run import run_command


class Counts(Progress):
    """Counts what is to come and what has ended, as a view does."""

    def __init__(self) -> None:
        self.coming: list[tuple[str, int]] = []
        self.ended: list[tuple[str, int]] = []
        self.view = LiveView(Console(file=io.StringIO()))

    def update(self, arm: str, seed: int, *rest: float | None) -> None:
        assert rest[0] == 0
        assert (arm, seed) not in self.ended
        self.coming.append((arm, seed))
        self.view.update(arm, seed, 0, 0, None, None)

    def finished(self, arm: str, seed: int) -> None:
        assert (arm, seed) in self.coming, "it was told that it is to come"
        self.ended.append((arm, seed))
        self.view.finished(arm, seed)


def test_every_run_is_told_before_and_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, counts = Quick(here).install(monkeypatch), Counts()
    asked = question(args=("--speed=0.5",), scale="--iters", looks=(2,), tolerance=None)
    with Store(tmp_path) as store:
        run_command(asked, store, progress=counts)
    assert set(counts.coming) == set(counts.ended)
    assert len(set(counts.ended)) == len(quick.done)
    labels = {arm for arm, _ in counts.ended}
    assert {"baseline", "variant", "variant x2 as long", "seed spread"} <= labels
    told = counts.view._done()
    assert "variant x2 as long 2/2" in told
    assert "seed spread 4/4" in told


def test_arms_are_named_as_people_read_them() -> None:
    assert label_of("variant+sam:0.1", 1.0) == "variant+sam:0.1"
    assert label_of("baseline", 0.125) == "baseline x0.125 as long"


def test_times_are_those_of_one_run_alone_and_side_by_side_only_bounds() -> None:
    alone = expected_times(10.0, 8, 40, 1)
    assert alone.startswith(
        "one run alone takes 10 s: the first look about 80 s (8 runs) and all looks about 7 min"
    )
    assert "slow each other" not in alone
    beside = expected_times(10.0, 8, 40, 4)
    assert (
        "the first look 20 s to 80 s (8 runs) and all looks 100 s to 7 min (40 runs), 4 at a time" in beside
    )
    assert "the first look 20 s to 60 s (6 runs)" in expected_times(10.0, 6, 6, 4), "two rounds of four"
