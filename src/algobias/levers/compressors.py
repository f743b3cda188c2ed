"""Compressed gradients: sign, largest entries, low rank; error feedback for anybody's loop."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.levers.step import Layout

FLOAT_BYTES, INDEX_BYTES = 4.0, 4.0


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


def as_matrix(shape: torch.Size) -> tuple[int, int] | None:
    """Rows and columns of a parameter as a matrix (output times everything else); None for vectors."""
    if len(shape) < 2:
        return None
    return shape[0], math.prod(shape[1:])


def bytes_of(kind: str, layout: Layout, fraction: float, rank: int) -> float:
    """Bytes of one compressed gradient.

    sign: one bit per entry and one number per tensor. topk: value and index of each entry kept. powersgd:
    ``r (n + m)`` numbers per matrix, vectors whole. none: all numbers.
    """
    size = layout.offsets[-1]
    if kind == "sign":
        return size / 8 + FLOAT_BYTES * len(layout.names)
    if kind == "topk":
        return kept_of(size, fraction) * (FLOAT_BYTES + INDEX_BYTES)
    if kind == "powersgd":
        numbers = 0.0
        for shape in layout.shapes:
            sides = as_matrix(shape)
            whole = shape.numel()
            numbers += whole if sides is None else min(whole, rank * sum(sides))
        return FLOAT_BYTES * numbers
    return FLOAT_BYTES * size


def kept_of(size: int, fraction: float) -> int:
    """Entries kept: at least one."""
    return max(1, round(size * fraction))


class ErrorFeedback:
    """Compressed gradients with error feedback in front of any optimizer.

    :meth:`step` adds what was left out before, compresses, remembers what is left out now, and lets the
    optimizer step with what is sent. Sent plus remembered is always the sum of all gradients. Source: Seide
    et al. 2014; Stich, Cordonnier, Jaggi, Sparsified SGD with memory, 2018.

    Args:
        optimizer: Any torch optimizer.
        kind: ``sign`` or ``topk``, tensor by tensor.
        fraction: Share of the entries that ``topk`` keeps.

    Memory: one copy of the weights.

    Raises:
        BadInput: An unknown kind, or a fraction outside (0, 1].

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([1.0, 1.0])); step = torch.optim.SGD([w], lr=1.0)
        >>> feedback = ErrorFeedback(step, "topk", fraction=0.5)
        >>> for _ in range(2):
        ...     (w * torch.tensor([3.0, 2.0])).sum().backward(); feedback.step(); feedback.zero_grad()
        >>> w.tolist()                              # 3 of the first entry, then both gradients of the second
        [-2.0, -3.0]
    """

    def __init__(self, optimizer: torch.optim.Optimizer, kind: str, fraction: float = 0.01) -> None:
        if kind not in ("sign", "topk"):
            raise BadInput("compress", kind, "sign or topk")
        if not 0 < fraction <= 1:
            raise BadInput("compress.fraction", fraction, "above 0 and at most 1")
        self.optimizer, self.kind, self.fraction = optimizer, kind, fraction
        self.left = [torch.zeros_like(p) for p in self._parameters()]

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self) -> None:
        """Compress the gradients there are, and step with them."""
        for parameter, left in zip(self._parameters(), self.left, strict=True):
            if parameter.grad is None:
                continue
            total = (parameter.grad + left).reshape(-1)
            if self.kind == "sign":
                sent = scaled_sign(total)
            else:
                sent = largest(total, kept_of(total.numel(), self.fraction))
            left.copy_((total - sent).view_as(left))
            parameter.grad.copy_(sent.view_as(parameter.grad))
        self.optimizer.step()

    def zero_grad(self) -> None:
        """Clear the gradients."""
        self.optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state and what was left out."""
        return {"optimizer": self.optimizer.state_dict(), "left": [tensor.clone() for tensor in self.left]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.optimizer.load_state_dict(state["optimizer"])
        for own, given in zip(self.left, state["left"], strict=True):
            own.copy_(given)
