"""A model and its loss as one module, whose weights can be swapped."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from algobias.probes.subject import Loss


class Evaluated(nn.Module):
    """Holds the model under one name, so that ``functional_call`` can swap its weights around any loss."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Any) -> Tensor:
        """The loss of a batch."""
        return self.loss(self.model, batch)
