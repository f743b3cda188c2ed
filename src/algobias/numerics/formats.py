"""Number formats of few bits, simulated: integers, floats, and floats with a scale for every block.

Levels are stated without a scale; a tensor is divided by its scale, rounded to them, and multiplied again.
E3M0 with stochastic rounding is logarithmic unbiased quantisation (LUQ, Chmiel et al., Accurate Neural
Training with 4-bit Matrix Multiplications at Standard Formats, 2023).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from algobias.errors import BadInput, unknown_name
from algobias.lazy import torch
from algobias.numerics.rounding import Rounding, round_to

if TYPE_CHECKING:
    from torch import Tensor

Scales = Literal["tensor", "power_of_two", "e4m3"]
COMMON = ("int8", "int4", "e4m3", "e5m2", "e2m1", "e3m0", "mxfp4", "nvfp4")


@dataclass(frozen=True)
class Format:
    """A number format.

    Attributes:
        name: As spelled.
        levels: Magnitudes that can be represented, from 0, ascending, before scaling.
        block: Entries that share a scale, along one dimension; None: the whole tensor.
        scales: ``tensor``: max|x| / largest level, exact; ``power_of_two``: for every block the smallest
            power of two that clips nothing; ``e4m3``: for every block, in E4M3, times one for the tensor.
    """

    name: str
    levels: tuple[float, ...]
    block: int | None = None
    scales: Scales = "tensor"

    @property
    def top(self) -> float:
        """Largest level."""
        return self.levels[-1]


@cache
def parse_format(text: str) -> Format:
    """Read a format: ``int2`` to ``int8``, ``e2m0`` to ``e5m3``, ``mxfp4``, ``nvfp4``.

    - ``intB``: levels 0, 1, ..., 2^(B-1) - 1, symmetric.
    - ``eXmY``: X bits of exponent, Y of mantissa, subnormals, bias 2^(X-1) - 1. E5 keeps its largest exponent
      for infinities, as IEEE 754 does, and E4M3 its largest code for NaN (largest levels 57344 of E5M2 and
      448 of E4M3); all other codes are numbers (E2M1: 6). E3M0: 0 and seven powers of two, from 1 to 64.
    - ``mxfp4``: E2M1 in blocks of 32, each with the smallest power of two as scale that clips nothing.
    - ``nvfp4``: E2M1 in blocks of 16, scale E4M3(max|block| / 6 t) t, with t = max|x| / (6 x 448).

    References: Micikevicius et al., FP8 Formats for Deep Learning, 2022; Rouhani et al., Microscaling Data
    Formats for Deep Learning, 2023.

    Raises:
        BadInput: No such format (the nearest is proposed).
    """
    name = text.strip().lower()
    if name == "mxfp4":
        return Format(name, float_levels(2, 1), 32, "power_of_two")
    if name == "nvfp4":
        return Format(name, float_levels(2, 1), 16, "e4m3")
    if found := re.fullmatch(r"int([2-8])", name):
        return Format(name, tuple(float(i) for i in range(2 ** (int(found[1]) - 1))))
    if found := re.fullmatch(r"e([2-5])m([0-3])", name):
        return Format(name, float_levels(int(found[1]), int(found[2])))
    raise unknown_name("format", name, COMMON)


def float_levels(exponent: int, mantissa: int) -> tuple[float, ...]:
    """Magnitudes of a float with so many bits, by code."""
    bias = 2 ** (exponent - 1) - 1 if mantissa or exponent != 3 else 1
    codes = range(2 ** (exponent + mantissa) - _reserved(exponent, mantissa))
    fraction = 2**mantissa
    found = []
    for code in codes:
        power, part = divmod(code, fraction)
        lead = fraction if power else 0
        found.append((lead + part) / fraction * 2.0 ** (max(power, 1) - bias))
    return tuple(found)


def _reserved(exponent: int, mantissa: int) -> int:
    """Codes at the end that are no numbers."""
    if exponent == 5:
        return int(2**mantissa)
    return 1 if (exponent, mantissa) == (4, 3) else 0


def quantise(
    x: Tensor,
    fmt: str | Format,
    rounding: Rounding = "nearest",
    generator: torch.Generator | None = None,
    *,
    scale: Tensor | float | None = None,
    dim: int = -1,
) -> Tensor:
    """The tensor as a format holds it, in the type of ``x`` (half precision is computed in single).

    Example:
        >>> import torch
        >>> quantise(torch.tensor([0.3, -1.2, 7.0]), "int4")
        tensor([ 0., -1.,  7.])

    Cost: a binary search for each entry. Memory: some five times ``x``.

    Args:
        x: Any shape. An entry that is not finite makes all that share its scale NaN.
        fmt: The format.
        rounding: ``nearest`` (ties to even) or ``stochastic`` (unbiased where nothing saturates). Scales are
            always rounded to the nearest.
        generator: Randomness of stochastic rounding.
        scale: Scale of the whole tensor instead of the one that max|x| gives; entries beyond saturate.
        dim: Dimension of blocks: the contraction of the matrix product. The last block may be shorter.

    Raises:
        BadInput: Unknown format or rounding; no generator; ``scale`` with a format that has block scales.
    """
    fmt = parse_format(fmt) if isinstance(fmt, str) else fmt
    if fmt.block is not None and scale is not None:
        raise BadInput("scale", "given", f"none: {fmt.name} has a scale for every block")
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    if not wide.numel():
        return x.clone()
    levels = torch.tensor(fmt.levels, dtype=wide.dtype, device=wide.device)
    if fmt.block is None:
        unit = _nonzero(wide.abs().amax() / fmt.top) if scale is None else scale
        return (round_to(wide / unit, levels, rounding, generator) * unit).to(x.dtype)
    last = wide.movedim(dim, -1) if wide.dim() else wide.reshape(1)
    length = last.shape[-1]
    padded = torch.nn.functional.pad(last, (0, -length % fmt.block))
    blocks = padded.reshape(*last.shape[:-1], padded.shape[-1] // fmt.block, fmt.block)
    units = _block_scales(blocks, fmt)
    # A block whose scale has underflown holds nothing but zeros.
    rounded = round_to(blocks / _nonzero(units), levels, rounding, generator) * units
    whole = rounded.flatten(-2)[..., :length]
    return (whole.movedim(-1, dim) if wide.dim() else whole.reshape(())).to(x.dtype)


def _block_scales(blocks: Tensor, fmt: Format) -> Tensor:
    """Scale of every block, [..., blocks, 1]."""
    largest = blocks.abs().amax(-1, keepdim=True)
    if fmt.scales == "power_of_two":
        fraction, power = torch.frexp(
            largest / fmt.top
        )  # fraction in [1/2, 1): 2^(power - 1) where it is 1/2
        power = torch.where(fraction == 0.5, power - 1, power).clamp(-127, 127)
        return torch.where(largest.isfinite(), torch.ldexp(torch.ones_like(largest), power), torch.nan)
    scale = parse_format("e4m3")
    tensor = _nonzero(largest.amax() / (fmt.top * scale.top))
    levels = torch.tensor(scale.levels, dtype=blocks.dtype, device=blocks.device)
    return round_to(largest / fmt.top / tensor, levels) * tensor


def _nonzero(scale: Tensor) -> Tensor:
    return torch.where(scale == 0, torch.ones_like(scale), scale)
