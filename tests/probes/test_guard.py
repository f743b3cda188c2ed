"""Measuring alters nothing, also where it fails; and what alters something is caught."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from algobias.probes.guard import Altered, fingerprint, untouched


def _net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    net.train()
    net[1].eval()  # a frozen BatchNorm
    net(torch.randn(5, 3)).sum().backward()
    return net


def _disturb(net: nn.Module) -> None:
    """Everything that measuring usually does to a model."""
    net.train()
    net(torch.randn(9, 3)).square().sum().backward()
    random.random()
    np.random.rand()  # noqa: NPY002
    torch.set_default_dtype(torch.float64)


def _disturb_and_fail(net: nn.Module) -> None:
    _disturb(net)
    raise ZeroDivisionError


def test_everything_is_put_back_module_by_module() -> None:
    net = _net()
    before, grads = fingerprint(net), [p.grad for p in net.parameters()]
    with untouched(net):
        assert not any(module.training for module in net.modules())
        _disturb(net)
    assert fingerprint(net) == before
    assert all(p.grad is kept for p, kept in zip(net.parameters(), grads, strict=True))
    assert net.training
    assert not net[1].training


def test_put_back_after_an_exception_too() -> None:
    net = _net()
    before = fingerprint(net)
    with pytest.raises(ZeroDivisionError), untouched(net, "train"):
        _disturb_and_fail(net)
    assert fingerprint(net) == before


def test_works_inside_no_grad_and_autocast() -> None:
    net = _net()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        before = fingerprint(net)
        with untouched(net):
            out = net(torch.randn(2, 3))
            assert out.requires_grad
            assert out.dtype == torch.float32
        assert fingerprint(net) == before


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize(
    ("what", "alter"),
    [
        ("parameter 0.weight", lambda net: net[0].weight.data.add_(1e-7)),
        ("parameter 0.bias", lambda net: net[0].bias.requires_grad_(False)),
        ("parameter 3.weight", lambda net: setattr(net[3], "weight", nn.Parameter(net[3].weight.clone()))),
        ("module 0", lambda net: net[0].register_forward_hook(lambda *_: None)),
    ],
)
def test_what_is_altered_is_named(what: str, alter: object, failing: bool) -> None:
    net = _net()

    def probe() -> None:
        alter(net)  # type: ignore[operator]
        if failing:
            raise ValueError("the probe fails as well")

    with pytest.raises(Altered, match=what), untouched(net):
        probe()


@pytest.mark.parametrize(
    "alter",
    [
        lambda net: net[1].running_mean.add_(1),
        lambda net: setattr(net[0].weight, "grad", None),
        lambda net: net[0].weight.grad.add_(1),
        lambda net: net[2].train(not net[2].training),
        lambda net: torch.rand(1),
        lambda net: np.random.rand(),  # noqa: NPY002
        lambda net: random.random(),
    ],
)
def test_the_fingerprint_sees_every_kind_of_state(alter: object) -> None:
    net = _net()
    before = fingerprint(net)
    with torch.no_grad():
        alter(net)  # type: ignore[operator]
    assert fingerprint(net) != before
