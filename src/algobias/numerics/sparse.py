"""N of every M entries of the last axis, short groups padded with zeros."""

from __future__ import annotations

import torch
from torch import Tensor

from algobias.numerics.masks import magnitude_mask, sparsify
from algobias.numerics.rules import Draws


def sparse(x: Tensor, groups: tuple[int, int], draws: Draws | None) -> Tensor:
    """Keep N of every M entries: the largest, or where there are draws some at random, without bias.

    Shapes: ``x`` [..., R, C], the result the same; draws are one for each group.
    """
    n, m = groups
    short = -x.shape[-1] % m
    padded = torch.nn.functional.pad(x, (0, short)) if short else x
    if draws is not None:
        found = sparsify(padded, n, m, draws=draws)
    else:
        found = padded.masked_fill(~magnitude_mask(padded, n, m), 0.0)
    return found[..., : x.shape[-1]] if short else found
