"""The kinds of products that layers have: their operations, in the order in which autograd does them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from algobias.quantised.matrices import Axes, Operand, as_matrices


class Kind(Protocol):
    """A product of an input and a weight, with ``lead`` leading axes of runs (0 or 1) before every tensor."""

    @property
    def input_axes(self) -> Axes:
        """Which axes of the input the product sums over."""
        ...

    @property
    def weight_axes(self) -> Axes:
        """Which axes of the weight the product sums over."""
        ...

    def plain(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The product of a single run, as the layer computes it."""
        ...

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None, lead: int) -> Tensor:
        """The product."""
        ...

    def input_gradient(self, grad: Tensor, weight: Tensor, shape: torch.Size, lead: int) -> Tensor:
        """Gradient of the input, which has this shape."""
        ...

    def weight_gradient(self, grad: Tensor, x: Tensor, shape: torch.Size, lead: int) -> Tensor:
        """Gradient of the weight, which has this shape."""
        ...

    def bias_gradient(self, grad: Tensor, x: Tensor, weight: Tensor, lead: int) -> Tensor:
        """Gradient of the bias; input and weight for their shapes."""
        ...

    def over_outputs(self, operand: Operand, grad: Tensor, lead: int, key: Tensor) -> Tensor:
        """Round the gradient of the output for the input's, which sums over outputs (``dg``)."""
        ...

    def over_examples(self, operand: Operand, grad: Tensor, lead: int, key: Tensor) -> Tensor:
        """Round the gradient of the output for the weight's, which sums over examples (``wg``)."""
        ...

    def weight_over_outputs(self, operand: Operand, weight: Tensor, lead: int, key: Tensor) -> Tensor:
        """Round the weight for the input's gradient (``dw``)."""
        ...

    def input_over_examples(self, operand: Operand, x: Tensor, lead: int, key: Tensor) -> Tensor:
        """Round the input for the weight's gradient (``wx``)."""
        ...


