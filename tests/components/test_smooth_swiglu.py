"""Smooth-SwiGLU: the same function as SwiGLU, to the bit (O30), and what it is for."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from algobias.components.smooth_swiglu import SmoothSwiGLU, power_above
from algobias.errors import BadInput


def plain(net: SmoothSwiGLU, x: Tensor) -> Tensor:
    return net.w3(F.silu(net.w1(x)) * net.w2(x))


def made(scale: str = "token", **options: object) -> tuple[SmoothSwiGLU, Tensor]:
    torch.manual_seed(0)
    return SmoothSwiGLU(6, 16, 5, scale=scale, **options), 10 * torch.randn(2, 7, 6)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", ["token", "channel"])
def test_function_and_gradients_are_those_of_swiglu_to_the_last_bit(scale: str) -> None:
    net, x = made(scale)
    x.requires_grad_()
    outs = [call(x) for call in (net, lambda x: plain(net, x))]
    assert torch.equal(*outs)
    weights = torch.randn_like(outs[0])
    wanted = [torch.autograd.grad((out * weights).sum(), (x, *net.parameters())) for out in outs]
    for ours, theirs in zip(*wanted, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("scale", ["token", "channel"])
def test_with_a_bias_and_in_double_precision(scale: str) -> None:
    net, x = made(scale, bias=True)
    torch.testing.assert_close(net(x), plain(net, x))
    net, x = net.double(), x.double()[0, :3].requires_grad_()
    torch.testing.assert_close(net(x), plain(net, x), rtol=1e-14, atol=1e-14)
    assert torch.autograd.gradcheck(net, (x,)), "the scale has no gradient and needs none"


def test_the_scale_is_a_power_of_two_above_the_largest_entry() -> None:
    size = torch.tensor([0.0, 1e-30, 0.3, 0.5, 1.0, 3.0, 1e30, float("inf"), float("nan")])
    scale = power_above(size)
    assert scale.tolist()[2:6] == [0.5, 1.0, 2.0, 4.0]
    assert scale[0] == scale[-1] == scale[-2] == 1.0
    assert (torch.frexp(scale)[0] == 0.5).all()
    assert power_above(torch.tensor([3.0], dtype=torch.bfloat16)).dtype is torch.bfloat16


@pytest.mark.parametrize("scale", ["token", "channel"])
def test_what_is_rounded_is_the_scaled_product(scale: str) -> None:
    seen: list[Tensor] = []
    net, x = made(scale)
    net.quantise = lambda product: (seen.append(product), product)[1]
    net(x)
    u, gate = net.w2(x), F.silu(net.w1(x))
    largest = u.abs().amax(-1, keepdim=True) if scale == "token" else u.abs().flatten(0, 1).amax(0)
    torch.testing.assert_close(seen[0], gate * u / power_above(largest))
    assert (seen[0].abs() <= gate.abs()).all()


def test_outliers_that_leave_the_range_of_a_format_no_longer_do() -> None:
    """Two aligned rows: the product grows like the square, beyond the 448 of E4M3."""
    net, x = made()
    with torch.no_grad():
        net.w1.weight[0] = net.w2.weight[0] = 4.0
        x = x.abs()
        exact = net(x)

        def rounded(product: Tensor) -> Tensor:
            return product.clamp(-448, 448).to(torch.float8_e4m3fn).float()

        net.quantise = rounded
        smooth = float((net(x) - exact).norm() / exact.norm())
        coarse = net.w3(rounded(F.silu(net.w1(x)) * net.w2(x)))
        assert float((coarse - exact).norm() / exact.norm()) > 0.5
        assert smooth < 0.05


def test_tokens_of_zeros_copies_and_state() -> None:
    net, x = made()
    assert torch.equal(net(torch.zeros(2, 6)), torch.zeros(2, 5))
    assert list(net.state_dict()) == ["w1.weight", "w2.weight", "w3.weight"]
    twin, other = copy.deepcopy(net), SmoothSwiGLU(6, 16, 5, scale="channel")
    other.load_state_dict(net.state_dict())
    assert torch.equal(twin(x), net(x))
    assert torch.equal(other(x), net(x))
    assert "scale=channel" in repr(other)


def test_impossible_settings() -> None:
    for options in ({"features": 0}, {"hidden": 1.5}, {"out": -1}):
        with pytest.raises(BadInput, match=f"smooth_swiglu.{next(iter(options))}"):
            SmoothSwiGLU(**{"features": 4, "hidden": 8, **options})  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="token"):
        SmoothSwiGLU(4, 8, scale="tokens")  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", ["token", "channel"])
def test_no_token_at_all(scale: Any) -> None:
    assert SmoothSwiGLU(8, 16, scale=scale)(torch.zeros(0, 8)).shape == (0, 8)


def test_what_cannot_be_called_is_refused_at_once() -> None:
    with pytest.raises(BadInput, match="quantise"):
        SmoothSwiGLU(8, 16, quantise=3)  # type: ignore[arg-type]
