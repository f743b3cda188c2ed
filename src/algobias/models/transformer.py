"""Pre-normalised transformer blocks and a decoder for text: norms, activations, positions to choose from."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from algobias.errors import BadInput
from algobias.models.choices import ActivationName, NormName, PositionName


class RMSNorm(nn.Module):
    """``x / sqrt(mean(x^2) + eps) * gain`` over the last dimension (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.gain, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.gain


def make_norm(name: NormName, width: int) -> nn.Module:
    """LayerNorm with gain and bias, or RMSNorm; eps 1e-5."""
    return nn.LayerNorm(width) if name == "layer" else RMSNorm(width)


class FeedForward(nn.Module):
    """Two linear layers with GELU, or SwiGLU: ``down(silu(gate x) * up x)`` (Shazeer 2020); no biases."""

    def __init__(self, width: int, hidden: int, activation: ActivationName) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)
        self.gate = nn.Linear(width, hidden, bias=False) if activation == "swiglu" else None

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        if self.gate is None:
            inside = nn.functional.gelu(self.up(x))
        else:
            inside = nn.functional.silu(self.gate(x)) * self.up(x)
        result: Tensor = self.down(inside)
        return result


def rotate(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Rotary positions (Su et al. 2021): pairs (i, i + d/2) of place t turned by ``t base^(-2i/d)``.

    Products of queries and keys then depend on the difference of their places only.

    Args:
        x: [..., T, d], d even.
        base: Of the angles.
    """
    half = x.shape[-1] // 2
    places = torch.arange(x.shape[-2], device=x.device, dtype=x.dtype)
    speeds = base ** (-torch.arange(half, device=x.device, dtype=x.dtype) / half)
    angle = places[:, None] * speeds
    one, two = x[..., :half], x[..., half:]
    cosine, sine = angle.cos(), angle.sin()
    return torch.cat([one * cosine - two * sine, one * sine + two * cosine], -1)


class Attention(nn.Module):
    """Attention with several heads; no biases.

    ``stacks`` is False: there is no fast kernel for several networks at once, which are trained one by one.

    Args:
        width: d, a multiple of ``heads``.
        heads: Number of heads.
        rotary: Rotary positions for queries and keys.

    Raises:
        BadInput: Heads that do not divide the width, or an odd head with rotary positions.
    """

    stacks = False

    def __init__(self, width: int, heads: int, rotary: bool = False) -> None:
        super().__init__()
        if width % heads or (rotary and (width // heads) % 2):
            raise BadInput(
                "heads", heads, f"a divisor of the width of {width} (even heads with rotary positions)"
            )
        self.heads, self.rotary = heads, rotary
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(
        self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """What each place of x takes from ``memory`` (from x itself without it), [..., T, width].

        Args:
            x: [..., T, width].
            memory: [..., S, width].
            mask: True where a place may be looked at, broadcast to [..., heads, T, S].
            causal: Places look at themselves and earlier ones only.
        """
        source = x if memory is None else memory
        q, k, v = self._split(self.query(x)), self._split(self.key(source)), self._split(self.value(source))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        seen = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        result: Tensor = self.out(seen.transpose(-2, -3).flatten(-2))
        return result

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], self.heads, -1).transpose(-2, -3)


class Block(nn.Module):
    """``x + attention(norm x)``, then ``x + feed_forward(norm x)``; with attention to a memory in between.

    Args:
        width: d.
        heads: Number of heads.
        hidden: Inner width of the feed-forward layer.
        norm: Which norm.
        activation: Which activation.
        rotary: Rotary positions in the attention of x to itself.
        cross: Whether there is a memory.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        norm: NormName = "layer",
        activation: ActivationName = "swiglu",
        rotary: bool = False,
        cross: bool = False,
    ) -> None:
        super().__init__()
        self.norm1, self.attention = make_norm(norm, width), Attention(width, heads, rotary)
        self.norm2, self.feed = make_norm(norm, width), FeedForward(width, hidden, activation)
        self.norm3 = make_norm(norm, width) if cross else None
        self.cross = Attention(width, heads) if cross else None

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """[..., T, width] -> [..., T, width]."""
        x = x + self.attention(self.norm1(x), mask=mask, causal=causal)
        if self.cross is not None and self.norm3 is not None:
            x = x + self.cross(self.norm3(x), memory, memory_mask)
        result: Tensor = x + self.feed(self.norm2(x))
        return result


class GPT(nn.Module):
    """A causal decoder: token and position embeddings, blocks, a last norm, a linear head.

    Args:
        tokens: Size of the vocabulary.
        context: Longest input, T.
        layers: Blocks.
        width: d.
        heads: Heads of each block.
        hidden: Inner width of the feed-forward layers.
        norm: ``layer`` or ``rms``.
        activation: ``gelu`` or ``swiglu``.
        positions: ``learned`` or ``rotary``.
        tied: The head's weights are the token embedding's.
        std: Deviation of all initial matrices and embeddings.
    """

    def __init__(
        self,
        tokens: int,
        context: int,
        layers: int = 2,
        width: int = 64,
        heads: int = 4,
        hidden: int = 160,
        norm: NormName = "layer",
        activation: ActivationName = "swiglu",
        positions: PositionName = "learned",
        tied: bool = False,
        std: float = 0.02,
    ) -> None:
        super().__init__()
        self.context = context
        self.token = nn.Embedding(tokens, width)
        self.position = nn.Parameter(torch.empty(context, width)) if positions == "learned" else None
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, norm, activation, positions == "rotary") for _ in range(layers)
        )
        self.norm, self.head = make_norm(norm, width), nn.Linear(width, tokens, bias=False)
        normal_(self, std)
        if tied:
            self.head.weight = self.token.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., T] token numbers -> [..., T, tokens] logits of the next one.

        Raises:
            BadInput: An input longer than the context.
        """
        length = tokens.shape[-1]
        if length > self.context:
            raise BadInput("context", length, f"at most {self.context} tokens")
        x = self.token(tokens)
        if self.position is not None:
            x = x + self.position[:length]
        for block in self.blocks:
            x = block(x, causal=True)
        result: Tensor = self.head(self.norm(x))
        return result


def normal_(net: nn.Module, std: float) -> None:
    """Every tensor with two or more dimensions drawn from a normal distribution, in the order of its name."""
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, std)


def sinusoidal(length: int, width: int) -> Tensor:
    """Fixed positions (Vaswani et al. 2017), [T, width]."""
    places = torch.arange(length).float()[:, None]
    speeds = torch.exp(-math.log(10_000.0) * torch.arange(0, width, 2).float() / width)
    table = torch.zeros(length, width)
    table[:, 0::2], table[:, 1::2] = (places * speeds).sin(), (places * speeds).cos()[:, : width // 2]
    return table
