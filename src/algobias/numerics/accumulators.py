"""Matrix products whose running sums are held in few bits."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

from algobias.errors import BadInput, unknown_name
from algobias.numerics.formats import Format, float_format
from algobias.numerics.rules import Rounding

if TYPE_CHECKING:
    from torch import Tensor

Underflow = Literal["gradual", "flush", "none"]


@dataclass(frozen=True)
class Accumulator:
    """How the sum of a dot product is held.

    Products of ``chunk`` entries are summed exactly (in the precision of the operands), added to the running
    sum, and the sum is rounded: ``s <- Q(s + sum of a_k b_k)``. What is beyond the largest level saturates.

    Attributes:
        format: Levels of the sum.
        chunk: Products between two roundings.
        underflow: Below the least normal number: ``gradual``, subnormal levels; ``flush``, zero; ``none``, as
            if exponents had no lower end (to train with before underflow is switched on).
        rounding: ``nearest``, or ``floor``, towards zero, as hardware that cuts bits off.

    Source: Blumenfeld, Hubara and Soudry, Towards Cheaper Inference in Deep Networks with Lower Bit-Width
    Accumulators, 2024.
    """

    format: Format
    chunk: int = 16
    underflow: Underflow = "gradual"
    rounding: Rounding = "nearest"

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise BadInput("chunk", self.chunk, "at least 1")
        if self.underflow not in get_args(Underflow):
            raise BadInput("underflow", self.underflow, "gradual, flush or none")
        if self.rounding not in ("nearest", "floor"):
            raise BadInput("rounding", self.rounding, "nearest or floor: sums are not rounded at random")

    def __str__(self) -> str:
        words = [self.format.name, f"chunk{self.chunk}"]
        words += [] if self.underflow == "gradual" else [_UNDERFLOW[self.underflow]]
        return "-".join([*words, *(["floor"] if self.rounding == "floor" else [])])

    def rounded(self, sums: Tensor) -> Tensor:
        """Round running sums; any shape."""
        from algobias.numerics.rounding import round_to

        fmt = self.format
        if self.underflow == "none":
            fmt = replace(fmt, least=2.0**-90)
        found = round_to(sums, fmt, self.rounding)
        if self.underflow == "flush":
            found = found.masked_fill(found.abs() < fmt.least, 0.0)
        return found

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply matrices with this accumulator.

        Shapes: ``a`` [..., M, K], ``b`` [..., K, N], the result [..., M, N]; leading axes are broadcast.
        Cost: K / chunk small products and roundings of the result.
        """
        total: Tensor | None = None
        for start in range(0, a.shape[-1], self.chunk):
            part = a[..., start : start + self.chunk] @ b[..., start : start + self.chunk, :]
            total = self.rounded(part if total is None else total + part)
        return a @ b if total is None else total


_UNDERFLOW = {"flush": "flush", "none": "endless"}
_WORDS = ("chunk16", "chunk4", "flush", "endless", "floor")


@cache
def parse_accumulator(text: str) -> Accumulator:
    """Read an accumulator: ``e4m7`` (or ``m7e4``), and ``chunkN`` (16), ``flush``, ``endless``, ``floor``.

    Modifiers come in any order, joined by ``-``; ``str`` gives the canonical spelling. ``endless``: no
    underflow.

    Raises:
        BadInput: Unknown words (the nearest is proposed).
    """
    name, *words = text.strip().lower().split("-")
    found = re.fullmatch(r"e([1-8])m(\d|10)", name) or re.fullmatch(r"m(?P<m>\d|10)e(?P<e>[1-8])", name)
    if not found:
        raise unknown_name("accumulator", name, ("e4m7", "e4m3", "e5m10", "m7e4", "m3e4"))
    exponent, mantissa = (found["e"], found["m"]) if found.groupdict() else found.groups()
    made = Accumulator(_all_codes(int(exponent), int(mantissa)))
    for word in words:
        if size := re.fullmatch(r"chunk([1-9]\d{0,6})", word):
            made = replace(made, chunk=int(size[1]))
        elif word in ("flush", "endless"):
            made = replace(made, underflow="flush" if word == "flush" else "none")
        elif word == "floor":
            made = replace(made, rounding="floor")
        else:
            raise unknown_name("modifier of an accumulator", word, _WORDS)
    return made


def _all_codes(exponent: int, mantissa: int) -> Format:
    """Every code is a number: an accumulator has no infinities, it saturates."""
    fmt = float_format(exponent, mantissa)
    if exponent == 8:
        return fmt  # its largest exponent is that of infinity in single precision
    return replace(fmt, top=(2 - 2.0**-mantissa) * 2.0 ** (2**exponent - 1) * fmt.least / 2)
