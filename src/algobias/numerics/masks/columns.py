"""Moves between the columns of a mask, batched: what a walk of them gains, and walks carried out.

In a block with sizes s and mask k, moving an entry from column a to column b means to choose a row with
``k[r, a] = 1`` and ``k[r, b] = 0`` and to swap them: the row keeps its count, column a loses one and b gains
one, and what is kept grows by ``s[r, b] - s[r, a]``. A walk of such moves that ends where it began leaves all
counts as they were. (No two moves of a shortest walk undo each other: one needs an entry where the other
needs none.)
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def moves(size: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The best gain of a move from column a to column b, [B, a, b], and its row; -inf where there is none.

    Args:
        size: What entries are worth, [B, R, C].
        mask: Which are kept, likewise.
    """
    leaving = size.masked_fill(~mask, torch.inf)
    entering = size.masked_fill(mask, -torch.inf)
    gain, row = (entering.unsqueeze(-2) - leaving.unsqueeze(-1)).max(1)
    return gain, row


def joined(walk: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Max-plus product: the best walk from a to b with one more step, and the column before the last step.

    Args:
        walk: Gains of walks, [B, a, c].
        step: Gains of single steps, [B, c, b].
    """
    found, before = (walk.unsqueeze(-1) + step.unsqueeze(-3)).max(-2)
    return found, before


def carry_out(mask: Tensor, blocks: Tensor, rows: Tensor, way: list[Tensor]) -> None:
    """Carry out one walk in each of some blocks, in place.

    Args:
        mask: [B, R, C], changed.
        blocks: Which blocks, [K].
        rows: The row of each move, [K, a, b].
        way: The columns of the walks, from the first to the last, each [K].
    """
    place = torch.arange(len(blocks), device=blocks.device)
    for start, end in itertools.pairwise(way):
        row = rows[place, start, end]
        mask[blocks, row, start] = False
        mask[blocks, row, end] = True


def way_back(before: list[Tensor], picked: Tensor, start: Tensor | None, end: Tensor) -> list[Tensor]:
    """The columns of a walk that ends at a column, from the first on.

    Args:
        before: Of every step after the first, the column before it: [K', a, b], or [K', b] where all walks
            begin in one place.
        picked: Rows of these tensors that are meant, [K].
        start: Where they begin, [K]; None where all begin in one place.
        end: Where they end, [K].
    """
    way = [end]
    for step in reversed(before):
        at = (picked, way[-1]) if start is None else (picked, start, way[-1])
        way.append(step[at])
    if start is not None:
        way.append(start)
    return way[::-1]
