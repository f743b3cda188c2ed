"""Scale-invariant layers: which are found, effective learning rates, angles, and their equilibrium."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.probes.patterns import cross_entropy
from torch import Tensor, nn

from algobias.probes.families.invariant import angle, scale_invariant
from algobias.probes.measure import measure
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.subject import Subject, Training


def data(*shape: int, n: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, *shape, generator=generator), torch.arange(n) % 3


def normalised(norm: nn.Module, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8, bias=bias), norm, nn.ReLU(), nn.Linear(8, 3))


def read(name: str, model: nn.Module, **about: Any) -> Reading:
    return measure(model, [data(5)], cross_entropy, [name], **about)[0]


@pytest.mark.parametrize(
    ("norm", "bias", "group"),
    [
        (nn.BatchNorm1d(8), True, ("0.weight",)),
        (nn.LayerNorm(8), True, ("0.weight", "0.bias")),
        (nn.LayerNorm(8), False, ("0.weight",)),
        (nn.RMSNorm(8), True, ("0.weight", "0.bias")),
        (nn.GroupNorm(2, 8), False, ("0.weight",)),
    ],
    ids=["batch", "layer with bias", "layer", "rms", "group"],
)
def test_layers_before_a_normalisation_are_found(norm: nn.Module, bias: bool, group: tuple[str, ...]) -> None:
    model = normalised(norm, bias).eval()
    assert scale_invariant(Subject(model, [data(5)], cross_entropy)) == {"0.weight": group}


def test_layers_that_do_nothing_and_plain_layers_are_not() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.idle = nn.Linear(5, 5)
            self.head = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x)

    with pytest.raises(Unavailable, match="no weight matrix is scale-invariant"):
        scale_invariant(Subject(Unused(), [data(5)], cross_entropy))
    plain = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    assert "no weight matrix" in str(read("effective_learning_rate", plain, training=Training(lr=0.1)).reason)


def test_effective_learning_rate() -> None:
    model = normalised(nn.BatchNorm1d(8))
    square = float(model[0].weight.detach().square().sum())
    plain = read("effective_learning_rate", model, training=Training(lr=0.3))
    assert plain.value == pytest.approx(0.3 / square, rel=1e-5)
    heavy = read("effective_learning_rate", model, training=Training(lr=0.3, momentum=0.9))
    assert heavy.value == pytest.approx(3 / square, rel=1e-5)
    adam = read("effective_learning_rate", model, training=Training(lr=0.3, name="adam"))
    assert adam.value == pytest.approx(0.3 / math.sqrt(square), rel=1e-5)
    assert adam.unit != plain.unit
    with torch.no_grad():
        model[0].weight *= 2
    same = read("effective_learning_rate", model, training=Training(lr=1.2))
    assert same.value == pytest.approx(plain.value, rel=1e-5)


def test_the_median_is_over_layers() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.BatchNorm1d(8)]
    model = nn.Sequential(*layers, nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    found = read("effective_learning_rate", model, training=Training(lr=0.1))
    expected = {f"{i}.weight": 0.1 / float(model[i].weight.detach().square().sum()) for i in (0, 2, 4)}
    assert found.parts == pytest.approx(expected, rel=1e-5)
    assert found.value == sorted(found.parts.values())[1]


def test_small_angles_are_accurate() -> None:
    for true in (1e-9, 1e-3, 0.5, 3.0):
        one = torch.tensor([1.0, 0.0], dtype=torch.float64)
        two = 7 * torch.tensor([math.cos(true), math.sin(true)], dtype=torch.float64)
        assert angle(one, two) == pytest.approx(true, rel=1e-6)


def rotated(start: Tensor, by: float, scale: float) -> Tensor:
    """The tensor turned by an angle in a fixed plane, and scaled."""
    across = torch.ones_like(start)
    across -= start * (across * start).sum() / start.square().sum()
    across *= start.norm() / across.norm()
    return scale * (math.cos(by) * start + math.sin(by) * across)


def test_angle_of_planted_rotations() -> None:
    model = normalised(nn.BatchNorm1d(8))
    start = model[0].weight.detach().double()
    turns = {10: 0.0, 11: 0.02, 12: 0.06, 20: 0.5}
    history = [(t, {"0.weight": rotated(start, by, 1 + t / 10)}) for t, by in turns.items()]
    found = read("angular_update", model, history=history)
    assert found.value == pytest.approx(0.03, rel=1e-4)  # the mean of 0.02 and 0.04, one update apart
    assert found.details["pairs"] == 2
    apart = read("angular_update", model, history=[history[0], history[3]])
    assert apart.value == pytest.approx(0.05, rel=1e-4)
    assert "lower bound" in apart.warnings[0]
    assert "two updates" in str(read("angular_update", model, history=history[:1]).reason)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_equilibrium_of_sgd_with_weight_decay(momentum: float) -> None:
    # Gradients of a scale-invariant loss are across the weights and shrink with their norm: here unit noise.
    model = normalised(nn.BatchNorm1d(64), bias=False)
    model[0] = nn.Linear(5, 64, bias=False)
    model[3] = nn.Linear(64, 3)
    lr, decay = 0.1, 0.01
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(64, 5, generator=generator, dtype=torch.float64)
    w *= (lr / (2 * decay * (1 - momentum))) ** 0.25 / w.norm()
    v, history, norms = torch.zeros_like(w), [], []
    for t in range(3000):
        noise = torch.randn(64, 5, generator=generator, dtype=torch.float64)
        noise -= w * (noise * w).sum() / w.square().sum()
        v = momentum * v + noise / noise.norm() / w.norm() + decay * w
        w = w - lr * v
        norms.append(float(w.norm()))
        if t >= 2800:
            history.append((t, {"0.weight": w.clone()}))
    training = Training(lr=lr, momentum=momentum, weight_decay=decay)
    found = read("angular_update", model, history=history, training=training)
    assert found.details["equilibrium"] == pytest.approx(math.sqrt(2 * lr * decay / (1 + momentum)))
    assert found.value == pytest.approx(found.details["equilibrium"], rel=0.03)
    if momentum == 0:
        assert found.details["equilibrium"] == pytest.approx(0.0447, abs=1e-4)
        assert norms[-1] ** 4 == pytest.approx(5.0, rel=0.1)
