"""SwiGLU whose product is scaled before it is rounded, and back behind the last layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from algobias.components.given import whole
from algobias.errors import BadInput, unknown_name

Scale = Literal["token", "channel"]


class SmoothSwiGLU(nn.Module):
    """SwiGLU with its linear branch scaled to at most 1 before the product is rounded.

    With the gate g = W1 x and the linear branch u = W2 x, plain SwiGLU is ``W3 (silu(g) u)``. Where the rows
    of W1 and W2 align, the product grows like the square of x and leaves the range of 8-bit formats. Here::

        y = s W3 Q(silu(g) (u / s))

    s, per token, is the largest |u| over the channels, rounded up to a power of two (so that scaling itself
    rounds nothing); no gradient goes through it. ``channel``: one s for each channel, the largest |u| over
    all tokens of the call, which then stands at the columns of W3. Without ``quantise`` the function and its
    gradients are those of plain SwiGLU, to the last bit where nothing underflows and W3 has no bias. Source:
    Fishman, Chmiel, Banner, Soudry, Scaling FP8 training to trillion-token LLMs, 2025 (the paper's scale is
    per channel, the code published with it per token).

    Args:
        features: Width of x.
        hidden: Width of both branches.
        out: Width of y; ``features`` without it.
        bias: Whether the three layers have one.
        scale: What has a scale of its own.
        quantise: Q, given the scaled product, [..., hidden]; its gradient is its own business.

    Raises:
        BadInput: A width that is no whole number above 0, no such scale, or something that cannot be called.

    Example:
        >>> import torch; _ = torch.manual_seed(0)
        >>> plain, smooth = (SmoothSwiGLU(4, 8), SmoothSwiGLU(4, 8))
        >>> _ = smooth.load_state_dict(plain.state_dict()); x = 100 * torch.randn(3, 4)
        >>> def rounded(h): return h + (h.half().float() - h).detach()     # float16 ends at 65,504
        >>> smooth.quantise = rounded
        >>> bool(torch.allclose(smooth(x), plain(x), rtol=1e-2))
        True
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        out: int | None = None,
        *,
        bias: bool = False,
        scale: Scale = "token",
        quantise: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        features = whole("smooth_swiglu.features", features, 1)
        hidden = whole("smooth_swiglu.hidden", hidden, 1)
        out = features if out is None else whole("smooth_swiglu.out", out, 1)
        if scale not in ("token", "channel"):
            raise unknown_name("smooth_swiglu.scale", str(scale), ["token", "channel"])
        if quantise is not None and not callable(quantise):
            raise BadInput("smooth_swiglu.quantise", quantise, "a function of the scaled product, or None")
        self.scale: Scale = scale
        self.quantise = quantise
        self.w1 = nn.Linear(features, hidden, bias=bias)
        self.w2 = nn.Linear(features, hidden, bias=bias)
        self.w3 = nn.Linear(hidden, out, bias=bias)

    def extra_repr(self) -> str:
        """What has a scale."""
        return f"scale={self.scale}"

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., features] to [..., out]."""
        gate, linear = F.silu(self.w1(x)), self.w2(x)
        size = linear.detach().abs()
        if self.scale == "token":
            scale = power_above(size.amax(-1, keepdim=True))
            product = self._rounded(gate * (linear / scale))
            found = scale * F.linear(product, self.w3.weight)
        else:
            rows = size.reshape(-1, size.shape[-1])
            scale = power_above(rows.amax(0) if len(rows) else rows.new_ones(rows.shape[-1]))
            product = self._rounded(gate * (linear / scale))
            found = F.linear(product, self.w3.weight * scale)
        return found if self.w3.bias is None else found + self.w3.bias

    def _rounded(self, product: Tensor) -> Tensor:
        return product if self.quantise is None else self.quantise(product)


def power_above(size: Tensor) -> Tensor:
    """The least power of two that is above a magnitude; 1 where that is zero or not finite."""
    usable = size.isfinite() & (size > 0)
    wide = torch.where(usable, size, torch.ones_like(size)).float()
    mantissa, _ = torch.frexp(wide)
    return torch.where(usable, wide / mantissa, torch.ones_like(wide)).to(size.dtype)
