"""Large tensors in pieces that stay in the processor's cache, where several passes cost about one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PIECE = 1 << 16
"""Entries of a piece: with what is computed from it about a megabyte."""


def in_pieces(
    function: Callable[..., Tensor], x: Tensor, *others: Tensor | None, keep: int = 1, whole: bool = False
) -> Tensor:
    """Apply a function to a tensor, piece by piece where it is large and on a CPU.

    Args:
        function: Of ``x`` and the others; the result has the shape of ``x``.
        x: Contiguous.
        others: Of the shape of ``x``, or of 1 in some dimensions; of as many dimensions, or fewer where it
            has one entry; None is handed on.
        keep: Last dimensions that stay dimensions; those before them are taken together.
        whole: Whether the function needs what is along them as a whole; else the last is cut, too.
    """
    if x.numel() < 2 * PIECE or x.device.type != "cpu" or torch.compiler.is_compiling():
        return function(x, *others)
    leading = x.shape[:-keep]
    flat = x.reshape(-1, *x.shape[-keep:])
    rest = [None if o is None else _flat(o, leading, keep) for o in others]
    rows, width = len(flat), flat[0].numel()
    tall = max(1, PIECE // width)
    wide = flat.shape[-1] if whole or width <= PIECE else PIECE
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


def _flat(x: Tensor, leading: torch.Size, keep: int) -> Tensor:
    """Take leading dimensions together, as those of the tensor that it goes with."""
    if x.numel() == 1:
        return x.reshape(())
    expanded = x.expand(*leading, *x.shape[-keep:])
    return expanded.reshape(-1, *x.shape[-keep:])


def _cut(x: Tensor, place: tuple[slice, object, slice], rows: int) -> Tensor:
    if not x.dim():
        return x
    down = place[0] if len(x) == rows else slice(None)
    over = place[2] if x.shape[-1] > 1 else slice(None)
    return x[down, ..., over]
