"""Compressed gradients: sign, largest entries, low rank."""

from __future__ import annotations

import torch
from torch import Tensor


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
