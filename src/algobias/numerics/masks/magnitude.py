"""Masks of groups: of every M entries next to each other the N largest are kept; groups and blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from algobias.errors import BadInput
from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

COMPARED = 16
"""Up to this M entries are ranked by comparing each with each: three to four times as fast as a sort."""


def groups_of(x: Tensor, n: int, m: int, dim: int = -1) -> Tensor:
    """Entries in groups of M along a dimension, [..., groups, M].

    Raises:
        BadInput: Not 1 <= N <= M, or the dimension is no multiple of M.
    """
    if not 1 <= n <= m:
        raise BadInput("n", n, f"1 to m = {m}")
    if not x.dim() or x.shape[dim] % m:
        raise BadInput("m", m, f"a divisor of the {x.shape[dim] if x.dim() else 1} entries of the dimension")
    last = x.movedim(dim, -1)
    return last.reshape(*last.shape[:-1], last.shape[-1] // m, m)


def magnitude_mask(x: Tensor, n: int, m: int, dim: int = -1) -> Tensor:
    """True for the N largest magnitudes of every M entries; of equal ones the first is kept.

    Not-a-number counts as infinity. Cost: M (M - 1) / 2 comparisons a group up to M = 16, then a sort.
    Reference: Mishra et al., Accelerating Sparse Deep Neural Networks, 2021.

    Args:
        x: Any shape.
        n: Entries kept.
        m: Entries of a group.
        dim: Dimension of the groups, a multiple of M long: the contraction of the matrix product.

    Raises:
        BadInput: N or M do not fit.
    """
    size = groups_of(x, n, m, dim).detach().abs().nan_to_num(nan=torch.inf, posinf=torch.inf)
    if m <= COMPARED:
        mask = _ranks(size.movedim(-1, 0)).lt(n).movedim(0, -1)
    else:
        order = torch.argsort(size, dim=-1, descending=True, stable=True)
        mask = torch.zeros_like(size, dtype=torch.bool).scatter_(-1, order[..., :n], True)
    return mask.flatten(-2).movedim(-1, dim)


def _ranks(size: Tensor) -> Tensor:
    """How many entries of the same group come before each, [M, ...]: larger, and equal ones on its left."""
    size, last = size.contiguous(), len(size) - 1
    ranks = torch.zeros(size.shape, dtype=torch.int8, device=size.device)
    for place in range(last):
        first = size[place] >= size[place + 1 :]
        ranks[place + 1 :] += first
        ranks[place] += (last - place) - first.sum(0, dtype=torch.int8)
    return ranks


def mask_distance(one: Tensor, two: Tensor) -> float:
    """Share of entries in which two masks of one shape differ; 0 for empty ones."""
    return float((one != two).double().mean()) if one.numel() else 0.0


def retained_share(x: Tensor, mask: Tensor) -> float:
    """Share of the sum of magnitudes that a mask keeps, in [0, 1]; 1 where all of it is zero."""
    size = x.detach().abs().double()
    whole = float(size.sum())
    return float(size[mask].sum()) / whole if whole else 1.0


def blocks_of(x: Tensor, m: int) -> Tensor:
    """Square blocks of matrices, [..., R, C] -> [..., R / M, C / M, M, M].

    Raises:
        BadInput: No matrix, or M does not divide its rows and columns.
    """
    if x.dim() < 2 or x.shape[-1] % m or x.shape[-2] % m:
        sizes = " x ".join(map(str, x.shape[-2:])) or "a single entry"
        raise BadInput("m", m, f"a divisor of rows and columns of the matrix ({sizes})")
    rows, columns = x.shape[-2] // m, x.shape[-1] // m
    return x.reshape(*x.shape[:-2], rows, m, columns, m).transpose(-3, -2)


def from_blocks(blocks: Tensor) -> Tensor:
    """The matrices whose square blocks these are, the inverse of :func:`blocks_of`."""
    rows, columns, m = blocks.shape[-4], blocks.shape[-3], blocks.shape[-1]
    return blocks.transpose(-3, -2).reshape(*blocks.shape[:-4], rows * m, columns * m)
