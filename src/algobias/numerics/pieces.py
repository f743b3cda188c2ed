"""Large tensors in pieces that stay in the processor's cache, where several passes cost about one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

PIECE = 1 << 16
"""Entries of a piece: with what is computed from it about a megabyte."""


def in_pieces(function: Callable[..., Tensor], x: Tensor, *others: Tensor | None, keep: int = 1) -> Tensor:
    """Apply a function of entries to a tensor, piece by piece where it is large and on a CPU.

    Args:
        function: Of ``x`` and the others; the result has the shape of ``x``.
        x: Contiguous.
        others: Of the shape of ``x``, or of 1 in some dimensions; of as many dimensions, or fewer where it
            has one entry; None is handed on.
        keep: Last dimensions that stay together.
    """
    if x.numel() < 2 * PIECE or x.device.type != "cpu" or torch.compiler.is_compiling():
        return function(x, *others)
    flat, rest = _flat(x, keep), [None if o is None else _flat(o, keep) for o in others]
    rows, width = len(flat), flat[0].numel()
    tall = max(1, PIECE // width)
    wide = PIECE if keep == 1 and width > PIECE else flat.shape[-1]
    out: Tensor | None = None
    for row in range(0, rows, tall):
        for column in range(0, flat.shape[-1], wide):
            place = slice(row, row + tall), ..., slice(column, column + wide)
            found = function(flat[place], *(None if o is None else _cut(o, place, rows) for o in rest))
            if out is None:
                out = found.new_empty(flat.shape)
            out[place] = found
    assert out is not None
    return out.reshape(x.shape)


def _flat(x: Tensor, keep: int) -> Tensor:
    return x if x.dim() <= keep and x.numel() == 1 else x.reshape(-1, *x.shape[-keep:])


def _cut(x: Tensor, place: tuple[slice, object, slice], rows: int) -> Tensor:
    if x.dim() < 2:
        return x
    down = place[0] if len(x) == rows else slice(None)
    over = place[2] if x.shape[-1] > 1 else slice(None)
    return x[down, ..., over]
