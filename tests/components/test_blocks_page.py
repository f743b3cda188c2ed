"""docs/blocks.md: its examples for anybody's own loop run, each on its own, and train."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import algobias
from algobias.components.batch_norms import expected_range

PAGE = (Path(__file__).parents[2] / "docs" / "blocks.md").read_text(encoding="utf-8")
START, *EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
NAMES = ["TransposableMask", "mvue_prune", "SmoothSwiGLU", "range_batch_norm", "l1_batch_norm"]


def test_every_block_has_an_example() -> None:
    assert [re.search(r"from algobias import (\w+)", example)[1] for example in EXAMPLES] == NAMES  # type: ignore[index]
    for name in (*NAMES, "RangeBatchNorm", "L1BatchNorm"):
        assert name in algobias.__all__
        assert name in PAGE


def test_the_constants_are_those_of_the_code() -> None:
    told = re.search(r"([\d.]+) for 2 values, ([\d.]+) for 64", PAGE)
    assert told is not None
    assert [round(expected_range(2), 3), round(expected_range(64), 2)] == [
        float(number) for number in told.groups()
    ]


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_the_example_runs_and_trains(example: str) -> None:
    torch.manual_seed(0)
    space: dict[str, Any] = {}
    exec(START, space)
    layer = space["net"][0]
    before = layer.weight.detach().clone()
    exec(example, space)
    assert torch.isfinite(layer.weight).all()
    assert not torch.equal(layer.weight, before)
