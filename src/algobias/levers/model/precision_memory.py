"""What is kept between updates in few bits: weights, and the moments of the optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.levers.step import Grads, Layout, State, Transform, Tree

if TYPE_CHECKING:
    from torch import Tensor

MOMENTS = {"moment1": ("velocity", "mean"), "moment2": ("square",)}
"""Names of an optimizer's memory, by what of it they are."""


def kept_in(transform: Transform, texts: Mapping[str, str], strength: float) -> Transform:
    """Round what an optimizer keeps after every update; the update itself is made of what was kept.

    ``weights`` themselves. ``moment1``: momentum, or Adam's mean; ``moment2``: Adam's mean square. Each
    parameter has its own scale. Source: Fishman et al., Scaling FP8 training to trillion-token LLMs, 2025.

    Args:
        transform: The optimizer's own, before all other parts.
        texts: Format of each that is rounded, by name.
        strength: p of ``(1 - p) x + p Q(x)``.

    Raises:
        BadInput: A format that draws, which an update has no numbers for.
    """
    from algobias.numerics.quantiser import parse_quantiser
    from algobias.quantised.matrices import Operand

    operands = {}
    for name, text in texts.items():
        quantiser = parse_quantiser(text)
        if quantiser.random:
            raise BadInput(f"precision.{name}", text, "a format without random numbers")
        operands[name] = Operand(quantiser, 0, strength)
    if not operands:
        return transform

    def rounded(flat: Tensor, operand: Operand, layout: Layout) -> Tensor:
        lead = flat.dim() - 1
        views = layout.views(flat).values()
        pieces = [operand.along(view, "rest", lead, None).reshape(*flat.shape[:-1], -1) for view in views]
        return torch.cat(pieces, -1)

    def update(grads: Grads, memory: Tree, state: State) -> tuple[State, Tree]:
        after, kept = transform.update(grads, memory, state)
        kept = dict(kept)
        for name, keys in MOMENTS.items():
            for key in keys:
                if name in operands and key in kept:
                    kept[key] = rounded(kept[key], operands[name], state.layout)
        if "weights" in operands:
            after = after.with_params(rounded(after.params, operands["weights"], state.layout))
        return after, kept

    return transform._replace(update=update)
