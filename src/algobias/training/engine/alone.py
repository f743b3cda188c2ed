"""One run by itself, to the same bits as in a stack of several."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from algobias.levers.step import Batch, State
from algobias.trees import tensors_in

T = TypeVar("T")

SMALL = 20_000
"""A network with fewer parameters costs as much alone as in a stack of two, and has few bits to compare."""


class Alone:
    """Chooses for a run alone between itself and the first of a stack of two, so that the bits are the same.

    Which kernel computes a product follows from the shapes: they are compared once for each. Only on a CPU:
    what an accelerator promises is less.
    """

    def __init__(self) -> None:
        self._same: dict[Hashable, bool] = {}
        self._counted = False

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Compute a run by itself inside of the block, whatever its bits: what it costs is counted."""
        self._counted = True
        try:
            yield
        finally:
            self._counted = False

    def __call__(self, shapes: Hashable, state: State, alone: Callable[[], T], of_two: Callable[[], T]) -> T:
        """What is computed of a run, with a leading axis of 1.

        Args:
            shapes: What is computed, and of what shapes.
            state: The run.
            alone: Computes it of the run alone.
            of_two: Computes it of a stack of two.
        """
        small = state.params.shape[-1] < SMALL
        if (
            state.params.device.type != "cpu"
            or self._counted
            or (not small and self._same.get(shapes, False))
        ):
            return alone()
        first: T = tree_map(lambda leaf: leaf[:1], of_two())
        if not small and shapes not in self._same:
            pairs = zip(tree_leaves(first), tree_leaves(alone()), strict=True)
            self._same[shapes] = all(torch.equal(one, other) for one, other in pairs)
        return first


def shapes_of(batch: Batch) -> list[torch.Size]:
    """Shapes of all tensors of a batch."""
    return [leaf.shape for _, leaf in tensors_in(batch)]


def twice(leaf: Tensor) -> Tensor:
    """A tensor of one run as one of two, [1, ...] -> [2, ...]."""
    return torch.cat([leaf, leaf]) if leaf.dim() else leaf


def twins_of(state: State) -> State:
    """A stack of one run as a stack of two."""
    buffers = {name: twice(buffer) for name, buffer in state.buffers.items()}
    return State(twice(state.params), buffers, state.layout)
