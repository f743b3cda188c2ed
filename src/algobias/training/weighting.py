"""Single examples that count more or less, or not at all, in the gradient of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from algobias.errors import BadInput
from algobias.levers.step import Batch
from algobias.tasks.trees import map_trees


class Scaled(nn.Module):
    """A model whose outputs are the same, and whose gradients of row i are multiplied by ``weights[i]``."""

    def __init__(self, model: nn.Module, weights: Tensor) -> None:
        super().__init__()
        self._model, self._row_weights = (model,), weights

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The model's own outputs."""
        return map_trees(self._scale, self._model[0](*inputs, **named))

    def _scale(self, output: Tensor) -> Tensor:
        weights = self._row_weights
        if not output.is_floating_point():
            return output
        if output.dim() == 0 or output.shape[0] != weights.shape[0]:
            allowed = f"outputs with one row for each of the {weights.shape[0]} examples of the batch"
            raise BadInput("model", tuple(output.shape), allowed)
        still = output.detach()
        # the difference is exactly zero, so that the value is the same to the last bit
        return still + weights.view(-1, *(1,) * (output.dim() - 1)).to(output.dtype) * (output - still)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["_model"][0], name)


def row_weights(
    batch: Batch, weights: Tensor, kept: Tensor, count: Callable[[Batch], Tensor] | None
) -> Tensor:
    """Factors of the examples' gradients in the gradient of the whole batch's loss, [..., B].

    The loss is a mean over the batch in which example i counts c_i (``count``; else 1), and
    what is left of the batch is to be such a mean again: ``weights_i (k / B) sum c / sum_kept c`` for k
    examples kept, which is ``weights_i`` where all count alike.
    """
    if count is None:
        return weights
    share = kept.sum(-1, keepdim=True) / kept.shape[-1]
    counts = vmap(count)(batch).to(weights)
    left = (counts * kept).sum(-1, keepdim=True)
    return weights * share * counts.sum(-1, keepdim=True) / left.clamp(min=torch.finfo(left.dtype).tiny)


def kept_only(batch: Batch, weights: Tensor, kept: Tensor) -> tuple[Batch, Tensor | None]:
    """The examples whose weight is not 0, as the only ones that the network sees, and their factors."""
    k = int(kept.sum())
    if k < len(kept):
        index = kept.nonzero()[:, 0]
        batch = map_trees(lambda leaf: leaf[index.to(leaf.device)] if leaf.dim() else leaf, batch)
    factors = weights[kept] * (k / len(kept))
    return batch, factors if k == 0 or not torch.allclose(factors, torch.ones_like(factors)) else None
