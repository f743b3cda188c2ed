"""The six operands of a layer's three matrix products, and what each goes through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from algobias.errors import BadInput, unknown_name
from algobias.numerics.accumulators import Accumulator, parse_accumulator
from algobias.numerics.quantiser import Quantiser, parse_quantiser

EXACT = parse_quantiser("float32")
PRODUCTS = ("forward", "input", "weight")
"""The three products: the output, the gradient of the input, the gradient of the weight."""


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
        rotated: Products whose two operands are rotated before they are rounded: ``forward``, ``input``,
            ``weight``.
        accumulator: How the sums of the forward product are held; None: in float32.
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
    rotated: tuple[str, ...] = ()
    accumulator: Accumulator | None = None

    @classmethod
    def read(
        cls,
        texts: Mapping[str, str],
        *,
        strength: float = 1.0,
        copies: int = 1,
        rotated: tuple[str, ...] = (),
        accumulator: str = "",
    ) -> Operands:
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
        held = parse_accumulator(accumulator) if accumulator else None
        return cls(strength=strength, copies=copies, rotated=rotated, accumulator=held, **read)

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
        """Whether autograd's own products of the rounded forward operands are not what is wanted."""
        rounded = not (self.dg.exact and self.wg.exact) or self.accumulator is not None
        return rounded or self.own_weight or self.own_input

    @property
    def own_weight(self) -> bool:
        """Whether the input's gradient rounds the weight anew, or takes it as it was."""
        return self.rotates("input") or (self.dw is not None and _differs(self.dw, self.fw))

    @property
    def own_input(self) -> bool:
        """Whether the weight's gradient rounds the input anew, or takes it as it was."""
        return self.rotates("weight") or (self.wx is not None and _differs(self.wx, self.fx))

    @property
    def by_patches(self) -> bool:
        """Whether a convolution must be the product of its patches: entries differ from patch to patch."""
        forward = [q for q in (self.fx, self.wx) if q is not None and not q.exact]
        apart = not all(q.per_tensor for q in forward) or self.accumulator is not None
        # at strength 0 nothing is rounded, and the convolution itself has its own bits
        return self.strength > 0 and (apart or any(self.rotates(product) for product in PRODUCTS))

    def rotates(self, product: str) -> bool:
        """Whether the operands of a product are rotated: not at strength 0, nor where neither is rounded."""
        pairs = {"forward": (self.fx, self.fw), "input": (self.dg, self.dw), "weight": (self.wg, self.wx)}
        rounded = any(q is not None and not q.exact for q in pairs[product])
        return product in self.rotated and self.strength > 0 and rounded

    def of(self, name: str) -> Quantiser:
        """What an operand goes through; one of a backward product that has none of its own, the forward's."""
        own: Quantiser | None = getattr(self, name)
        return own if own is not None else {"dw": self.fw, "wx": self.fx}[name]

    def number(self, name: str) -> int:
        """Which of the six an operand is; random numbers follow it."""
        return self.NAMES.index(name)

    def __str__(self) -> str:
        """As the options of a lever spell them."""
        each = [f"{name}={getattr(self, name)}" for name in self.rounded]
        each += [f"acc={self.accumulator}"] if self.accumulator else []
        return ",".join(each) or "float32"


def _differs(own: Quantiser, forward: Quantiser) -> bool:
    """Whether an operand of a backward product is another than the rounded one of the forward product."""
    # blocks and rows of one quantiser lie along another axis there, and random numbers are drawn anew
    same = own == forward and own.per_tensor and not own.random
    return not same and not (own.exact and forward.exact)
