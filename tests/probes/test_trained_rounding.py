"""The gradient as it is trained in low precision, against roundings by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from algobias.numerics.quantiser import parse_quantiser
from algobias.probes.families.trained_rounding import Errors, GradientAsTrained
from algobias.probes.measure import measure
from algobias.probes.reading import Reading
from algobias.probes.subject import Training
from algobias.quantised.layers import round_layers
from algobias.quantised.operands import Operands

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
Y = torch.randint(3, (64,), generator=torch.Generator().manual_seed(1))


def network(spelling: dict[str, str], depth: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    net = (
        nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        if depth > 1
        else nn.Sequential(nn.Linear(8, 3))
    )
    if spelling:
        round_layers(net, lambda name, module: Operands.read(spelling))
    return net.eval()


def reading(net: nn.Module, size: int = 64, **options: int) -> Reading:
    (found,) = measure(
        net,
        [(X, Y)],
        lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        probes=[GradientAsTrained(**options)],
        training=Training(lr=0.1, batch=size),
    )
    return found


def test_of_one_layer_it_is_the_rounding_of_one_product() -> None:
    found = reading(network({"wg": "int4"}, depth=1), batches=1)
    plain = network({}, depth=1)
    logits = plain(X)
    g = torch.autograd.grad(F.cross_entropy(logits, Y), logits)[0]
    weight = (g.T @ X).double()
    error = (parse_quantiser("int4")(g.T[None])[0] @ X).double() - weight
    size = weight.square().sum() + g.sum(0).double().square().sum()  # the bias's gradient is not rounded
    assert found.value == pytest.approx(float((size / error.square().sum()).sqrt()), rel=1e-4)
    assert found.parts["weight_gradient"] == pytest.approx(found.value)
    assert "forward" not in found.parts
    assert found.parts["0"] == pytest.approx(
        float((weight.square().sum() / error.square().sum()).sqrt()), rel=1e-4
    )
    assert found.parts["bias"] == pytest.approx(1 / found.value, rel=1e-4)
    assert found.parts["variance"] == pytest.approx(0, abs=1e-6)


def test_bias_and_noise_of_the_gradient_are_told_apart() -> None:
    near = reading(network({"wg": "int4", "dg": "int4"}), batches=1, repeats=8)
    drawn = reading(network({"wg": "int4-sr", "dg": "int4-sr"}), batches=1, repeats=64)
    assert near.parts["variance"] == pytest.approx(0, abs=1e-6)
    assert drawn.parts["variance"] > 0.004
    assert drawn.parts["bias"] < near.parts["bias"]
    assert drawn.parts["bias"] ** 2 < 0.1 * drawn.parts["variance"]


def test_errors_of_products_add_up_where_they_are_independent() -> None:
    found = reading(network({"wg": "int4-sr", "dg": "int4-sr"}), batches=1, repeats=128)
    by = [1 / found.parts[name] ** 2 for name in ("input_gradient", "weight_gradient")]
    assert 1 / found.value**2 == pytest.approx(sum(by), rel=0.15)


def test_batches_are_of_the_size_of_the_training_and_all_of_their_errors_count() -> None:
    small = reading(network({"fx": "int2", "fw": "int2", "wg": "int2", "dg": "int2"}), size=8)
    assert small.value < math.sqrt(3)
    assert small.warnings
    assert small.details["batches"] == 4


def test_a_network_in_float32_has_none() -> None:
    assert "no layer of this network is rounded" in str(reading(network({})).reason)


def test_everything_is_as_it_was() -> None:
    net = network({"fx": "int8", "wg": "luq"})
    before = {name: b.clone() for name, b in net.named_buffers()}
    operands, modes = net[0].operands, [m.training for m in net.modules()]
    first = reading(net)
    assert first.value == reading(net).value
    assert net[0].operands is operands
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(before[name], b) for name, b in net.named_buffers())


def test_the_noise_of_few_repetitions_is_no_bias() -> None:
    """Four errors of mean m and variance 1: |m|^2, and not that and a quarter of the entries' number."""
    made = torch.Generator().manual_seed(0)
    noise = torch.randn(4, 4000, generator=made, dtype=torch.float64)
    for mean in (0.0, 0.5):
        errors = Errors()
        errors.add(torch.ones(4000, dtype=torch.float64), noise + mean)
        assert errors.bias == pytest.approx(4000 * mean**2, abs=150)
        assert errors.error == pytest.approx(4000 * (1 + mean**2), rel=0.05)
        assert errors.size == 4000
