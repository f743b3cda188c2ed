"""Single examples that count more or less, or not at all, in the gradient of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.modules.module import register_module_forward_hook

from algobias.errors import BadInput
from algobias.levers.step import Batch
from algobias.training.before.forwards import Forward, changed_forward
from algobias.trees import map_trees


def weighted(model: nn.Module, weights: Tensor | None) -> AbstractContextManager[None]:
    """Multiply the gradients of row i of the model's outputs by ``weights[i]``, within a block.

    The outputs stay what they are. A loss has the model itself before it, parameters and members included:
    only what comes out of calling it is weighed (:mod:`~algobias.training.before.weighable` finds out whether
    that is all that the loss uses).

    Args:
        model: Its forward pass is replaced, and put back.
        weights: Of the examples of the batch, [B]; None: nothing is changed.
    """
    if weights is None:
        return nullcontext()
    rows: Tensor = weights
    if isinstance(model, torch.jit.ScriptModule):
        return _hooked(model, rows)

    def change(own: Forward) -> Forward:
        return lambda *inputs, **named: scaled(own(*inputs, **named), rows)

    return changed_forward(model, change)


@contextmanager
def _hooked(model: nn.Module, weights: Tensor) -> Iterator[None]:
    def hook(module: nn.Module, inputs: object, outputs: object) -> Any:
        return scaled(outputs, weights) if module is model else outputs

    handle = register_module_forward_hook(hook)  # a compiled module takes none of its own
    try:
        yield
    finally:
        handle.remove()


def scaled(outputs: object, weights: Tensor) -> object:
    """The same outputs, the gradients of row i multiplied by ``weights[i]``.

    Raises:
        BadInput: An output without one row for each example.
    """

    def scale(output: Tensor) -> Tensor:
        if not output.is_floating_point():
            return output
        if output.dim() == 0 or output.shape[0] != weights.shape[0]:
            allowed = f"outputs with one row for each of the {weights.shape[0]} examples of the batch"
            raise BadInput("model", tuple(output.shape), allowed)
        still = output.detach()
        # zero, so that the value is the same to the last bit; masked outputs (-inf) have no difference
        nothing = torch.where(still.isfinite(), output - still, 0.0)
        return still + weights.view(-1, *(1,) * (output.dim() - 1)).to(output.dtype) * nothing

    return map_trees(scale, outputs)


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
