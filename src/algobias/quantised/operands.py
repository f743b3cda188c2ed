"""The six operands of a layer's three matrix products, and what each goes through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from algobias.errors import BadInput, unknown_name
from algobias.numerics.quantiser import Quantiser, parse_quantiser

EXACT = parse_quantiser("float32")


@dataclass(frozen=True)
class Operands:
    """What the operands of ``y = x w^T``, ``dx = g w`` and ``dw = g^T x`` go through, g the gradient of y.

    Attributes:
        fx: Of the forward product: the input.
        fw: Of the forward product: the weight.
        dg: Of the input's gradient: the gradient of the output.
        dw: Of the input's gradient: the weight; None: as rounded in the forward product.
        wg: Of the weight's gradient: the gradient of the output.
        wx: Of the weight's gradient: the input; None: as rounded in the forward product.
        strength: p of ``(1 - p) x + p Q(x)``, for all of them; 0 changes nothing, 1 is the format itself.
        copies: How many independent roundings of ``wg`` are averaged (SMP).
    """

    NAMES: ClassVar[tuple[str, ...]] = ("fx", "fw", "dg", "dw", "wg", "wx")

    fx: Quantiser = EXACT
    fw: Quantiser = EXACT
    dg: Quantiser = EXACT
    dw: Quantiser | None = None
    wg: Quantiser = EXACT
    wx: Quantiser | None = None
    strength: float = 1.0
    copies: int = 1

    @classmethod
    def read(cls, texts: Mapping[str, str], *, strength: float = 1.0, copies: int = 1) -> Operands:
        """Make them from the spellings of their quantisers.

        Example:
            >>> Operands.read({"wg": "int4-sr"}).rounded
            ('wg',)

        Raises:
            BadInput: No such operand or format; a strength or a number of copies out of range.
        """
        for name in texts:
            if name not in cls.NAMES:
                raise unknown_name("operand", name, cls.NAMES)
        if not 0 <= strength <= 1:
            raise BadInput("p", strength, "a number from 0 to 1")
        if copies < 1:
            raise BadInput("smp", copies, "a whole number of at least 1")
        read: dict[str, Any] = {name: parse_quantiser(text) for name, text in texts.items()}
        return cls(strength=strength, copies=copies, **read)

    @property
    def rounded(self) -> tuple[str, ...]:
        """Names of the operands that are rounded otherwise than to float32."""
        each = {name: getattr(self, name) for name in self.NAMES}
        return tuple(name for name, q in each.items() if q is not None and not q.exact)

    @property
    def random(self) -> bool:
        """Whether random numbers are drawn in training."""
        return any(getattr(self, name).random for name in self.rounded)

    @property
    def backward(self) -> bool:
        """Whether the backward products round anything, or take operands as they were before rounding."""
        return not (self.dg.exact and self.wg.exact) or self.own_weight or self.own_input

    @property
    def own_weight(self) -> bool:
        """Whether the input's gradient rounds the weight anew, or takes it as it was."""
        return self.dw is not None and _differs(self.dw, self.fw)

    @property
    def own_input(self) -> bool:
        """Whether the weight's gradient rounds the input anew, or takes it as it was."""
        return self.wx is not None and _differs(self.wx, self.fx)

    def number(self, name: str) -> int:
        """Which of the six an operand is; random numbers follow it."""
        return self.NAMES.index(name)

    def __str__(self) -> str:
        """As the options of a lever spell them."""
        return ",".join(f"{name}={getattr(self, name)}" for name in self.rounded) or "float32"


def _differs(own: Quantiser, forward: Quantiser) -> bool:
    """Whether an operand of a backward product is another than the rounded one of the forward product."""
    # blocks and rows of one quantiser lie along another axis there, and random numbers are drawn anew
    same = own == forward and own.per_tensor and not own.random
    return not same and not (own.exact and forward.exact)
