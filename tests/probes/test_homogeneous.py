"""Smoothed margin: closed forms, its bounds, its monotone growth, and what is not homogeneous."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from tests.probes.patterns import cross_entropy
from torch import Tensor, nn
from torch.nn import functional

from algobias.probes.families.homogeneous import homogeneity
from algobias.probes.measure import measure
from algobias.probes.reading import Reading
from algobias.probes.subject import Subject


def read(model: nn.Module, batches: list[Any], loss: Any = cross_entropy) -> Reading:
    return measure(model, batches, loss, ["smoothed_margin"])[0]


def net(bias: bool = False, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 16, bias=bias), act(), nn.Linear(16, 8, bias=bias), act(), nn.Linear(8, 3, bias=bias)
    ).double()


def separable(n: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    y = torch.arange(n) % 3
    x = 2 * torch.eye(3, dtype=torch.float64)[y]
    return x + 0.3 * torch.randn(n, 3, generator=generator, dtype=torch.float64), y


def exponential(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return torch.exp(-model(batch[0])[:, 0] * (2 * batch[1] - 1)).mean()


def test_cross_entropy_of_a_linear_model() -> None:
    model = nn.Linear(3, 3, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(3 * torch.eye(3))
    x, y = separable()
    scores = 3 * x.numpy()
    each = np.log(np.exp(scores).sum(1)) - scores[np.arange(24), y]
    found = read(model, [(x[:20], y[:20]), (x[20:], y[20:])])
    assert found.value == pytest.approx(-math.log(math.exp(each.sum()) - 1) / (3 * 3**0.5), rel=1e-9)
    assert found.details["degree"] == 1
    assert found.details["summed_loss"] == pytest.approx(each.sum())


def test_exponential_loss_of_a_linear_model() -> None:
    model = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.6, 0.8]], dtype=torch.float64))
    x = torch.tensor([[1.0, 2.0], [-3.0, -1.0], [0.5, 4.0]], dtype=torch.float64)
    found = read(model, [(x, torch.tensor([1, 0, 1]))], exponential)
    margins = np.array([0.6 + 1.6, 1.8 + 0.8, 0.3 + 3.2])
    assert found.value == pytest.approx(math.log(1 / np.exp(-margins).sum()), rel=1e-9)
    assert found.details["loss"] == "exponential"
    assert found.parts["smallest margin over ||w||^L"] == pytest.approx(2.2)


def test_degree_of_deeper_networks() -> None:
    batch = separable()
    assert homogeneity(Subject(net(), [batch], cross_entropy)) == 3
    squared = nn.Sequential(nn.Linear(3, 4, bias=False), Square(), nn.Linear(4, 3, bias=False)).double()
    assert homogeneity(Subject(squared, [batch], cross_entropy)) == 3


class Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.square()


def test_it_lies_below_the_smallest_margin_and_near_it_for_large_weights() -> None:
    model, batch = nn.Linear(3, 3, bias=False).double(), separable()
    with torch.no_grad():
        model.weight.copy_(torch.eye(3) + 0.1 * torch.ones(3, 3))
    gaps = []
    for scale in (4.0, 20.0, 100.0):
        with torch.no_grad():
            model.weight.mul_(scale / model.weight.norm())
        found = read(model, [batch])
        smallest = found.parts["smallest margin over ||w||^L"]
        assert found.value <= smallest
        gaps.append(smallest - found.value)
    assert gaps[2] < gaps[1] < gaps[0]
    # At most log(24 examples x 2 other classes) over the norm.
    assert gaps[2] <= math.log(48) / 100


def test_gradient_descent_does_not_decrease_it() -> None:
    model, batch = net(), separable()
    path = []
    for step in range(320):
        loss = cross_entropy(model, batch)
        grads = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for p, g in zip(model.parameters(), grads, strict=True):
                p -= 0.15 * g
        if step % 40 == 39:
            found = read(model, [batch])
            if found.details["summed_loss"] < math.log(2):
                assert not any("log 2" in one for one in found.warnings)
                path.append(found.value)
    assert len(path) >= 4
    assert path == sorted(path)
    assert path[-1] > 1.2 * path[0]


def test_before_the_fit_it_is_told() -> None:
    assert any("above log 2" in one for one in read(net(), [separable()]).warnings)


@pytest.mark.parametrize(
    "model",
    [net(bias=True), net(act=nn.Tanh), nn.Sequential(net(), nn.LayerNorm(3).double())],
    ids=["bias", "tanh", "normalised"],
)
def test_other_networks_have_a_reason(model: nn.Module) -> None:
    found = read(model, [separable()])
    assert found.status == "unavailable"
    assert "homogeneous" in str(found.reason)


def test_networks_without_scale_have_a_reason() -> None:
    class Direction(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.eye(3, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight / self.weight.norm()

    assert "hardly depend on the scale" in str(read(Direction(), [separable()]).reason)


def test_other_losses_have_a_reason() -> None:
    def squared(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (model(batch[0]) - functional.one_hot(batch[1], 3)).square().mean()

    assert "neither cross-entropy" in str(read(net(), [separable()], squared).reason)
