"""Injected levers that did not act are named, by what was injected at the length of each run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from algobias.answer.answer import Answer
from algobias.answer.control import ControlEntry
from algobias.answer.interval import Interval
from algobias.studies.command import acted

WINDOWS = {1.0: ("delay:8,until=56",), 0.5: ("delay:8,until=28",)}


@pytest.mark.parametrize(
    ("applied", "refused", "said"),
    [
        ({"delay:8,until=56": 55, "delay:8,until=28": 27}, {}, []),
        ({"delay:8,until=56": 55}, {}, ["in variant, seeds 3, delay:8,until=28 did not act"]),
        (
            {"delay:8,until=56": 55},
            {"delay:8,until=28": "of no use here"},
            ["in variant, seeds 3, delay:8,until=28 did not act (of no use here)"],
        ),
    ],
)
def test_a_window_follows_the_length_of_a_run(
    monkeypatch: pytest.MonkeyPatch, applied: dict[str, int], refused: dict[str, str], said: list[str]
) -> None:
    told = SimpleNamespace(times_applied=lambda lever: applied.get(lever, 0), refusal=refused.get)
    monkeypatch.setattr(acted, "Told", SimpleNamespace(of=lambda folder: told))
    runner = SimpleNamespace(
        command_of=lambda arm, length: SimpleNamespace(levers=WINDOWS[length]),
        place=lambda request: SimpleNamespace(folder=Path()),
        question=SimpleNamespace(spoken=str),
    )
    runs = [
        SimpleNamespace(arm="variant", replicate=0, length=length, outcome=SimpleNamespace(seed=3))
        for length in (1.0, 0.5)
    ]
    assert acted.lever_doubts(runner, runs) == said


@pytest.mark.parametrize("acts", [True, False])
def test_of_a_control_that_never_acted_no_number_is_said(monkeypatch: pytest.MonkeyPatch, acts: bool) -> None:
    why = "the optimizer takes several gradients in a step"
    told = SimpleNamespace(times_applied=lambda lever: int(acts), refusal=lambda lever: why)
    monkeypatch.setattr(acted, "Told", SimpleNamespace(of=lambda folder: told))
    runner = SimpleNamespace(
        place=lambda request: SimpleNamespace(folder=Path()),
        question=SimpleNamespace(
            treatment=lambda number: SimpleNamespace(levers="sam:0.05" if number else "")
        ),
    )
    runs = [SimpleNamespace(arm=f"variant+control:{number}", replicate=0, length=1.0) for number in (0, 1)]
    part = Interval(mean=0.0, low=-1.0, high=1.0, n=4)
    by_option, injected = (
        ControlEntry(lever=lever, recovered=part, improvement=part, treated_gap=part, verdict="recovered")
        for lever in ("args: --lr=1", "sam:0.05")
    )
    answer = Answer(schema=1, study="0", task="t", change=(), base=(), aa=False, metric="m")
    answer = acted.without_idle(answer.changed(controls=(by_option, injected)), runner, runs)
    assert answer.controls[0] == by_option
    entry = answer.controls[1]
    if acts:
        assert entry == injected
        return
    assert (entry.recovered.mean, entry.improvement.mean, entry.verdict) == (None, None, "none")
    assert entry.reason == f"sam:0.05 acted in no run of the variant ({why})"
