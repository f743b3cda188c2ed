"""A number for every example by which one tells groups of examples apart: how much ink, say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from algobias.trees import tensors_in

if TYPE_CHECKING:
    from torch import Tensor


def ink(batch: Any) -> Tensor:
    """Sum of the input of every example, [B]: for images how much ink or light there is.

    Args:
        batch: Its first tensor is the input, [B, ...].

    Example:
        >>> import torch
        >>> ink((torch.tensor([[1.0, 2.0], [0.0, 0.5]]), torch.tensor([0, 1]))).tolist()
        [3.0, 0.5]
    """
    inputs = next(iter(tensors_in(batch)))[1].detach()
    return inputs.reshape(len(inputs), -1).float().sum(1).cpu()
