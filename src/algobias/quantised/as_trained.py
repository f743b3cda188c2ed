"""A network computed for a while as it is trained, or as if nothing, or one product alone, were rounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from torch import Tensor, nn

from algobias.quantised.draws import KEY, key_of
from algobias.quantised.layers import Rounding
from algobias.quantised.operands import EXACT, Operands

PRODUCTS: dict[str, tuple[str, ...]] = {
    "forward": ("fx", "fw"),
    "input_gradient": ("dg", "dw"),
    "weight_gradient": ("wg", "wx"),
}
"""Operands of each product."""


def exact(operands: Operands) -> Operands:
    """Nothing rounded."""
    return replace(operands, strength=0.0)


def only(product: str) -> Callable[[Operands], Operands]:
    """One product rounded, the others of float32 operands; what the forward product rounds is its own."""

    def changed(operands: Operands) -> Operands:
        own = PRODUCTS[product]
        fx, fw, dg, dw, wg, wx = (operands.of(n) if n in own else EXACT for n in Operands.NAMES)
        held = operands.accumulator if product == "forward" else None
        return replace(operands, fx=fx, fw=fw, dg=dg, dw=dw, wg=wg, wx=wx, accumulator=held)

    return changed


def rounded_layers(net: nn.Module) -> dict[str, Rounding]:
    """The rounded layers of a network by name."""
    return {name: module for name, module in net.named_modules() if isinstance(module, Rounding)}


@contextmanager
def computed(net: nn.Module, changed: Callable[[Operands], Operands], draw: str) -> Iterator[None]:
    """Compute rounded layers as in training inside of the block; everything is put back.

    All other modules stay in the modes they are in.

    Args:
        net: The network.
        changed: Operands -> what they go through meanwhile.
        draw: What random numbers follow, with the name of the layer.
    """
    layers = rounded_layers(net)
    before: list[tuple[Rounding, Operands, bool, Tensor]] = []
    for name, layer in layers.items():
        key: Tensor = getattr(layer, KEY)
        before.append((layer, layer.operands, layer.training, key.clone()))
        vars(layer)["operands"] = changed(layer.operands)
        layer.training = True
        key.fill_(key_of(f"{draw},{name}"))
    try:
        yield
    finally:
        for layer, operands, mode, kept in before:
            vars(layer)["operands"] = operands
            layer.training = mode
            getattr(layer, KEY).copy_(kept)
