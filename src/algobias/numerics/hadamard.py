"""Random Hadamard rotations along the contraction: they spread outliers, and a pair of them cancels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.numerics.rules import Draws


def hadamard(size: int, dtype: torch.dtype | None = None) -> Tensor:
    """Give the symmetric orthonormal Hadamard matrix, [size, size], by Sylvester's construction.

    Raises:
        BadInput: The size is no power of two.
    """
    if size < 1 or size & (size - 1):
        raise BadInput("size", size, "a power of two")
    one = torch.ones(1, 1, dtype=torch.float64)
    while len(one) < size:
        one = torch.cat([torch.cat([one, one], 1), torch.cat([one, -one], 1)])
    return (one / math.sqrt(size)).to(dtype or torch.float32)


def random_signs(size: int, draws: Draws) -> Tensor:
    """Draw the signs of a rotation, [size]: -1 where u < 1/2, else 1. Both operands take the same."""
    return torch.where(draws(torch.Size((size,))) < 0.5, -1.0, 1.0)


def rotate(x: Tensor, signs: Tensor) -> Tensor:
    """Rotate every piece of the last axis: ``(x * signs) H``, H orthonormal and symmetric.

    Rotated operands have the product of the operands: ``rotate(A) rotate(B)^T = A B^T``, as the rotation of
    one undoes that of the other; their entries are sums of many, so that an outlier no longer sets the scale
    alone. Source: Tseng, Yu and Park, Training LLMs with MXFP4, 2025; NVIDIA, Pretraining Large Language
    Models with NVFP4, 2025.

    Shapes: ``x`` [..., R, C]; ``signs`` [size], or [..., 1, 1, size] where leading indices have their own;
    the result [..., R, C'], C' the next multiple of size: a short last piece is padded with zeros, which
    the rotation fills. Cost: one product with a size x size matrix.
    """
    size = signs.shape[-1]
    short = -x.shape[-1] % size
    padded = torch.nn.functional.pad(x, (0, short)) if short else x
    pieces = padded.reshape(*padded.shape[:-1], padded.shape[-1] // size, size)
    matrix = hadamard(size, x.dtype).to(x.device)
    return ((pieces * signs.to(x.device, x.dtype)) @ matrix).reshape(padded.shape)


def unrotate(x: Tensor, signs: Tensor, length: int | None = None) -> Tensor:
    """Undo :func:`rotate`: ``(x H) * signs``; ``length`` cuts off what was padded.

    Shapes: ``x`` [..., R, C'], C' a multiple of size; the result [..., R, length].

    Raises:
        BadInput: The last axis is no multiple of the size.
    """
    size = signs.shape[-1]
    if x.shape[-1] % size:
        raise BadInput("x", f"{x.shape[-1]} columns", f"a multiple of {size}, as rotate gives them")
    pieces = x.reshape(*x.shape[:-1], x.shape[-1] // size, size)
    found = ((pieces @ hadamard(size, x.dtype).to(x.device)) * signs.to(x.device, x.dtype)).reshape(x.shape)
    return found if length is None else found[..., :length]