@dataclass(frozen=True)
class LinearKind:
    """``y = x w^T + b`` of x [..., in] and w [out, in]."""

    input_axes: Axes = "last"
    weight_axes: Axes = "last"

    def plain(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The product of a single run."""
        return F.linear(x, weight, bias)

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None, lead: int) -> Tensor:
        """The product, of stacked runs as ``vmap`` computes it."""
        if not lead:
            return F.linear(x, weight, bias)
        rows = as_matrices(x, "last", lead)
        y = torch.bmm(rows, weight.mT)
        if bias is not None:
            y = y + bias[:, None]
        return y.reshape(*x.shape[:-1], weight.shape[-2])

    def input_gradient(self, grad: Tensor, weight: Tensor, shape: torch.Size, lead: int) -> Tensor:
        """``g w``."""
        rows = as_matrices(grad, "last", lead)
        found = torch.bmm(rows, weight) if lead else rows[0].mm(weight)
        return found.reshape(shape)

    def weight_gradient(self, grad: Tensor, x: Tensor, shape: torch.Size, lead: int) -> Tensor:
        """``g^T x``; of stacked runs ``(x^T g)^T``, as autograd has it."""
        g, rows = as_matrices(grad, "last", lead), as_matrices(x, "last", lead)
        found = torch.bmm(rows.mT, g).mT if lead else g[0].t().mm(rows[0])
        return found.reshape(shape)

    def bias_gradient(self, grad: Tensor, x: Tensor, weight: Tensor, lead: int) -> Tensor:
        """Sum over everything but the outputs."""
        rows = as_matrices(grad, "last", lead)
        return rows.sum(1) if lead else rows[0].sum(0)

    def over_outputs(self, operand: Operand, grad: Tensor, lead: int, key: Tensor) -> Tensor:
        """Outputs are the last axis."""
        return operand.along(grad, "last", lead, key)

    def over_examples(self, operand: Operand, grad: Tensor, lead: int, key: Tensor) -> Tensor:
        """Examples, and positions, are all other axes."""
        return _transposed(operand, grad, lead, key)

    def weight_over_outputs(self, operand: Operand, weight: Tensor, lead: int, key: Tensor) -> Tensor:
        """Outputs are the weight's first axis."""
        return _transposed(operand, weight, lead, key)

    def input_over_examples(self, operand: Operand, x: Tensor, lead: int, key: Tensor) -> Tensor:
        """Examples, and positions, are all axes but the last."""
        return _transposed(operand, x, lead, key)


LINEAR = LinearKind()


def _transposed(operand: Operand, x: Tensor, lead: int, key: Tensor) -> Tensor:
    """Round a tensor that the product sums over along all axes but its last."""
    if not operand.changes:
        return x
    found = operand.matrices(as_matrices(x, "last", lead).mT, key).mT
    if operand.rotated:
        return found if lead else found[0]
    return found.reshape(x.shape)


@dataclass(frozen=True)
class ConvolutionKind:
    """A convolution of x [B, C, *space] and w [O, C / groups, *kernel].

    Rounded operands lie along the matrices that are multiplied: C and the kernel's places in the forward
    product, output channels in the input's gradient, examples and positions in the weight's.

    Attributes:
        stride: Step in each dimension of space.
        padding: Zeros on both sides of each.
        dilation: Distance of the kernel's places.
        groups: Parts of the channels that do not meet.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    input_axes: Axes = "whole"
    weight_axes: Axes = "rest"

    def plain(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution of a single run."""
        size, rest = len(self.stride), (self.stride, self.padding, self.dilation, self.groups)
        if size == 1:
            return F.conv1d(x, weight, bias, *rest)
        if size == 2:
            return F.conv2d(x, weight, bias, *rest)
        return F.conv3d(x, weight, bias, *rest)

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None, lead: int) -> Tensor:
        """The convolution, run by run."""
        if not lead:
            return self.plain(x, weight, bias)
        biases = [None] * len(x) if bias is None else bias.unbind()
        return torch.stack([self.plain(*run) for run in zip(x, weight, biases, strict=True)])

    def input_gradient(self, grad: Tensor, weight: Tensor, shape: torch.Size, lead: int) -> Tensor:
        """The transposed convolution."""
        return self._runs(grad, _like(grad, shape), weight, lead, 0)

    def weight_gradient(self, grad: Tensor, x: Tensor, shape: torch.Size, lead: int) -> Tensor:
        """The correlation of input and gradient."""
        return self._runs(grad, x, _like(grad, shape), lead, 1)

    def bias_gradient(self, grad: Tensor, x: Tensor, weight: Tensor, lead: int) -> Tensor:
        """Sum over examples and positions."""
        return self._runs(grad, x, weight, lead, 2)

    def _runs(self, grad: Tensor, x: Tensor, weight: Tensor, lead: int, which: int) -> Tensor:
        """One of the three gradients as autograd computes it, run by run."""
        if lead:
            runs = zip(grad, x, weight, strict=True)
            return torch.stack([self._runs(*run, lead - 1, which) for run in runs])
        found: Tensor = torch.ops.aten.convolution_backward(
            grad, x, weight, [grad.shape[1]], self.stride, self.padding, self.dilation, False,
            [0] * len(self.stride), self.groups, [which == 0, which == 1, which == 2],
        )[which]  # fmt: skip
        return found

    def over_outputs(self, operand: Operand, grad: Tensor, lead: int, key: Tensor) -> Tensor:
        """Output channels are the second axis."""
        if operand.quantiser.per_tensor:
            return operand.along(grad, "whole", lead, key)
        last = grad.movedim(lead + 1, -1)
        return operand.along(last, "last", lead, key).movedim(-1, lead + 1)

    def over_examples(self, operand: Operand, grad: Tensor, lead: int, key: Tensor) -> Tensor:
        """Examples and positions are all other axes."""
        if operand.quantiser.per_tensor:
            return operand.along(grad, "whole", lead, key)
        first = grad.movedim(lead + 1, lead)
        return operand.along(first, "rest", lead, key).movedim(lead, lead + 1)

    def weight_over_outputs(self, operand: Operand, weight: Tensor, lead: int, key: Tensor) -> Tensor:
        """Output channels are the weight's first axis."""
        if operand.quantiser.per_tensor:
            return operand.along(weight, "whole", lead, key)
        last = weight.movedim(lead, -1)
        return operand.along(last, "last", lead, key).movedim(-1, lead)

    def input_over_examples(self, operand: Operand, x: Tensor, lead: int, key: Tensor) -> Tensor:
        """Every entry alike: other quantisers need the patches (:mod:`algobias.quantised.patches`)."""
        return operand.along(x, "whole", lead, key)


def _like(tensor: Tensor, shape: torch.Size) -> Tensor:
    """Stands for an operand of which a product needs the shape alone."""
    return tensor.new_zeros(()).expand(shape)
