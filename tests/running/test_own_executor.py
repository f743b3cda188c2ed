"""An executor that somebody writes outside of the package: the same results, whoever carries out the work."""

from __future__ import annotations

from pathlib import Path

import pytest

import algobias
from algobias.running.executor import Executor
from own_executor import OneByOne

TASK = f"{Path(__file__).parents[1] / 'product_task.py'}:task"


def test_an_executor_of_ones_own_gives_the_same_results(tmp_path: Path) -> None:
    made: list[OneByOne] = []

    def make(store, data):
        made.append(OneByOne(store, data))
        return made[-1]

    asked = {"change": "lr:x0.2", "looks": 6, "tolerance": 1.0, "probes": "weight_norm"}
    own = algobias.audit(TASK, **asked, store=tmp_path / "own", executor=make).result
    here = algobias.audit(TASK, **asked, store=tmp_path / "here", workers=0).result
    assert any("measured" in piece for piece in made[0].done)
    assert len(made[0].done) >= 4
    for key in ("verdict", "gap", "fit", "moved"):
        assert own[key] == here[key], key
    assert [arm["per_seed"] for arm in own["arms"]] == [arm["per_seed"] for arm in here["arms"]]


def test_an_executor_without_a_way_to_carry_out_work_fails_when_it_is_made(tmp_path: Path) -> None:
    class Idle(Executor):
        pass

    with pytest.raises(TypeError, match="carry_out"):
        Idle(None, 1)
