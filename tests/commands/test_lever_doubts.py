"""Injected levers that did not act are named, by what was injected at the length of each run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from algobias.studies.command import answer

WINDOWS = {1.0: ("delay:8,until=56",), 0.5: ("delay:8,until=28",)}


@pytest.mark.parametrize(
    ("applied", "said"),
    [
        ({"delay:8,until=56": 55, "delay:8,until=28": 27}, []),
        ({"delay:8,until=56": 55}, ["in variant, seeds 3, delay:8,until=28 did not act"]),
    ],
)
def test_a_window_follows_the_length_of_a_run(
    monkeypatch: pytest.MonkeyPatch, applied: dict[str, int], said: list[str]
) -> None:
    told = SimpleNamespace(times_applied=lambda lever: applied.get(lever, 0))
    monkeypatch.setattr(answer, "Told", SimpleNamespace(of=lambda folder: told))
    runner = SimpleNamespace(
        command_of=lambda arm, length: SimpleNamespace(levers=WINDOWS[length]),
        place=lambda request: SimpleNamespace(folder=Path()),
        question=SimpleNamespace(spoken=str),
    )
    runs = [
        SimpleNamespace(arm="variant", replicate=0, length=length, outcome=SimpleNamespace(seed=3))
        for length in (1.0, 0.5)
    ]
    assert answer.lever_doubts(runner, runs) == said
