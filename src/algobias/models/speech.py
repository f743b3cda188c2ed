"""Small networks over frames of sound; padding never changes what they say."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from algobias.models.transformer import Attention, FeedForward


class MaskedConv(nn.Module):
    """A convolution over time of [B, T, C] whose padded frames are zero before and after.

    Args:
        inside: Channels in.
        out: Channels out.
        size: Frames of the kernel, odd.
        groups: Groups of channels.
    """

    def __init__(self, inside: int, out: int, size: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inside, out, size, padding=size // 2, groups=groups)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """[B, T, inside], [B, T, 1] -> [B, T, out]."""
        result: Tensor = self.conv((x * there).transpose(-1, -2)).transpose(-1, -2) * there
        return result


class SpeechConvNet(nn.Module):
    """Three convolutions over time with LayerNorm over channels and ReLU, mean over frames, a linear layer.

    Args:
        bands: Bands of a frame; its last channel says whether there is one.
        classes: Number of classes.
        width: Channels.
    """

    def __init__(self, bands: int, classes: int, width: int = 64) -> None:
        super().__init__()
        sides = (bands, width, width, width)
        self.convs = nn.ModuleList(MaskedConv(a, b, 5) for a, b in itertools.pairwise(sides))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.convs)
        self.head = nn.Linear(width, classes)

    def forward(self, frames: Tensor) -> Tensor:
        """[B, T, bands + 1] -> [B, classes]."""
        x, there = frames[..., :-1], frames[..., -1:]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norm(conv(x, there)))
        result: Tensor = self.head(frame_mean(x, there))
        return result


class ConformerBlock(nn.Module):
    """Half a feed-forward layer, attention, a depthwise convolution, another half (Gulati et al. 2020)."""

    def __init__(self, width: int, heads: int, size: int = 9) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(5))
        self.first, self.second = (FeedForward(width, 2 * width, "swiglu") for _ in range(2))
        self.attention = Attention(width, heads, rotary=True)
        self.gate, self.depth = nn.Linear(width, 2 * width), MaskedConv(width, width, size, groups=width)
        self.mix = nn.Linear(width, width)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """[B, T, width], [B, T, 1] -> [B, T, width]."""
        x = x + 0.5 * self.first(self.norms[0](x))
        mask = (there.squeeze(-1) > 0)[:, None, None, :]
        x = x + self.attention(self.norms[1](x), mask=mask)
        inside = nn.functional.glu(self.gate(self.norms[2](x)), -1)
        x = x + self.mix(nn.functional.silu(self.depth(inside, there)))
        x = x + 0.5 * self.second(self.norms[3](x))
        result: Tensor = self.norms[4](x)
        return result


class Conformer(nn.Module):
    """A small conformer: every second frame, blocks, mean over frames, a linear layer.

    Args:
        bands: Bands of a frame; its last channel says whether there is one.
        classes: Number of classes.
        width: d.
        layers: Blocks.
        heads: Heads of each.
    """

    def __init__(self, bands: int, classes: int, width: int = 64, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.start = MaskedConv(bands, width, 5)
        self.blocks = nn.ModuleList(ConformerBlock(width, heads) for _ in range(layers))
        self.head = nn.Linear(width, classes)

    def forward(self, frames: Tensor) -> Tensor:
        """[B, T, bands + 1] -> [B, classes]."""
        x, there = frames[..., :-1], frames[..., -1:]
        x = torch.relu(self.start(x, there))[:, ::2]
        there = there[:, ::2]
        for block in self.blocks:
            x = block(x, there)
        result: Tensor = self.head(frame_mean(x, there))
        return result


def frame_mean(x: Tensor, there: Tensor) -> Tensor:
    """Mean over the frames that are there, [B, T, C] -> [B, C]."""
    return (x * there).sum(-2) / there.sum(-2).clamp(min=1)
