"""A layer's product with rounded operands, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.numerics.hadamard import rotate
from algobias.quantised.kinds import Kind
from algobias.quantised.matrices import Operand, as_matrices, signs
from algobias.quantised.operands import Operands
from algobias.quantised.straight import apart, applied, rounded_evaluation, rounded_forward, stacked


def product(
    kind: Kind,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    key: Tensor,
    operands: Operands,
    training: bool,
) -> Tensor:
    """A layer's output, with what its operands go through in training or in evaluation.

    ``y = fx(x) fw(w)^T + b``; backward ``dx = dg(g) dw(w)``, ``dw = wg(g)^T wx(x)``, the gradient passed
    straight through ``fx`` and ``fw``, and that of b as it is. In evaluation only the forward operands are
    rounded. Operands of a rotated product are rotated first, both alike, which leaves the product as it is.
    Under ``autocast`` the product is that of float32 operands, and only its output is narrow.

    Cost: the products of the layer, and a rounding of each operand.

    Args:
        kind: Which product.
        x: Input, of one run.
        weight: Weight.
        bias: Bias, or None.
        key: What random numbers follow, a scalar of int64.
        operands: What the operands go through.
        training: Whether the layer trains.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        narrow = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            wide = bias if bias is None else bias.float()
            found = product(kind, x.float(), weight.float(), wide, key, operands, training)
        return found.to(narrow)
    if operands.rotates("forward"):
        x, weight = rotate(x, signs(x.device)), rotate(weight, signs(x.device))
    forward = [Operand(getattr(operands, n), operands.number(n), operands.strength) for n in ("fx", "fw")]
    if not training:
        x = rounded_evaluation(x, forward[0], kind.input_axes)
        weight = rounded_evaluation(weight, forward[1], kind.weight_axes)
        y = kind.plain(x, weight, bias)
        if operands.accumulator is None or operands.strength == 0:
            return y
        held = _held(x.detach(), weight.detach(), bias, y.detach(), operands)
        return held + (y - y.detach())
    own = (
        x.detach() if operands.own_input else None,
        weight.detach() if operands.own_weight else None,
    )
    x = rounded_forward(x, key, forward[0], kind.input_axes)
    weight = rounded_forward(weight, key, forward[1], kind.weight_axes)
    if not operands.backward:
        return kind.plain(x, weight, bias)
    output: Tensor = applied(_Product, _ProductWithTangent, x, weight, bias, *own, key, kind, operands, 0)
    return output


class _Product(torch.autograd.Function):
    """The forward product of operands that are rounded already, and the two backward products.

    Arguments: input, weight, bias, input and weight as they were before rounding (None: not needed), key,
    kind, operands, leading axes of runs.
    """

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        x, weight, bias, _, _, _, kind, operands, lead = inputs
        y: Tensor = kind.forward(x, weight, bias, lead)
        return _held(x, weight, bias, y, operands)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, own_x, own_weight, key, ctx.kind, ctx.operands, ctx.lead = inputs
        ctx.save_for_backward(x, weight, own_x, own_weight, key)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needs = tuple(ctx.needs_input_grad[:3])
        inputs = (grad, *ctx.saved_tensors, ctx.kind, ctx.operands, ctx.lead, needs)
        if torch.compiler.is_compiling():  # nothing is mapped there
            found = tuple(_gradients(*inputs))
        else:
            found = applied(_Gradients, _Gradients, *inputs)
        each = iter(found)
        dx = next(each) if needs[0] else None
        dw = next(each) if needs[1] else None
        return dx, dw, next(each) if needs[2] else None, None, None, None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        *tensors, kind, operands, lead = inputs
        rows = stacked(tuple(tensors), in_dims[:6], info.batch_size, lead)
        return apart(
            applied(_Product, _ProductWithTangent, *rows, kind, operands, 1), info.batch_size, lead
        ), 0


class _ProductWithTangent(_Product):
    """The same with a forward derivative, which torch's compiler does not take."""

    @staticmethod
    def jvp(ctx: Any, x: Any, weight: Any, bias: Any, *_: Any) -> Any:
        """The derivative of the product itself, whose gradient is not rounded."""
        at_x, at_weight = ctx.saved_tensors
        parts = [None if x is None else ctx.kind.forward(x, at_weight, bias, ctx.lead)]
        if weight is not None:
            parts.append(ctx.kind.forward(at_x, weight, None if x is not None else bias, ctx.lead))
        moved = [part for part in parts if part is not None]
        if moved:
            return moved[0] if len(moved) == 1 else moved[0] + moved[1]
        return ctx.kind.forward(torch.zeros_like(at_x), at_weight, bias, ctx.lead)


class _Gradients(torch.autograd.Function):
    """The backward products, as an operation of its own, so that it too is mapped over runs by hand."""

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, ...]:
        grad, x, weight, own_x, own_weight, key, kind, operands, lead, needs = inputs
        return tuple(_gradients(grad, x, weight, own_x, own_weight, key, kind, operands, lead, needs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        raise BadInput(
            "gradient of a gradient",
            "rounded gradients",
            "first derivatives in training; in evaluation the network has derivatives of every order",
        )

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *inputs: Any
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        *tensors, kind, operands, lead, needs = inputs
        rows = stacked(tuple(tensors), in_dims[:6], info.batch_size, lead)
        found = applied(_Gradients, _Gradients, *rows, kind, operands, 1, needs)
        return tuple(apart(each, info.batch_size, lead) for each in found), (0,) * len(found)


def _held(x: Tensor, weight: Tensor, bias: Tensor | None, y: Tensor, operands: Operands) -> Tensor:
    """The forward product with its sums held in few bits; y where they are held in float32.

    Always ``x w^T`` of matrices: a convolution whose sums are held so is the product of its patches.
    """
    if operands.accumulator is None or operands.strength == 0:
        return y
    if x.dtype not in (torch.float32, torch.float64):
        x, weight = x.float(), weight.float()
    rows = x if weight.dim() == 2 else as_matrices(x, "last", 1)
    held = operands.accumulator.matmul(rows, weight.mT).reshape(y.shape).to(y.dtype)
    if bias is not None:
        held = held + (bias if bias.dim() == 1 else bias.reshape(len(bias), *[1] * (held.dim() - 2), -1))
    return held if operands.strength == 1 else torch.lerp(y, held, operands.strength)


def _gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    own_x: Tensor | None,
    own_weight: Tensor | None,
    key: Tensor,
    kind: Kind,
    operands: Operands,
    lead: int,
    needs: Sequence[bool],
) -> list[Tensor]:
    """Those of input, weight and bias that are needed."""

    def operand(name: str, product: str, copies: int = 1) -> Operand:
        rotated = operands.rotates(product)
        return Operand(operands.of(name), operands.number(name), operands.strength, copies, rotated)

    found = []
    if needs[0]:
        g = kind.over_outputs(operand("dg", "input"), grad, lead, key)
        w = weight
        if own_weight is not None:
            w = kind.weight_over_outputs(operand("dw", "input"), own_weight, lead, key)
        found.append(kind.input_gradient(g, w, x.shape, lead))
    if needs[1]:
        g = kind.over_examples(operand("wg", "weight", operands.copies), grad, lead, key)
        if own_x is not None:
            x = kind.input_over_examples(operand("wx", "weight"), own_x, lead, key)
        found.append(kind.weight_gradient(g, x, weight.shape, lead))
    if needs[2]:
        found.append(kind.bias_gradient(grad, x, weight, lead))
    return found
