"""Masks whose rows and columns are both N:M sparse, of largest retained magnitude; exact, and batched."""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING

from algobias.errors import BadInput
from algobias.lazy import no_grad, torch
from algobias.numerics.masks.columns import carry_out, joined, moves, way_back
from algobias.numerics.masks.magnitude import blocks_of, from_blocks
from algobias.numerics.masks.programme import programme_masks

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 2048
"""Blocks gone through at once: their scores stay in the cache."""

ENUMERATED = 4
"""Up to this side all masks are compared with each other; 8 is made of 4."""

LEAST_GAIN = 1e-12
"""A walk of moves that gains less, relative to the largest entry of its block, is rounding."""


@no_grad
def transposable_mask(x: Tensor, n: int, m: int) -> Tensor:
    """Keep N entries in every row and every column of each M x M block, of largest sum of magnitudes.

    The product with the masked matrix and that with its transpose are then both N:M sparse. The optimum:

    - M up to 4: the block's magnitudes times all admissible masks (2:4: 90), one matrix product.
    - M = 8: the best masks of four 4 x 4 quarters, then improved by walks between columns that gain, shortest
      first, until there is none: the condition of optimality of the minimum-cost flow that this is.
    - others: a linear programme for each block (:func:`~algobias.numerics.masks.programme.programme_mask`).

    Sums are in double precision, so that equal sums are equal whatever is gone through together; of equally
    good masks the first in one fixed order is kept. Not-a-number counts as infinity, and that as a magnitude
    near the largest number of the type (of double precision: 1e290).
    References: Hubara et al., Accelerated Sparse Neural Training: A Provable and Efficient Method to Find N:M
    Transposable Masks, 2021 (the problem); Klein, A primal method for minimal cost flows, 1967 (cycles).

    Args:
        x: [..., R, C]; R and C multiples of M.
        n: Entries kept in every row and column of a block.
        m: Side of the blocks.

    Returns:
        Booleans of x's shape.

    Raises:
        BadInput: N or M do not fit.
    """
    if not 1 <= n <= m:
        raise BadInput("n", n, f"1 to m = {m}")
    blocks = blocks_of(x, m)
    if n == m or not x.numel():
        return torch.ones_like(x, dtype=torch.bool)
    size = magnitudes(blocks.reshape(-1, m, m))
    find = _enumerated if m <= ENUMERATED else _improved if m == 2 * ENUMERATED else programme_masks
    mask = torch.cat([find(part.double(), n) for part in torch.split(size, CHUNK)])
    return from_blocks(mask.view(blocks.shape))


def magnitudes(x: Tensor) -> Tensor:
    """Magnitudes, finite: sums and differences of some of them in double precision are finite too."""
    top = torch.finfo(x.dtype).max / (2.0**60 if x.dtype == torch.float64 else 1.0)
    found: Tensor = x.detach().abs().nan_to_num_(nan=top, posinf=top)
    return found.clamp_(max=top) if x.dtype == torch.float64 else found


@functools.cache
def candidates(n: int, m: int) -> Tensor:
    """All M x M masks with N entries in every row and column, [count, M, M], in one fixed order."""
    rows = [tuple(int(i in chosen) for i in range(m)) for chosen in itertools.combinations(range(m), n)]
    found: list[tuple[tuple[int, ...], ...]] = [()]
    for place in range(1, m + 1):
        longer = ((*above, row) for above in found for row in rows)
        # a column takes no more than N, and no fewer than the rows below can still make up for
        found = [
            each
            for each in longer
            if all(n - (m - place) <= sum(column) <= n for column in zip(*each, strict=True))
        ]
    return torch.tensor(found, dtype=torch.bool)


def _enumerated(size: Tensor, n: int) -> Tensor:
    """The best of all masks of each block, [B, M, M]."""
    every = candidates(n, size.shape[-1]).to(size.device)
    found: Tensor = every[_first_largest(every.flatten(1).to(size) @ size.flatten(1).T)]
    return found


def _first_largest(scores: Tensor) -> Tensor:
    """The first row with the largest entry of each column, [count, B] -> [B]; in two steps: faster."""
    count = len(scores)
    width = max(step for step in range(1, math.isqrt(count) + 1) if count % step == 0)
    parts = scores.view(-1, width, scores.shape[-1])
    best = parts.amax(1).max(0).indices
    inside = parts.gather(0, best.expand(1, *parts.shape[1:])).squeeze(0).max(0).indices
    return best * width + inside


def _improved(size: Tensor, n: int) -> Tensor:
    """The best mask of each block of 8, [B, 8, 8]: from its quarters on."""
    mask = _of_quarters(size, n)
    least = LEAST_GAIN * size.flatten(1).amax(-1)
    active = torch.arange(len(size), device=size.device)
    while len(active):
        active = active[_improve(size[active], mask, active, least[active])]
    return mask


def _of_quarters(size: Tensor, n: int) -> Tensor:
    """The best mask of each quarter of a block, put together: N in every row and column of the whole."""
    half = size.shape[-1] // 2
    counts = ((n + 1) // 2, n // 2)
    mask = torch.zeros_like(size, dtype=torch.bool)
    for i, j in itertools.product((0, 1), repeat=2):
        rows, columns = slice(i * half, (i + 1) * half), slice(j * half, (j + 1) * half)
        kept = counts[(i + j) % 2]
        if kept:
            mask[:, rows, columns] = _enumerated(size[:, rows, columns], kept)
    return mask


def _improve(size: Tensor, mask: Tensor, blocks: Tensor, least: Tensor) -> Tensor:
    """Carry out one shortest walk that gains in each block that has one; whether it had, [K].

    Args:
        size: Magnitudes of the blocks, [K, M, M].
        mask: Of all blocks; changed in place.
        blocks: Which these are, [K].
        least: What a walk must gain, [K].
    """
    step, rows = moves(size, mask[blocks])
    had = torch.zeros(len(blocks), dtype=torch.bool, device=size.device)
    left = torch.arange(len(blocks), device=size.device)
    walk, before = step, []
    for _ in range(size.shape[-1] - 1):
        walk, column = joined(walk, step[left])
        before.append(column)
        gain, start = walk.diagonal(dim1=-2, dim2=-1).max(-1)
        found = gain > least[left]
        if found.any():
            picked = found.nonzero().squeeze(1)
            way = way_back(before, picked, start[picked], start[picked])
            carry_out(mask, blocks[left[picked]], rows[left[picked]], way)
            had[left[picked]] = True
            open_ = ~found
            left, walk = left[open_], walk[open_]
            before = [each[open_] for each in before]
        if not len(left):
            break
    return had
