"""The committed table of networks that strangers write: made anew, and the same."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algobias.training.loop import train

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
COMMITTED: dict[str, dict[str, Any]] = json.loads(
    (BENCHMARKS / "results" / "foreign_models.json").read_text(encoding="utf-8")
)["networks"]


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        benchmark = importlib.import_module("foreign_models")
        result: dict[str, dict[str, Any]] = benchmark.examine_all()
        return result


def without_numbers(text: Any) -> str:
    return re.sub(r"[\d.]+(e-?\d+)?", "#", str(text))


def test_every_network_is_exact_or_refused(found):
    assert len(COMMITTED) >= 40
    assert {row["status"] for row in COMMITTED.values()} == {"exact", "refused"}
    assert list(found) == list(COMMITTED)
    assert {name: row["status"] for name, row in found.items()} == {
        name: row["status"] for name, row in COMMITTED.items()
    }


@pytest.mark.parametrize("name", ["torch.jit.script", "torch.jit.trace", "gradient by the input in forward"])
def test_whole_runs_with_their_costs_and_evaluations_are_made(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        benchmark = importlib.import_module("foreign_models")
        task = benchmark.task_of(benchmark.REAL[name], tokens=False)
    outcome = train(task.recipe(), task, [3])[0]
    assert np.isfinite(outcome.curve.train_loss).all()
    assert outcome.cost.flops > 0


def test_refusals_say_the_same_and_engines_are_the_same(found):
    for name, row in COMMITTED.items():
        assert found[name].get("engine") == row.get("engine"), name
        assert without_numbers(found[name].get("message")) == without_numbers(row.get("message")), name


def test_readings_are_those_of_backward_or_say_why_not(found):
    for name, row in COMMITTED.items():
        if isinstance(row.get("reading"), float):
            assert found[name]["reading"] <= 1e-5, name
        else:
            assert without_numbers(found[name].get("reading")) == without_numbers(row.get("reading")), name
