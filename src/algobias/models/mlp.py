"""Multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from algobias.errors import BadInput


class MLP(nn.Sequential):
    """Linear layers with ReLU between them; whatever shape an example has is flattened first."""

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, classes] of inputs [B, ...]."""
        x = x.flatten(1)
        for layer in self:
            x = layer(x)
        return x


def mlp(inputs: int, hidden: Sequence[int] = (128, 128), classes: int = 10) -> MLP:
    """Build ``inputs-hidden[0]-...-hidden[-1]-classes`` with ReLU and PyTorch's default initialisation.

    Layers are created from input to output, so ``torch.manual_seed(s)`` followed by this call gives the
    same weights as the plain ``nn.Sequential`` of the same layers.

    Args:
        inputs: Numbers per example.
        hidden: Width of each hidden layer; empty for a linear model.
        classes: Outputs (1 for a scalar regression).

    Raises:
        BadInput: A width below 1.

    Example:
        >>> sum(p.numel() for p in mlp(64, (128, 128), 10).parameters())
        26122
    """
    widths = [inputs, *hidden, classes]
    if min(widths) < 1:
        raise BadInput("mlp", widths, "widths of at least 1")
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return MLP(*layers[:-1])
