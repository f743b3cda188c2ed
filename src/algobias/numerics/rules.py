"""What a quantiser can be told to do: rounding, scales, clipping. Loads no torch, so that lists need not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Rounding = Literal["nearest", "stochastic", "floor", "dithered"]
ROUNDINGS: tuple[Rounding, ...] = ("nearest", "stochastic", "floor", "dithered")
Draws: TypeAlias = Callable[["torch.Size"], "Tensor"]
"""Uniform numbers in [0, 1) of a shape. Whoever needs several calls it in a fixed order."""

Clip = Literal["max", "aciq", "aciq_normal", "sawb", "percentile"]

SAWB = {2: (3.12, 2.064), 3: (7.509, 6.892), 4: (12.68, 12.80), 5: (17.74, 18.64), 8: (31.76, 35.04)}
"""Coefficients c of sqrt(E x^2) and of E |x| for so many bits, as implementations in use have them (fits over
six families of laws). Checked: the squared error is at most 15 % above that of the best range, for normal and
Laplace entries (35 % for 2 and 3 bits)."""

Over = Literal["none", "tensor", "row", "block", "tile"]
Rule = Literal["exact", "rceil", "floor", "even", "e4m3"]


@dataclass(frozen=True)
class Scale:
    """Which entries of a matrix share a scale, and how it is made from their largest magnitude.

    Attributes:
        over: ``none``: all scales are 1; ``tensor``: the matrix; ``row``: each row; ``block``: pieces of a
            row; ``tile``: square pieces of the matrix. Short pieces are as if padded with zeros.
        size: Entries of a block, or rows and columns of a tile.
        rule: From the largest magnitude A and the largest level L: ``exact``: A / L; ``rceil``: the smallest
            power of two that is not less, which clips nothing; ``floor``: 2^(floor(log2 A) - floor(log2 L)),
            the rule of the OCP standard, which may clip; ``even``: the same of A rounded to the format's
            bits; ``e4m3``: A / L t in E4M3, times t = max A / 448 L of the matrix.
        four: Whether a block may be scaled to 4 instead of 6 where its squared error is then less
            (``e4m3`` of E2M1 only).
    """

    over: Over = "tensor"
    size: int = 0
    rule: Rule = "exact"
    four: bool = False

    @property
    def bits(self) -> float:
        """Bits that scales add to an entry (one for a tensor or a row counts as none)."""
        if self.over not in ("block", "tile"):
            return 0.0
        each = 32 if self.rule == "exact" else 8
        return each / (self.size**2 if self.over == "tile" else self.size)
