"""Transposable masks as linear programmes, one for each block: for any N:M, and to check others against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from algobias.lazy import LazyModule, no_grad, torch
from algobias.numerics.masks.magnitude import blocks_of, from_blocks

if TYPE_CHECKING:
    from torch import Tensor

optimize: Any = LazyModule("scipy.optimize")
sparse: Any = LazyModule("scipy.sparse")


@no_grad
def programme_mask(x: Tensor, n: int, m: int) -> Tensor:
    """Keep N entries in every row and column of each M x M block by a linear programme; milliseconds a block.

    Maximise ``sum_ij |x_ij| k_ij`` over 0 <= k <= 1 with row and column sums N. The constraints are those of
    a transport problem, whose vertices are whole numbers: the solution of the dual simplex is a mask.
    Reference: Hubara et al., Accelerated Sparse Neural Training, 2021 (as a minimum-cost flow).

    Args:
        x: [..., R, C]; R and C multiples of M.
        n: Entries kept in every row and column of a block.
        m: Side of the blocks.

    Raises:
        BadInput: M does not divide rows and columns.
    """
    blocks = blocks_of(x, m)
    size = blocks.detach().abs().double().nan_to_num(nan=1e300, posinf=1e300).reshape(-1, m, m)
    return from_blocks(programme_masks(size, n).view(blocks.shape))


def programme_masks(size: Tensor, n: int) -> Tensor:
    """The best mask of each block, [B, M, M], of magnitudes in double precision."""
    m = size.shape[-1]
    rows = sparse.kron(sparse.eye(m), np.ones((1, m)))
    columns = sparse.kron(np.ones((1, m)), sparse.eye(m))
    sums = sparse.vstack([rows, columns]).tocsr()
    largest = size.flatten(1).amax(-1, keepdim=True)
    worth = (size.flatten(1) / largest.clamp(min=torch.finfo(size.dtype).tiny)).cpu().numpy()
    found = []
    for one in worth:
        solved = optimize.linprog(
            -one, A_eq=sums, b_eq=np.full(2 * m, float(n)), bounds=(0, 1), method="highs-ds"
        )
        if not solved.success:
            raise RuntimeError(f"the linear programme of a {n}:{m} mask was not solved: {solved.message}")
        found.append(solved.x > 0.5)
    return torch.from_numpy(np.stack(found)).to(size.device).view(size.shape)
