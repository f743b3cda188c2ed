"""Masks of the weights of layers: along the contraction of the product they go into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from algobias.errors import BadInput
from algobias.lazy import no_grad, torch
from algobias.numerics.masks.magnitude import magnitude_mask
from algobias.numerics.masks.transposable import transposable_mask

if TYPE_CHECKING:
    from torch import Tensor


def matrix_of(weight: Tensor, lead: int = 0) -> Tensor:
    """A layer's weight as the matrix of its product, [..., O, K]: outputs by what they are sums over.

    The inputs of a linear layer; channels, rows and columns of the window of a convolution.

    Args:
        weight: [..., O, *inputs].
        lead: Number of leading axes.

    Raises:
        BadInput: Fewer than two dimensions of its own.
    """
    if weight.dim() < lead + 2:
        raise BadInput("weight", f"{weight.dim() - lead} dimensions", "two or more: outputs and inputs")
    return weight.flatten(lead + 1)


@no_grad
def weight_mask(weight: Tensor, n: int, m: int, *, transposable: bool = False, lead: int = 0) -> Tensor:
    """The N:M mask of a layer's weight of largest retained magnitude, of its shape.

    Groups lie along the contraction (:func:`matrix_of`); where M does not divide it (or, transposable, the
    outputs), the last group is filled up with zeros, which are kept last.

    Args:
        weight: [..., O, *inputs].
        n: Entries kept.
        m: Of so many.
        transposable: Sparse along the outputs too, in M x M blocks.
        lead: Number of leading axes.

    Raises:
        BadInput: N or M do not fit.
    """
    matrix = matrix_of(weight.detach(), lead)
    rows, columns = matrix.shape[-2:]
    size = matrix.abs()
    wide = -columns % m
    if transposable:
        size = torch.nn.functional.pad(size, (0, wide, 0, -rows % m))
        mask = transposable_mask(size, n, m)[..., :rows, :columns]
    else:
        mask = magnitude_mask(torch.nn.functional.pad(size, (0, wide)), n, m)[..., :columns]
    return mask.reshape(weight.shape)
