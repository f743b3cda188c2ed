"""Scale of the initial weights: outputs of homogeneous networks, and an exact reparametrisation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from algobias.errors import BadInput
from algobias.levers.registry import parse
from algobias.tasks.registry import load_task
from algobias.training.setup import Setup


def network(lever: str) -> nn.Module:
    digits = load_task("digits")
    return Setup(parse(lever).apply(digits.recipe()), digits, torch.device("cpu")).network._build(0)


def test_outputs_grow_with_the_depth() -> None:
    """Three layers, biases scaled too: c cubed, up to the biases of the layers below (degrees 1 and 2)."""
    plain, x = network("init:1"), torch.randn(5, 64)
    for layer in plain.modules():
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
    for factor in (0.5, 3.0):
        scaled = network(f"init:{factor}")
        for layer in scaled.modules():
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)
        torch.testing.assert_close(scaled(x), factor**3 * plain(x), rtol=1e-4, atol=1e-6)


def test_what_is_scaled() -> None:
    plain, matrices, everything = network("init:1"), network("init:4"), network("init:4,only=all")
    for one, two, three in zip(
        plain.parameters(), matrices.parameters(), everything.parameters(), strict=True
    ):
        assert torch.equal(two, 4 * one if one.dim() > 1 else one)
        assert torch.equal(three, 4 * one)


def test_shared_weights_are_scaled_once() -> None:
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    before = net[0].weight.detach().clone()
    parse("init:2").model(net)  # type: ignore[attr-defined]
    assert torch.equal(net[1].weight, 2 * before)


@pytest.mark.parametrize("text", ["init:0", "init:-1", "init:2,only=biases", "init"])
def test_impossible_scales_are_told(text: str) -> None:
    with pytest.raises(BadInput, match=r"factor|only|init"):
        parse(text)
