"""The random numbers of a layer's roundings: a function of a key, row by row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from algobias.numerics.rules import Draws
from algobias.seeding.streams import number_named

KEY = "_rounding_key"
"""Name of the buffer of a layer that its random numbers follow; no part of what is trained or saved."""


def is_key(name: str) -> bool:
    """Whether a buffer of this name is a layer's key."""
    return name.rpartition(".")[2] == KEY


def key_of(text: str) -> int:
    """The key that a text names: 56 bits, which an int64 holds."""
    return number_named(text, size=7)


def uniforms(keys: Sequence[int], operand: int, device: torch.device) -> Draws:
    """Uniform numbers in [0, 1) for an operand, the first axis row by row from the streams of its keys.

    A row's numbers are the same whatever it is stacked with, and on every device. Cost: some 10 microseconds
    a row, and the numbers.

    Args:
        keys: One for each row.
        operand: Which of a layer's operands.
        device: Where the numbers are needed.
    """
    streams = [torch.Generator().manual_seed(number_named(f"{key},{operand}")) for key in keys]

    def draw(shape: Sequence[int]) -> Tensor:
        rows = [torch.rand(tuple(shape)[1:], generator=stream) for stream in streams]
        return (torch.stack(rows) if len(rows) > 1 else rows[0][None]).to(device)

    return draw
