"""Operands as matrices whose last axis a product sums over, and what rounding makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from algobias.numerics.hadamard import random_signs, rotate
from algobias.numerics.quantiser import Quantiser
from algobias.numerics.rules import Draws
from algobias.quantised.draws import uniforms
from algobias.seeding.streams import torch_generator

Axes = Literal["last", "rest", "whole"]
"""Which axes of an operand are summed over: the last; all but the first; unimportant."""


@dataclass(frozen=True)
class Operand:
    """One operand of a product.

    Attributes:
        quantiser: What it goes through.
        number: Which of the layer's operands; random numbers follow it.
        strength: p of ``(1 - p) x + p Q(x)``.
        copies: Independent roundings that are averaged.
        rotated: Whether it is rotated first, as the other operand of its product is.
    """

    quantiser: Quantiser
    number: int
    strength: float = 1.0
    copies: int = 1
    rotated: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything is done to it."""
        return self.rotated or not self.quantiser.exact

    def matrices(self, stack: Tensor, key: Tensor | None) -> Tensor:
        """Round a stack of matrices, [L, R, C], the product's sum along the last axis.

        Where they are rotated, C grows to the next multiple of the rotation's size.

        Args:
            stack: One matrix for each run.
            key: What random numbers of each run follow, [L] or a scalar; None: none are drawn.
        """
        if self.rotated:
            stack = rotate(stack, signs(stack.device))
        if self.quantiser.exact:
            return stack
        draws: Draws | None = None
        if self.quantiser.random and key is not None:
            draws = uniforms(key.reshape(-1).tolist(), self.number, stack.device)
        rounded = self.quantiser(stack, draws)
        if self.copies > 1 and self.quantiser.random:
            for _ in range(self.copies - 1):
                rounded = rounded + self.quantiser(stack, draws)
            rounded = rounded / self.copies
        return rounded if self.strength == 1 else torch.lerp(stack, rounded, self.strength)

    def along(self, x: Tensor, axes: Axes, lead: int, key: Tensor | None) -> Tensor:
        """Round a tensor of any shape.

        Args:
            x: The tensor, [*lead, *shape].
            axes: Which axes of ``shape`` the product sums over.
            lead: How many leading axes are runs.
            key: See :meth:`matrices`.
        """
        if not self.changes:
            return x
        found = self.matrices(as_matrices(x, axes, lead), key)
        return found.reshape(*x.shape[:-1], found.shape[-1]) if self.rotated else found.reshape(x.shape)


ROTATION = 16
"""Entries of a rotation, along the sum of a product."""


@cache
def signs(device: torch.device) -> Tensor:
    """The signs of all rotations, [16]: the same in every layer, product and update, and in evaluation."""
    stream = torch_generator("rotation")
    return random_signs(ROTATION, lambda shape: torch.rand(tuple(shape), generator=stream)).to(device)


def as_matrices(x: Tensor, axes: Axes, lead: int) -> Tensor:
    """A tensor [*lead, *shape] as a stack of matrices [L, R, C] that are summed over along C."""
    runs, shape = x.shape[:lead].numel(), x.shape[lead:]
    if axes == "whole" or not shape:
        return x.reshape(runs, 1, shape.numel())
    if axes == "last":
        return x.reshape(runs, shape[:-1].numel(), shape[-1])
    return x.reshape(runs, shape[0], shape[1:].numel())
