"""Straight-through rounding: the gradient is a step function, and no curvature is read from it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import algobias


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (4 * x).round() / 4

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class Quantised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = Rounded.apply(self.layer(x))
        return out


class QuantisedWeights(Quantised):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, Rounded.apply(self.layer.weight), self.layer.bias)


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def batch(seed: int) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(60, 6, generator=drawn), torch.randint(3, (60,), generator=drawn)


@pytest.mark.parametrize("probe", ["top_eigenvalue", "trace", "spectral_density"])
@pytest.mark.parametrize("seed", range(12))
def test_a_network_of_which_all_is_rounded_has_no_curvature(probe: str, seed: int) -> None:
    reading, norm = algobias.measure(Quantised(), [batch(seed)], loss, [probe, "gradient_norm"])
    assert norm.value > 0
    assert (reading.value, reading.status) == (None, "unavailable")
    assert "changes in steps" in reading.reason


def test_a_network_of_which_a_part_is_rounded_has_none_either() -> None:
    reading = algobias.measure(QuantisedWeights(), [batch(0)], loss, ["top_eigenvalue"])[0]
    assert reading.status == "unavailable"
    assert "no second derivative" in reading.reason
