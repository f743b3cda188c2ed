"""The buffers of a module, put back: their values, the tensors that hold them, and which there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from algobias.lazy import no_grad
from algobias.trees import same_numbers

if TYPE_CHECKING:
    from torch import nn


class Buffers:
    """All buffers of a module as they are when this is made.

    A forward pass may write into a buffer, or put another tensor in its place (``self.mean = .9 * self.mean
    + ...``). Memory: a copy of all buffers.

    Args:
        module: The module.
    """

    def __init__(self, module: nn.Module) -> None:
        # Those of a scripted module are no dictionary, and none of them can be replaced.
        parts = (part for part in module.modules() if isinstance(part._buffers, dict))
        self._kept = [(part, dict(part._buffers)) for part in parts]
        self._values = [(b, b.detach().clone()) for b in module.buffers()]

    @no_grad
    def put_back(self) -> None:
        """Put back every buffer, in the tensor that held it; buffers that are new are taken away."""
        for part, kept in self._kept:
            for name in part._buffers.keys() - kept.keys():
                del part._buffers[name]
                part._non_persistent_buffers_set.discard(name)
            part._buffers.update(kept)
        for buffer, value in self._values:
            if not same_numbers(buffer, value):
                buffer.copy_(value)
