"""The average of the weights that a lever evaluates."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from algobias.levers.step import State, Transform
from algobias.levers.update.ema import WeightAverage


def test_the_lever_averages_half_precision_too():
    """As the block does, and what is evaluated has the precision of the weights."""
    start = State(torch.zeros(2, dtype=torch.bfloat16), {"mean": torch.zeros(1, dtype=torch.bfloat16)})
    ones = {"mean": torch.ones(1, dtype=torch.bfloat16)}
    inner = Transform(
        lambda state: {}, lambda grads, memory, state: (replace(state, params=state.params + grads), memory)
    )
    transform = WeightAverage(decay=0.999).update(inner, None)
    state, memory = start, transform.init(start)
    for update in range(1000):
        grads = torch.full((2,), float(update == 500), dtype=torch.bfloat16)
        state, memory = transform.update(grads, memory, replace(state, buffers=ones))
    expected = (1 - 0.999**500) / (1 - 0.999**1000)  # 0 for 500 updates, then 1 for 500
    assert memory["params"].tolist() == pytest.approx([expected] * 2, rel=1e-4)
    assert memory["buffers"]["mean"].item() == pytest.approx(1.0)
    evaluated = transform.weights(state, memory)
    assert evaluated.params.dtype is evaluated.buffers["mean"].dtype is torch.bfloat16
