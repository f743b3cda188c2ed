"""Transposable masks by the greedy rule, batched: at least half of the optimum, and some of them short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from algobias.errors import BadInput
from algobias.lazy import no_grad, torch
from algobias.numerics.masks.columns import carry_out, joined, moves, way_back
from algobias.numerics.masks.magnitude import blocks_of, from_blocks

if TYPE_CHECKING:
    from torch import Tensor


@no_grad
def greedy_mask(x: Tensor, n: int, m: int) -> Tensor:
    """Take entries from the largest on wherever their row and column have fewer than N.

    At least half of the best sum of magnitudes. Rows and columns of some masks stay short (2:4 of Gaussian
    weights: 16 % of masks): a fair comparison completes them first (:func:`completed`). Cost: a sort of M^2
    entries a block and M^2 steps, each over all blocks at once. Reference: Hubara et al., Accelerated Sparse
    Neural Training, 2021 (the 2-approximation).

    Args:
        x: [..., R, C]; R and C multiples of M.
        n: At most so many in every row and column of a block.
        m: Side of the blocks.

    Raises:
        BadInput: N or M do not fit.
    """
    if not 1 <= n <= m:
        raise BadInput("n", n, f"1 to m = {m}")
    blocks = blocks_of(x, m)
    size = blocks.detach().abs().reshape(-1, m * m)
    order = torch.argsort(size, dim=-1, descending=True, stable=True)
    rows, columns = order // m, order % m
    mask = torch.zeros_like(size, dtype=torch.bool)
    counts = torch.zeros(2, len(size), m, dtype=torch.int8, device=x.device)
    for place in range(m * m):
        row, column = rows[:, place, None], columns[:, place, None]
        free = (counts[0].gather(1, row) < n) & (counts[1].gather(1, column) < n)
        mask.scatter_(1, order[:, place, None], free)
        counts[0].scatter_add_(1, row, free.to(counts.dtype))
        counts[1].scatter_add_(1, column, free.to(counts.dtype))
    return from_blocks(mask.view(blocks.shape))


@no_grad
def completed(x: Tensor, mask: Tensor, n: int, m: int) -> Tensor:
    """Give rows and columns of a mask that are short the entries they lack.

    Each time the fewest swaps that bring one more entry, of largest gain; rows from the first on. What is
    kept may still be less than the optimum.

    Args:
        x: [..., R, C].
        mask: Booleans of x's shape, at most N in every row and column of a block.
        n: Entries that every row and column of a block is to have.
        m: Side of the blocks.

    Raises:
        BadInput: M does not divide rows and columns, or a row or column has more than N.
    """
    blocks = blocks_of(x, m)
    size = blocks.detach().abs().double().reshape(-1, m, m)
    found = blocks_of(mask, m).reshape(-1, m, m).clone()
    if int(torch.maximum(found.sum(-1), found.sum(-2)).max() if found.numel() else 0) > n:
        raise BadInput("mask", "more entries than that in a row or column", f"at most n = {n}")
    while len(short := (found.sum(-1) < n).any(-1).nonzero().squeeze(1)):
        _lengthen(size[short], found, short, n)
    return from_blocks(found.view(blocks.shape))


def _lengthen(size: Tensor, mask: Tensor, blocks: Tensor, n: int) -> None:
    """One more entry for each block that is short: into its first short row, out of a short column."""
    now = mask[blocks]
    step, rows = moves(size, now)
    place = torch.arange(len(blocks), device=size.device)
    row = (now.sum(-1) < n).int().argmax(-1)
    free = now.sum(-2) < n
    walk = size[place, row].masked_fill(now[place, row], -torch.inf)
    before: list[Tensor] = []
    left = place
    while True:
        gain, end = walk.masked_fill(~free[left], -torch.inf).max(-1)
        ends = gain > -torch.inf
        picked = ends.nonzero().squeeze(1)
        if len(picked):
            way = way_back(before, picked, None, end[picked])
            chosen = left[picked]
            mask[blocks[chosen], row[chosen], way[0]] = True
            carry_out(mask, blocks[chosen], rows[chosen], way)
            left, walk = left[~ends], walk[~ends]
            before = [each[~ends] for each in before]
        if not len(left):
            return
        wider, column = joined(walk.unsqueeze(-2), step[left])
        walk = wider.squeeze(-2)
        before.append(column.squeeze(-2))
