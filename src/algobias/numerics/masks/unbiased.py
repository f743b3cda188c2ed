"""Random pruning to N of every M entries that keeps the expectation, at least variance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from algobias.lazy import torch
from algobias.numerics.masks.magnitude import groups_of

if TYPE_CHECKING:
    from torch import Tensor

    Draws = Callable[[torch.Size], Tensor]


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


def sparsify(
    x: Tensor,
    n: int,
    m: int,
    generator: torch.Generator | None = None,
    dim: int = -1,
    *,
    draws: Draws | None = None,
) -> Tensor:
    """N of every M entries at random, scaled so that the expectation is x and the variance least.

    Systematic sampling: one uniform number u for each group; entries are kept where the running sum of
    :func:`inclusion` passes u, u + 1, ..., so that exactly N are (fewer only where fewer are not zero).

    Args:
        x: Any shape.
        n: Entries kept.
        m: Entries of a group.
        generator: Where the uniform numbers come from.
        dim: Dimension of the groups.
        draws: In its place, a function that gives uniform numbers in [0, 1) of a shape: one for each group.

    Raises:
        BadInput: N or M do not fit.
        TypeError: Not exactly one of the generator and the draws.
    """
    if (generator is None) == (draws is None):
        raise TypeError("sparsify() takes a generator or draws, one of them")
    chance = groups_of(inclusion(x, n, m, dim), n, m, dim).double()
    shape = chance.shape[:-1]
    if generator is None:
        assert draws is not None
        start = draws(shape).double()
    else:
        start = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
    ends = chance.cumsum(-1)
    ends = ends * (ends[..., -1:].round() / ends[..., -1:].clamp(min=0.5))  # whole sums, against rounding
    marks = torch.floor(ends - start.to(x.device)[..., None])
    before = torch.cat([torch.full_like(marks[..., :1], -1.0), marks[..., :-1]], -1)
    groups = groups_of(x, n, m, dim)
    kept = (marks > before) & (chance > 0)
    found = torch.where(kept, groups / chance.clamp(min=torch.finfo(torch.float64).tiny).to(x.dtype), 0.0)
    return found.to(x.dtype).flatten(-2).movedim(-1, dim)
