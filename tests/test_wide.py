"""Wide tests ran, and passed, as they are written now: their committed results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wide_tests import WIDE

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "wide.json"


def test_every_wide_test_passed_as_it_is_written_now(request: pytest.FixtureRequest) -> None:
    recorded = json.loads(RESULTS.read_text(encoding="utf-8"))["tests"]
    for name, source in request.config.stash[WIDE].items():
        assert name in recorded, f"{name}: python benchmarks/wide.py was not run on it"
        assert recorded[name]["outcome"] == "passed", name
        assert recorded[name]["source"] == source, f"{name} was edited after python benchmarks/wide.py"


def test_no_result_is_of_a_test_that_is_gone(request: pytest.FixtureRequest) -> None:
    collected = request.config.stash[WIDE]
    folders = {name.partition("::")[0] for name in collected}
    recorded = json.loads(RESULTS.read_text(encoding="utf-8"))["tests"]
    stale = [name for name in recorded if name.partition("::")[0] in folders and name not in collected]
    if any("::" in word for word in request.config.args):
        pytest.skip("only a part of a file was collected")
    assert not stale
