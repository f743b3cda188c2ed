"""Compressed gradients: sign, largest entries, low rank; error feedback for anybody's loop."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.levers.step import Layout
from algobias.levers.wrapper import Wrapper, all_finite, precise

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


class ErrorFeedback(Wrapper):
    """Compressed gradients with error feedback in front of any optimizer.

    :meth:`step` adds what was left out before, compresses, remembers what is left out now, and lets the
    optimizer step with what is sent. Sent plus remembered is always the sum of all gradients. An update with
    a gradient that is not finite is skipped, also without a scaler, and leaves no trace in what is
    remembered. Complex numbers count as two; a sparse gradient is sent sparse. Source: Seide et al. 2014;
    Stich, Cordonnier, Jaggi, Sparsified SGD with memory, 2018.

    Args:
        optimizer: Any torch optimizer.
        kind: ``sign`` or ``topk``, tensor by tensor.
        fraction: Share of the entries that ``topk`` keeps.

    Attributes:
        skipped: Updates that were skipped.

    Memory: one copy of the weights, in float32 where they are less precise.

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
        super().__init__(optimizer, slots=1)
        self.kind, self.fraction, self.skipped = kind, fraction, 0

    @property
    def left(self) -> list[Tensor]:
        """What was left out so far, of each parameter."""
        return self._memory()[0]

    def _first(self, parameter: Tensor) -> Tensor:
        return torch.zeros_like(parameter, requires_grad=False, dtype=precise(parameter.dtype))

    def _update(self) -> None:
        parameters, fresh = self._parameters(), []
        if not all_finite(p.grad for p in parameters if p.grad is not None):
            self.skipped += 1
            return
        for parameter, left in zip(parameters, self.left, strict=True):
            if parameter.grad is not None:
                grad = parameter.grad.to_dense()
                total = left + grad
                sent = self._compressed(total).to(grad.dtype)
                left = total - sent  # of what is sent in the gradient's own precision
                parameter.grad = sent.to_sparse(1) if parameter.grad.is_sparse else sent
            fresh.append(left)
        self.optimizer.step()
        self._past.append(fresh)

    def _compressed(self, total: Tensor) -> Tensor:
        numbers = torch.view_as_real(total) if total.is_complex() else total
        flat = numbers.reshape(-1)
        if self.kind == "sign":
            sent = scaled_sign(flat)
        else:
            sent = largest(flat, kept_of(flat.numel(), self.fraction))
        sent = sent.view_as(numbers)
        return torch.view_as_complex(sent) if total.is_complex() else sent

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state, what was left out, and how many updates were skipped."""
        (left,) = self._remembered()
        return {"optimizer": self.optimizer.state_dict(), "left": left, "skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            BadInput: The state of other parameters.
        """
        self._load([state_dict["left"]], "left")
        self.optimizer.load_state_dict(state_dict["optimizer"])
        self.skipped = state_dict.get("skipped", 0)
