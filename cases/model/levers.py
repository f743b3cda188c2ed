"""A lever for one case: the exact rescaling that takes back a large initialisation (case B10)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from algobias.levers import Card, Part
from algobias.levers.base import Context
from algobias.levers.step import Grads, Layout, State, Transform, Tree
from algobias.recipe import Recipe


class Scaled(nn.Module):
    """A network whose outputs are multiplied by a constant."""

    def __init__(self, net: nn.Module, factor: float) -> None:
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, inputs: Tensor) -> Tensor:
        """Like the network's own."""
        return self.factor * self.net(inputs)


class Rescale(Part):
    """Multiply the outputs by ``c^-D`` and train in the coordinates of weights that are c times smaller.

    For a network of D matrices with ReLU between them, each behind the next in the order of its parameters,
    matrices c times as large and a bias behind the k-th of them ``c^k`` times as large give ``c^D`` times the
    output. With the outputs divided by that, gradients multiplied by those powers and steps too, training is,
    to rounding, that of the network with the smaller weights, whatever the optimizer: for Adam this is c
    times the rate for matrices and ``c^k`` times for biases.

    Attributes:
        factor: c; 1 changes nothing.
    """

    name: ClassVar[str] = "rescale"
    positional: ClassVar[str | None] = "factor"
    card: ClassVar[Card] = Card(
        summary="Divides outputs and step sizes so that large initial weights train like small ones.",
        saves="nothing",
        costs="nothing to speak of",
        acts_on=("weights",),
        moves=("distance_from_init",),
        not_when="Layers are not positively homogeneous: normalisations, other activations than ReLU.",
        references=("Chizat, Oyallon, Bach, On lazy training in differentiable programming, 2019",),
        examples=("rescale:40",),
    )
    factor: float = Field(default=1.0, gt=0)

    @classmethod
    def neutral(cls, recipe: Recipe) -> Rescale:
        """A factor of 1 changes nothing."""
        return cls(factor=1.0)

    def model(self, net: nn.Module) -> nn.Module:
        """Multiply the outputs."""
        if self.factor == 1:
            return net
        depth = sum(parameter.dim() > 1 for parameter in net.parameters())
        return Scaled(net, self.factor**-depth)

    def update(self, transform: Transform, context: Context) -> Transform:
        """Take the update in the smaller coordinates."""
        if self.factor == 1:
            return transform

        def update(grads: Grads, memory: Tree, state: State) -> tuple[State, Tree]:
            scale = self._scale(state.layout).to(state.params)
            small = state.with_params(state.params / scale)
            after, memory = transform.update(grads * scale, memory, small)
            return after.with_params(after.params * scale), memory

        return transform._replace(update=update)

    def _scale(self, layout: Layout) -> Tensor:
        """How many times larger each weight is, [P]."""
        depth, parts = 0, []
        for shape in layout.shapes:
            depth += len(shape) > 1
            power = 1 if len(shape) > 1 else depth
            parts.append(torch.full((shape.numel(),), self.factor**power))
        return torch.cat(parts)
