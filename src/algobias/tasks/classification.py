"""Loss and metric of classification on ``(inputs, labels)`` batches; safe under ``torch.func.vmap``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


def classification_loss(model: nn.Module, batch: Any) -> Tensor:
    """Mean cross-entropy in nats."""
    inputs, labels = batch
    return torch.nn.functional.cross_entropy(model(inputs), labels)


def accuracy(model: nn.Module, batch: Any) -> Tensor:
    """100 where the largest output is the label's, else 0; [B]."""
    inputs, labels = batch
    hit: Tensor = model(inputs).argmax(dim=-1) == labels
    return 100.0 * hit.float()
