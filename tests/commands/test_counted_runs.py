"""What a watcher is told of runs of a command: how many are asked for, before the first of them has ended."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from quick_slots import Quick, here
from rich.console import Console
from test_command_study import question

from algobias.console.live import LiveView
from algobias.kept.store import Store
from algobias.studies.command.run import run_command


def test_runs_asked_for_are_counted_before_they_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, seconds, file = Quick(here).install(monkeypatch), [0.0], io.StringIO()

    def clock() -> float:
        seconds[0] += 20
        return seconds[0]

    view = LiveView(Console(file=file, width=200), clock=clock)
    with Store(tmp_path) as store:
        run_command(question(args=("--bias=5",), looks=(3,)), store, progress=view)
    assert len(quick.done) == 6
    lines = [line for line in file.getvalue().splitlines() if "runs done" in line]
    assert any(line.startswith("baseline 2/3, variant 0/3 runs done") for line in lines), lines
    assert lines[-1].startswith("baseline 3/3, variant 3/3 runs done")


def test_the_time_left_is_that_of_the_runs_asked_for_together() -> None:
    seconds, file = [0.0], io.StringIO()
    view = LiveView(Console(file=file, width=200), clock=lambda: seconds[0])
    view.start({"first_look_seeds": 4})
    seconds[0] = 100  # short runs beforehand
    for seed in range(4):  # the baselines are there already
        view.update("variant", seed, 0, 0, None, None)
    for seed in range(2):
        seconds[0] += 15
        view.finished("variant", seed)
    *_, line = [line for line in file.getvalue().splitlines() if "runs done" in line]
    assert line == "variant 2/4 runs done; 2 min 10 s so far, about 30 s left for these runs"
