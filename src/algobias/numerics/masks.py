"""N:M sparsity: of every M entries next to each other, N are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from algobias.errors import BadInput
from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


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

    Reference: Mishra et al., Accelerating Sparse Deep Neural Networks, 2021.

    Args:
        x: Any shape.
        n: Entries kept.
        m: Entries of a group.
        dim: Dimension of the groups, a multiple of M long: the contraction of the matrix product.

    Raises:
        BadInput: N or M do not fit.
    """
    groups = groups_of(x, n, m, dim)
    order = torch.argsort(groups.abs(), dim=-1, descending=True, stable=True)
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order[..., :n], True)
    return mask.flatten(-2).movedim(-1, dim)


def mask_distance(one: Tensor, two: Tensor) -> float:
    """Share of entries in which two masks of one shape differ; 0 for empty ones."""
    return float((one != two).double().mean()) if one.numel() else 0.0


def inclusion(x: Tensor, n: int, m: int, dim: int = -1) -> Tensor:
    """Probabilities with which an unbiased N:M sparsification keeps entries at least variance.

    ``p_i = min(1, c |x_i|)`` with c such that the probabilities of a group sum to N (to the number of its
    entries that are not zero, where those are fewer). An entry is kept as ``x_i / p_i``; the variance of a
    group is ``sum_i x_i^2 (1 / p_i - 1)``. Entries that are not finite are certain, and then the only ones of
    their group, so that an overflow stays in sight. Reference: Chmiel et al., Minimum Variance Unbiased N:M
    Sparsity for the Neural Gradients, 2023.

    Args:
        x: Any shape.
        n: Entries kept.
        m: Entries of a group.
        dim: Dimension of the groups.

    Raises:
        BadInput: N or M do not fit.
    """
    size = groups_of(x, n, m, dim).abs()
    broken = ~size.isfinite()
    size = torch.where(broken.any(-1, keepdim=True), broken.to(size), size)
    wanted = (size > 0).sum(-1, keepdim=True).clamp(max=n)
    sure = torch.zeros_like(size, dtype=torch.bool)
    found = torch.zeros_like(size)
    for _ in range(n + 1):  # each round makes at least one more entry certain
        rest = size.masked_fill(sure, 0.0)
        left = (wanted - sure.sum(-1, keepdim=True)).to(size.dtype)
        total = rest.sum(-1, keepdim=True)
        share = torch.where(total > 0, left * rest / total.clamp(min=torch.finfo(size.dtype).tiny), 0.0)
        found = torch.where(sure, torch.ones_like(size), share)
        sure = sure | (found >= 1)
    found = torch.where(broken, torch.ones_like(found), found)
    return found.clamp(max=1.0).flatten(-2).movedim(-1, dim)


def sparsify(x: Tensor, n: int, m: int, generator: torch.Generator, dim: int = -1) -> Tensor:
    """N of every M entries at random, scaled so that the expectation is x and the variance least.

    Systematic sampling: one uniform number u for each group; entries are kept where the running sum of
    :func:`inclusion` passes u, u + 1, ..., so that exactly N are (fewer only where fewer are not zero).

    Raises:
        BadInput: N or M do not fit.
    """
    chance = groups_of(inclusion(x, n, m, dim), n, m, dim).double()
    start = torch.rand(chance.shape[:-1], generator=generator, dtype=torch.float64, device=generator.device)
    ends = chance.cumsum(-1)
    ends = ends * (ends[..., -1:].round() / ends[..., -1:].clamp(min=0.5))  # whole sums, against rounding
    marks = torch.floor(ends - start.to(x.device)[..., None])
    before = torch.cat([torch.full_like(marks[..., :1], -1.0), marks[..., :-1]], -1)
    groups = groups_of(x, n, m, dim)
    kept = (marks > before) & (chance > 0)
    found = torch.where(kept, groups / chance.clamp(min=torch.finfo(torch.float64).tiny).to(x.dtype), 0.0)
    return found.to(x.dtype).flatten(-2).movedim(-1, dim)
