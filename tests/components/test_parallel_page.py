"""docs/parallel.md: its examples for anybody's own loop run, each on its own, and train."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

PAGE = (Path(__file__).parents[2] / "docs" / "parallel.md").read_text(encoding="utf-8")
START, *EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
NAMES = [
    "ghost_batch_norm",
    "RepeatAugment",
    "DelayedGradients",
    "ShiftedMomentum",
    "LocalSGD",
    "DropCompute",
    "SAM",
    "ErrorFeedback",
]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A process group of this process only, as an example asks for."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_every_component_has_an_example() -> None:
    imported = [re.search(r"from algobias\S* import (\w+)", example) for example in EXAMPLES]
    assert [found.group(1) for found in imported if found] == NAMES
    for name in NAMES:
        assert name in PAGE.split("## In your own loop")[0], "the table names it too"


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_the_example_runs_and_trains(example: str, alone: None) -> None:
    torch.manual_seed(0)
    space: dict[str, Any] = {}
    exec(START, space)
    before = space["net"][0].weight.detach().clone()
    exec(example, space)
    after = space["net"][0].weight
    assert torch.isfinite(after).all()
    assert not torch.equal(after, before)
    if "saved" in space:
        assert space["saved"]["epoch"] == 2
