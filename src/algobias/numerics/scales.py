"""Scales of what shares one: powers of two (E8M0), and E4M3 times one for the tensor."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from algobias.numerics.formats import Format, parse_format
from algobias.numerics.rounding import round_scales
from algobias.numerics.rules import Rule, Scale

E4M3 = parse_format("e4m3")
SPARE = 256.0
"""Largest block scale of four-over-six before a block is scaled to 4 instead of 6: times 1.5 it is 384."""


def split(x: Tensor, scale: Scale) -> Tensor:
    """Show what shares a scale in dimensions of its own, in as few as broadcasting needs.

    Shapes: ``x`` [..., R, C] becomes [..., R C] (one scale for the matrix), [..., R, C] (for a row),
    [..., R, C / size, size] (for a block), [..., R / size, size, C / size, size] (for a tile).
    """
    size = scale.size
    if scale.over in ("none", "tensor"):
        return x.flatten(-2)
    if scale.over == "row":
        return x
    down = -x.shape[-2] % size if scale.over == "tile" else 0
    over = -x.shape[-1] % size
    if down or over:
        x = torch.nn.functional.pad(x, (0, over, 0, down))
    if scale.over == "block":
        return x.reshape(*x.shape[:-1], x.shape[-1] // size, size)
    return x.reshape(*x.shape[:-2], x.shape[-2] // size, size, x.shape[-1] // size, size)


def join(parts: Tensor, scale: Scale, shape: torch.Size) -> Tensor:
    """Undo :func:`split`; ``shape`` is that of the matrix."""
    if scale.over == "tile":
        parts = parts.flatten(-4, -3).flatten(-2)
    elif scale.over == "block":
        parts = parts.flatten(-2)
    else:
        return parts.reshape(shape)
    if parts.shape != shape:
        parts = parts[..., : shape[-2], : shape[-1]]
    return parts


def largest_of(parts: Tensor, scale: Scale) -> Tensor:
    """Largest magnitude of what shares a scale; not a number where one of them is.

    Shapes: as :func:`split` gives them, reduced dimensions kept as 1.
    """
    if scale.over == "tensor":
        # Two passes that read only, instead of one that writes magnitudes.
        return torch.maximum(parts.amax(-1, keepdim=True), -parts.amin(-1, keepdim=True))
    # Bits of magnitudes are ordered as magnitudes are, and integers are compared faster.
    if parts.dtype == torch.float32:
        bits = torch.bitwise_and(parts.view(torch.int32), 0x7FFFFFFF)
    else:
        bits = torch.bitwise_and(parts.view(torch.int64), 0x7FFFFFFFFFFFFFFF)
    bits = bits.amax(-1, keepdim=True)
    if scale.over == "tile":
        bits = bits.amax(-3, keepdim=True)
    return bits.view(parts.dtype)


def power_of_two(largest: Tensor, fmt: Format, rule: Rule) -> Tensor:
    """Give the scale that is a power of two, 2^-127 to 2^127 (E8M0); not a number where A is infinite.

    Source: Rouhani et al., OCP Microscaling Formats (MX) Specification, 2023 (``floor``); cuBLAS's
    documentation of block scaling (``rceil``).

    Args:
        largest: Largest magnitudes A.
        fmt: Format of the entries.
        rule: ``rceil``, ``floor`` or ``even``.
    """
    single = largest.dtype == torch.float32
    kind, width = (torch.int32, 23) if single else (torch.int64, 52)
    infinite = 0x7F800000 if single else 0x7FF << 52
    if rule == "rceil":
        bits = (largest / fmt.top).view(kind) + ((1 << width) - 1)  # the next power of two, unless it is one
    else:
        bits = (largest * 2.0 ** -_exponent(fmt.top)).view(kind)
    if rule == "even":
        half = width - fmt.mantissa - (not fmt.integer)  # integers have one bit less than their steps
        bits = bits + (1 << half)
    power = torch.bitwise_and(bits, infinite).view(largest.dtype)
    return power.clamp(2.0**-127, 2.0**127) + (largest - largest)  # not a number where A is not finite


def _exponent(top: float) -> int:
    found = 0
    while 2.0 ** (found + 1) <= top:
        found += 1
    return found


class TwoLevel(NamedTuple):
    """Scales of two levels.

    Attributes:
        unit: By which levels are multiplied: ``block scale x tensor scale``.
        inverse: By which entries are multiplied, ``(1 / tensor scale) / block scale``.
    """

    unit: Tensor
    inverse: Tensor


def e4m3_scales(
    largest: Tensor, whole: Tensor, fmt: Format, *, up: bool, level: float, spare: bool = False
) -> TwoLevel:
    """Give the scale of every block in E4M3, times one for the tensor.

    ``t = max A / (448 L)`` with L the largest level of the format, ``s = E4M3(A / level / t)``.

    Args:
        largest: Largest magnitude A of each block.
        whole: That of the tensor, broadcast to it.
        fmt: Format of the entries.
        up: Whether s is rounded up instead of to the nearest: then nothing is clipped, which stochastic
            rounding needs to be unbiased, and no block underflows.
        level: To which level A is scaled.
        spare: Whether t leaves room for blocks that are scaled to 4.
    """
    tiny = torch.finfo(largest.dtype).tiny
    tensor = (whole / (fmt.top * (SPARE if spare else E4M3.top))).clamp(min=tiny)
    tensor = tensor + (whole - whole)  # not a number where A is not finite
    wanted = largest / level / tensor
    block = round_scales(wanted, E4M3, up=up)
    # A block whose scale has underflown becomes zero: at most the largest level, times 0.
    return TwoLevel(block * tensor, ((1.0 / tensor) / block).clamp(max=torch.finfo(block.dtype).max))
