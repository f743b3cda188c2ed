"""How many multiplications a gradient takes in rounded operands, and of how many bits they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from algobias.numerics.quantiser import Quantiser
from algobias.quantised.layers import Rounding
from algobias.quantised.operands import Operands

FULL = 32.0
"""Bits of an operand that is not rounded."""


@dataclass
class Multiplications:
    """Multiplications of the products of rounded layers, forward and backward.

    Attributes:
        number: How many, copies that are averaged counted once.
        repeated: How many more the copies take.
        bits: Sum over all of them, repeated ones too, of the mean bits of their two operands.
    """

    number: float = 0.0
    repeated: float = 0.0
    bits: float = 0.0
    layers: dict[str, float] = field(default_factory=dict)

    def mean_bits(self, total: float) -> float:
        """Mean over all multiplications of a gradient, those outside of rounded layers at 32 bits.

        Args:
            total: All multiplications, repeated ones counted once.
        """
        if not self.number or total <= 0:
            return FULL
        rest = max(0.0, total - self.number)
        return (self.bits + FULL * rest) / (self.number + self.repeated + rest)

    def add(self, name: str, operands: Operands, forward: float, input_needed: bool) -> None:
        """Count a call of a layer.

        Args:
            name: Of the layer.
            operands: What its operands go through.
            forward: Multiplications of its forward product; each backward product has as many.
            input_needed: Whether the gradient of its input is taken.
        """
        if operands.strength == 0:
            return
        pairs = [(operands.fx, operands.fw, 1)]
        if input_needed:
            pairs.append((operands.dg, operands.dw or operands.fw, 1))
        copies = operands.copies if operands.wg.random else 1
        pairs.append((operands.wg, operands.wx or operands.fx, copies))
        for one, other, times in pairs:
            self.number += forward
            self.repeated += forward * (times - 1)
            self.bits += forward * times * (_bits(one) + _bits(other)) / 2
        self.layers[name] = self.layers.get(name, 0.0) + forward * len(pairs)


def _bits(quantiser: Quantiser) -> float:
    return FULL if quantiser.exact else min(FULL, quantiser.bits)


@contextmanager
def counting(net: nn.Module) -> Iterator[Multiplications]:
    """Count the multiplications of gradients that are taken inside of the block, of all runs and workers.

    Args:
        net: With rounded layers.
    """
    counted = Multiplications()
    handles = []
    for name, module in net.named_modules():
        if isinstance(module, Rounding):
            handles.append(module.register_forward_hook(_hook(name, counted)))
    try:
        yield counted
    finally:
        for handle in handles:
            handle.remove()


def _hook(name: str, counted: Multiplications) -> Any:
    def called(module: Any, given: tuple[Tensor, ...], output: Tensor) -> None:
        each = _sums_over(module)
        counted.add(
            name, module.operands, float(_whole(output).numel() * each), _whole(given[0]).requires_grad
        )

    return called


def _sums_over(module: Any) -> int:
    """Products that an output is the sum of, without reading the weight, which may be made anew then."""
    if isinstance(module, nn.Linear):
        return module.in_features
    return int(module.in_channels // module.groups * math.prod(module.kernel_size))


def _whole(x: Tensor) -> Tensor:
    """A tensor with all runs and workers that it is mapped over."""
    while torch._C._functorch.is_batchedtensor(x):
        x = torch._C._functorch.get_unwrapped(x)
    return x
