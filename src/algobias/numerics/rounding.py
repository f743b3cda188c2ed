"""Rounding to a grid of levels: to the nearest, or at random without bias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from algobias.errors import BadInput
from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Rounding = Literal["nearest", "stochastic"]


def round_to(
    x: Tensor, levels: Tensor, rounding: Rounding = "nearest", generator: torch.Generator | None = None
) -> Tensor:
    """Round every entry to a level of a grid that is symmetric about zero; beyond the last it saturates.

    ``nearest``: ties go to the level of even number (zero is number 0), which for floating-point grids is the
    even mantissa. ``stochastic``: between lo and hi up with probability ``(|x| - lo) / (hi - lo)``, so that
    the expectation is x and the variance ``(hi - |x|) (|x| - lo)``, up to the 2^-24 (2^-53 in double
    precision) of the uniform numbers. The sign of zero is that of x; what is not a number stays so.

    Cost: a binary search for each entry.

    Args:
        x: Any shape, floating point.
        levels: Magnitudes from 0, ascending, [L], of the type of ``x``.
        rounding: Which rule.
        generator: Randomness of ``stochastic``; drawn where the generator lives.

    Raises:
        BadInput: Another rule, or no generator where one is needed.
    """
    if rounding not in ("nearest", "stochastic"):
        raise BadInput("rounding", rounding, "nearest or stochastic")
    magnitude = x.abs().clamp(max=levels[-1])
    upper = torch.bucketize(magnitude, levels).clamp(max=len(levels) - 1)  # NaN is past the end
    low, high = levels[(upper - 1).clamp(min=0)], levels[upper]
    if rounding == "nearest":
        middle = low + (high - low) / 2
        up = (magnitude > middle) | ((magnitude == middle) & (upper % 2 == 0))
    else:
        if generator is None:
            raise BadInput("generator", None, "a torch.Generator: stochastic rounding draws random numbers")
        draws = torch.rand(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
        up = draws.to(x.device) * (high - low) < magnitude - low
    rounded = torch.copysign(torch.where(up, high, low), x)
    return torch.where(x.isnan(), x, rounded)
