"""Compressed gradients: sign, largest entries, low rank."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from algobias.seeding.streams import generator

Shapes = Mapping[str, torch.Size]
"""Shapes of parameters by name, in the order in which they lie in a flat vector."""

Factors = dict[str, Tensor]
"""Right factors of ``powersgd`` by the name of their parameter, [..., m, r]."""


def scaled_sign(x: Tensor) -> Tensor:
    """``mean|x| sign(x)`` over the last dimension, [..., n]; zero stays zero (Karimireddy et al. 2019)."""
    return x.sign() * x.abs().mean(-1, keepdim=True)


def largest(x: Tensor, count: int) -> Tensor:
    """The ``count`` entries of largest magnitude of the last dimension, [..., n]; the others zero.

    Example:
        >>> largest(torch.tensor([1.0, -3.0, 2.0]), 2)
        tensor([ 0., -3.,  2.])
    """
    index = x.abs().topk(count, -1).indices
    return torch.zeros_like(x).scatter(-1, index, x.gather(-1, index))


def orthonormal(x: Tensor) -> Tensor:
    """Columns of [..., n, r] made orthonormal by a QR decomposition; zero columns stay zero."""
    q, r = torch.linalg.qr(x)
    keep = r.diagonal(dim1=-2, dim2=-1).abs() > 1e-12 * x.norm(dim=(-2, -1)).unsqueeze(-1)
    found: Tensor = q * keep.unsqueeze(-2)
    return found


def low_rank(matrices: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """One power iteration of PowerSGD over workers (Vogels et al. 2019).

    ``P = orth(mean_w M_w Q), Q' = mean_w M_w^T P``; what everybody gets is ``P Q'^T``.

    Args:
        matrices: M of each worker, [..., W, n, m].
        right: Q, [..., m, r].

    Returns:
        The approximation of the mean, [..., n, m], and Q', [..., m, r].
    """
    left = orthonormal((matrices @ right.unsqueeze(-3)).mean(-3))
    after = (matrices.transpose(-1, -2) @ left.unsqueeze(-3)).mean(-3)
    return left @ after.transpose(-1, -2), after


def kept_of(size: int, fraction: float) -> int:
    """Entries kept: at least one."""
    return max(1, round(size * fraction))


def as_matrix(shape: torch.Size) -> tuple[int, int] | None:
    """Rows and columns of a parameter as a matrix (output times everything else); None for vectors."""
    if len(shape) < 2:
        return None
    return shape[0], math.prod(shape[1:])


def first_factors(shapes: Shapes, rank: int, like: Tensor) -> Factors:
    """Fixed random starts of the right factors Q of ``powersgd``, [m, r]; none for vectors.

    Args:
        shapes: Of all parameters.
        rank: r, at most the shorter side of a matrix.
        like: A tensor of the type and device that they get.
    """
    stream = generator(0, "powersgd", 0)
    factors = {}
    for name, shape in shapes.items():
        sides = as_matrix(shape)
        if sides is not None:
            drawn = torch.from_numpy(stream.standard_normal((sides[1], min(rank, *sides))))
            factors[name] = drawn.to(like)
    return factors


def compressed(
    total: Tensor, shapes: Shapes, kind: str, fraction: float, right: Factors | None
) -> tuple[Tensor, Tensor, Factors | None]:
    """Compress what every worker has to send.

    Args:
        total: Gradient (and what was left out before) of each worker, [..., W, P].
        shapes: Of the P entries.
        kind: ``sign`` (tensor by tensor), ``topk`` (over all entries), ``powersgd`` (vectors are sent whole).
        fraction: Share of the entries that ``topk`` keeps.
        right: Q of ``powersgd``.

    Returns:
        What each worker's memory counts as sent, [..., W, P]; what is applied, [..., P]; the new Q.
    """
    if kind == "topk":
        sent = largest(total, kept_of(total.shape[-1], fraction))
        return sent, sent.mean(-2), None
    pieces = torch.split(total, [shape.numel() for shape in shapes.values()], -1)
    if kind == "sign":
        sent = torch.cat([scaled_sign(piece) for piece in pieces], -1)
        return sent, sent.mean(-2), None
    means: list[Tensor] = []
    after: Factors = {}
    for (name, shape), piece in zip(shapes.items(), pieces, strict=True):
        sides = as_matrix(shape)
        if sides is None or right is None:
            means.append(piece.mean(-2))
            continue
        mean, after[name] = low_rank(piece.reshape(*total.shape[:-1], *sides), right[name])
        means.append(mean.reshape(*total.shape[:-2], -1))
    mean = torch.cat(means, -1)
    return mean.unsqueeze(-2).expand_as(total), mean, after
