"""Rounding an operand of a forward product, with the gradient passed straight through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from algobias.numerics.quantiser import Quantiser
from algobias.quantised.matrices import Axes, Operand


def rounded_forward(x: Tensor, key: Tensor, operand: Operand, axes: Axes) -> Tensor:
    """Round an operand of a forward product in training: ``Q(x)``, and the gradient of ``x``.

    The straight-through estimator (Bengio et al., Estimating or propagating gradients through stochastic
    neurons, 2013); formats that cancel the gradient outside of their range do so (Hubara et al., Binarized
    neural networks, 2016).

    Args:
        x: The operand of one run.
        key: What its random numbers follow, a scalar of int64.
        operand: What it goes through.
        axes: Which axes the product sums over.
    """
    if operand.quantiser.exact:
        return x
    found: Tensor = applied(_StraightThrough, _StraightThroughWithTangent, x, key, operand, axes, 0)
    return found


def rounded_evaluation(x: Tensor, operand: Operand, axes: Axes) -> Tensor:
    """Round an operand of a forward product in evaluation, without random numbers.

    ``Q(x)``, with the derivatives of ``x``: those of the network with its rounding errors frozen, of every
    order. Plain operations, so that every transform of torch maps over them.

    Args:
        x: The operand.
        operand: What it goes through; stochastic rounding is to the nearest here.
        axes: Which axes the product sums over.
    """
    if operand.quantiser.exact:
        return x
    still = x.detach()
    near = Operand(without_draws(operand.quantiser), operand.number, operand.strength)
    # x + (Q(x) - x) can leave the grid
    return near.along(still, axes, 0, None) + (x - still)


def applied(
    function: type[torch.autograd.Function], with_tangent: type[torch.autograd.Function], *inputs: Any
) -> Any:
    """Apply a function with a gradient of its own; with a forward derivative where nothing is compiled."""
    chosen = function if torch.compiler.is_compiling() else with_tangent
    return chosen.apply(*inputs)  # type: ignore[no-untyped-call]


def cancels(quantiser: Quantiser) -> bool:
    """Whether the gradient of entries beyond 1 is cancelled: of signs, which do not depend on them."""
    return quantiser.format.name == "sign"


def without_draws(quantiser: Quantiser) -> Quantiser:
    """A quantiser as it is in evaluation: what is drawn in training is rounded to the nearest."""
    return replace(quantiser, rounding="nearest", mvue=False) if quantiser.random else quantiser


class _StraightThrough(torch.autograd.Function):
    """``Q(x)`` of stacked runs or of one; see :func:`rounded_forward`."""

    @staticmethod
    def forward(x: Tensor, key: Tensor, operand: Operand, axes: Axes, lead: int) -> Tensor:
        return operand.along(x, axes, lead, key)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, _, operand, _, _ = inputs
        ctx.cancels = cancels(operand.quantiser)
        if ctx.cancels:
            ctx.save_for_backward(x)
            ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        return _passed(ctx, grad), None, None, None, None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        x: Tensor,
        key: Tensor,
        operand: Operand,
        axes: Axes,
        lead: int,
    ) -> tuple[Tensor, int]:
        x, key = stacked((x, key), in_dims[:2], info.batch_size, lead)
        return apart(
            applied(_StraightThrough, _StraightThroughWithTangent, x, key, operand, axes, 1),
            info.batch_size,
            lead,
        ), 0


class _StraightThroughWithTangent(_StraightThrough):
    """The same with a forward derivative, which torch's compiler does not take."""

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return _passed(ctx, tangent)


def _passed(ctx: Any, grad: Tensor) -> Tensor:
    if not ctx.cancels:
        return grad
    (x,) = ctx.saved_tensors
    return torch.where(x.abs() <= 1, grad, 0.0)


def stacked(
    tensors: tuple[Tensor | None, ...], in_dims: tuple[int | None, ...], size: int, lead: int
) -> list[Any]:
    """Make of the mapped axis and an axis of runs that is there already one axis of runs.

    Args:
        tensors: Each with ``lead`` axes of runs besides the mapped one.
        in_dims: Where the mapped axis lies; None: a tensor has none.
        size: Its length.
        lead: Axes of runs that are there already, 0 or 1.
    """
    found: list[Any] = []
    for tensor, dim in zip(tensors, in_dims, strict=True):
        if tensor is None:
            found.append(None)
            continue
        front = tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        found.append(front.flatten(0, 1) if lead else front)
    return found


def apart(rows: Tensor, size: int, lead: int) -> Tensor:
    """The result of stacked runs with the mapped axis in front of the other one again."""
    return rows.reshape(size, -1, *rows.shape[1:]) if lead else rows
