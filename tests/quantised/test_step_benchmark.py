"""What the emulation costs, as committed: the page shows it, and it keeps what the page says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import precision_step as benchmark

PAGE = (Path(__file__).parents[2] / "benchmarks" / "README.md").read_text(encoding="utf-8")
STEPS: list[dict[str, Any]] = json.loads(benchmark.RESULTS.read_text(encoding="utf-8"))["steps"]


def test_the_page_shows_what_is_committed() -> None:
    assert benchmark.table(STEPS) in PAGE
    assert [step["network"] for step in STEPS] == list(benchmark.problems())


def test_a_step_takes_no_more_than_the_page_says() -> None:
    resnet, gpt, stacked = (step["times"] for step in STEPS)
    scaled = ("int8", "grad-int4", "grad-luq", "fp8")
    assert all(resnet[one] < 3 for one in scaled)
    assert all(gpt[one] < 3 for one in (*scaled, "mxfp8", "mxfp4"))
    assert all(stacked[one] < 4 for one in scaled)
