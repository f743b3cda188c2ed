"""Which layers of a network are rounded, and which keep float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from algobias.errors import BadInput, unknown_name
from algobias.quantised.layers import CONVOLUTIONS, is_product
from algobias.quantised.operands import Operands

ENDS = "ends"
"""The first convolution and the last linear layer."""


def layers_of(text: str) -> tuple[str, ...]:
    """Patterns of names that a text separates by colons; ``none`` is no pattern."""
    return () if text == "none" else tuple(part for part in text.split(":") if part)


@dataclass(frozen=True)
class Choice:
    """What the operands of each layer go through.

    Attributes:
        operands: Of the layers that are rounded.
        high: Patterns of the names of layers that keep float32, or ``ends``.
        layers: Patterns of the names of layers that are rounded; all others keep float32.
    """

    operands: Operands
    high: tuple[str, ...] = (ENDS,)
    layers: tuple[str, ...] = ("*",)

    def of(self, net: nn.Module) -> Callable[[str, nn.Module], Operands | str]:
        """What the operands of a layer of this network go through, or why it keeps float32.

        Raises:
            BadInput: A pattern that no layer's name matches.
        """
        names = [name for name, module in net.named_modules() if is_product(module)]
        ends = ends_of(net)
        for field, patterns in (("high", self.high), ("layers", self.layers)):
            for pattern in patterns:
                if pattern not in (ENDS, "*") and not any(fnmatchcase(name, pattern) for name in names):
                    if not names:
                        raise BadInput(field, pattern, "a network with layers to round")
                    raise unknown_name(field, pattern, names)

        def asked(name: str, module: nn.Module) -> Operands | str:
            if not any(fnmatchcase(name, pattern) for pattern in self.layers):
                return "not among layers"
            if ENDS in self.high and name in ends:
                return "first convolution or last linear layer"
            if any(fnmatchcase(name, pattern) for pattern in self.high if pattern != ENDS):
                return "high"
            return self.operands

        return asked


def ends_of(net: nn.Module) -> set[str]:
    """Names of the first convolution and the last linear layer, in the order of the network's modules."""
    layers = [(name, module) for name, module in net.named_modules() if is_product(module)]
    first = next((name for name, module in layers if isinstance(module, CONVOLUTIONS)), None)
    last = next((name for name, module in reversed(layers) if isinstance(module, nn.Linear)), None)
    return {name for name in (first, last) if name is not None}
