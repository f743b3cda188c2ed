"""A convolution as the matrix product that it is, for formats whose scales lie along its rows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from algobias.quantised.kinds import LINEAR, ConvolutionKind
from algobias.quantised.operands import Operands
from algobias.quantised.products import product


def by_patches(
    kind: ConvolutionKind,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    key: Tensor,
    operands: Operands,
    training: bool,
) -> Tensor:
    """Convolve [B, C, *space] as the product of its patches, [B, positions, C x kernel], with the weight.

    Memory: the patches, as many times the input as the kernel has places (divided by the stride).

    Args:
        kind: One or two dimensions of space, one group.
        x: Input.
        weight: [O, C, *kernel].
        bias: [O], or None.
        key: What random numbers follow.
        operands: What the operands go through.
        training: Whether the layer trains.
    """
    flat = len(kind.stride) == 1
    kernel, image = weight.shape[2:], x.unsqueeze(2) if flat else x
    lead: tuple[int, ...] = (1,) if flat else ()
    none: tuple[int, ...] = (0,) if flat else ()
    columns = F.unfold(
        image, (*lead, *kernel), (*lead, *kind.dilation), (*none, *kind.padding), (*lead, *kind.stride)
    )
    rows = product(LINEAR, columns.mT, weight.flatten(1), bias, key, operands, training)
    places = [
        (size + 2 * pad - step * (k - 1) - 1) // stride + 1
        for size, pad, step, k, stride in zip(
            x.shape[2:], kind.padding, kind.dilation, kernel, kind.stride, strict=True
        )
    ]
    return rows.mT.reshape(*x.shape[:1], len(weight), *places)


def padded(x: Tensor, layer: torch.nn.modules.conv._ConvNd) -> tuple[Tensor, tuple[int, ...]]:
    """The input with what a layer pads it with, and the zeros that the convolution adds itself, per side."""
    both = layer._reversed_padding_repeated_twice
    if layer.padding_mode != "zeros":
        return F.pad(x, both, mode=layer.padding_mode), (0,) * len(layer.stride)
    sides = list(zip(both[::2], both[1::2], strict=True))[::-1]
    if all(before == after for before, after in sides):
        return x, tuple(before for before, _ in sides)
    return F.pad(x, both), (0,) * len(layer.stride)  # padding="same" of an even kernel
