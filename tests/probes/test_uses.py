"""A weight that is used twice counts twice in a product of norms, however the network uses it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, linear, max_pool2d
from torch.utils.checkpoint import checkpoint

from algobias.probes.measure import measure
from algobias.probes.passes.uses import uses
from algobias.probes.subject import Subject


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    out = model(batch[0])
    decay = sum(p.square().sum() for p in model.parameters())  # a penalty is no use of a weight
    return cross_entropy(out.flatten(0, -2), batch[1].flatten()) + 1e-3 * decay


class By(nn.Module):
    """Three units, one matrix ``a`` of spectral norm 3, used as ``forward`` says."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], build: Any = None) -> None:
        super().__init__()
        self.a = nn.Linear(3, 3, bias=False)
        nn.init.eye_(self.a.weight)
        with torch.no_grad():
            self.a.weight.mul_(torch.tensor([3.0, 2.0, 1.0]))
        if build is not None:
            build(self)
        self.by = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.by(self, x)


def _tied(net: Any) -> None:
    net.b = nn.Linear(3, 3, bias=False)
    net.b.weight = net.a.weight


def _frozen(net: Any) -> None:
    net.a.weight.requires_grad_(False)
    net.b = nn.Linear(3, 3, bias=False)
    nn.init.eye_(net.b.weight)


def _unused(net: Any) -> None:
    net.spare = nn.Linear(3, 7, bias=False)


def _recurrent(net: Any) -> None:
    net.cell = net.a


CASES = {
    "once": (1, lambda n, x: n.a(x), None),
    "called twice": (2, lambda n, x: n.a(n.a(x)), None),
    "by hand": (2, lambda n, x: linear(linear(x, n.a.weight), n.a.weight), None),
    "tied": (2, lambda n, x: n.b(n.a(x)), _tied),
    "one view used twice": (2, lambda n, x: (lambda w: x @ w @ w)(n.a.weight.T), None),
    "squared first": (2, lambda n, x: x @ (n.a.weight @ n.a.weight), None),
    "every step": (4, lambda n, x: [h := x, *(h := n.a(h).relu() for _ in range(4))][-1], None),
    "checkpointed": (2, lambda n, x: n.a(checkpoint(n.a, x, use_reentrant=False)), None),
    "frozen": (2, lambda n, x: n.b(n.a(n.a(x))), _frozen),
    "one unused": (1, lambda n, x: n.a(x), _unused),
}


@pytest.mark.parametrize("name", CASES)
def test_products_count_every_use(name: str) -> None:
    torch.manual_seed(0)
    count, forward, build = CASES[name]
    model, batch = By(forward, build), (torch.randn(6, 3), torch.arange(6) % 3)
    assert uses(Subject(model, [batch], loss))["a.weight"] == count
    probes = ["spectral_product", "frobenius_product", "margin_spectral", "margin_linf", "margin_raw:0.1"]
    spectral, frobenius, margin, linf, raw = measure(model, [batch], loss, probes)
    identity = math.sqrt(3) if name == "frozen" else 1.0
    assert spectral.value == pytest.approx(3.0**count)
    assert frobenius.value == pytest.approx(math.sqrt(14) ** count * identity)
    assert margin.value == pytest.approx(raw.value / 3.0**count)
    assert linf.value == pytest.approx(raw.value / 3.0**count)
    assert raw.twin.value == pytest.approx(raw.value / frobenius.value)
    assert spectral.details["uses"].get("a.weight", 1) == count


def test_the_product_bounds_the_slope_of_a_net_with_a_shared_layer() -> None:
    model, batch = By(lambda n, x: n.a(n.a(x))), (torch.eye(3), torch.arange(3))
    steepest = float(torch.linalg.matrix_norm(model(torch.eye(3)), 2))
    assert steepest == pytest.approx(9)
    assert measure(model, [batch], loss, ["spectral_product"])[0].value == pytest.approx(9)


class Shared(nn.Module):
    """One convolution on two sizes of images, and once more by hand."""

    def __init__(self, by_hand: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.by_hand = by_hand

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.conv(x))
        x = self.conv(max_pool2d(x, 2))
        if self.by_hand:
            x = conv2d(x, self.conv.weight, padding=1)
        return x.mean((2, 3))


def test_a_convolution_on_images_of_two_sizes() -> None:
    torch.manual_seed(0)
    model, batch = Shared(False).double(), (torch.randn(5, 2, 6, 6).double(), torch.arange(5) % 2)
    found = measure(model, [batch], loss, ["spectral_product"])[0]
    norms = []
    for size in (6, 3):
        columns = model.conv(torch.eye(2 * size * size).double().view(-1, 2, size, size)).flatten(1)
        norms.append(float(torch.linalg.matrix_norm(columns, 2).detach()))
    assert found.value == pytest.approx(norms[0] ** 2 * norms[1], rel=1e-4)
    assert sorted(found.parts) == ["conv.weight on 2x3x3", "conv.weight on 2x6x6"]
    told = measure(Shared(True).double(), [batch], loss, ["spectral_product", "frobenius_product"])
    assert "beside its convolutions" in (told[0].reason or "")
    assert told[1].details["uses"] == {"conv.weight": 4}


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_recurrent_layer_counts_its_calls(kind: str, dtype: torch.dtype) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = getattr(nn, kind)(3, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.layer(x)[0])[0][:, -1]

    model, batch = Net().to(dtype), (torch.randn(4, 5, 3, dtype=dtype), torch.arange(4) % 3)
    assert set(uses(Subject(model, [batch], loss)).values()) == {2}


def test_attention_uses_its_packed_matrices_once() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x + 1, x + 2)[0]

    model, batch = Net().eval(), (torch.randn(4, 5, 4), torch.arange(20).view(4, 5) % 4)
    assert set(uses(Subject(model, [batch], loss)).values()) == {1}


@pytest.mark.parametrize("norm", ["parametrizations", "old"])
@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm"])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_weights_that_are_computed_have_no_product(norm: str, kind: str) -> None:
    home = nn.utils.parametrizations if norm == "parametrizations" else nn.utils
    model = nn.Sequential(getattr(home, kind)(nn.Linear(3, 3)))
    batch = (torch.randn(4, 3), torch.arange(4) % 3)
    for found in measure(model, [batch], loss, ["spectral_product", "margin_frobenius"]):
        assert "computed from other parameters" in (found.reason or "")


def test_what_cannot_be_counted_is_unavailable() -> None:
    batch = (torch.randn(4, 3), torch.arange(4) % 3)

    def hidden(net: Any, x: Tensor) -> Tensor:
        return checkpoint(net.a, x.requires_grad_(), use_reentrant=True)

    for forward, said in (
        (hidden, "use_reentrant"),
        (lambda n, x: n.a(x).detach() + 0 * n.bias, "uses none"),
    ):
        model = By(forward)
        model.bias = nn.Parameter(torch.zeros(3))
        found = measure(model, [batch], loss, ["frobenius_product"])[0]
        assert found.status == "unavailable"
        assert said in (found.reason or "")
