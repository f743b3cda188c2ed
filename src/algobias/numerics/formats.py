"""Number formats of few bits: the magnitudes that one entry can have, before any scale."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

from algobias.errors import unknown_name

COMMON = (
    "int8",
    "int4",
    "e4m3",
    "e5m2",
    "e2m3",
    "e3m2",
    "e2m1",
    "e1m2",
    "e3m0",
    "bfloat16",
    "float16",
)
"""Names that are offered where one is not known; every ``intB`` and ``eXmY`` is read."""


@dataclass(frozen=True)
class Format:
    """A grid of magnitudes, symmetric about zero: a float with subnormals, of which an integer is one.

    Magnitudes from ``least`` on are ``2^e (1 + k / 2^mantissa)``, k = 0 ... 2^mantissa - 1; below it they are
    the multiples of ``least / 2^mantissa``. An integer of B bits is the float whose numbers are all
    subnormal: B - 1 bits of mantissa, ``least = 2^(B - 1)``, hence steps of 1. What lies beyond ``top``
    saturates.

    Attributes:
        name: As spelled.
        bits: Bits of an entry, the sign included.
        mantissa: Bits after the leading one.
        least: Smallest normal magnitude, a power of two.
        top: Largest magnitude.
        ties: Where two levels are equally near: ``even``, the one of even code (zero is code 0); ``octave``,
            the upper one of two powers of two (of formats without mantissa: ``2^floor(log2(4 x / 3))`` from
            ``least`` on, as logarithmic unbiased quantisation rounds to the nearest).
    """

    name: str
    bits: int
    mantissa: int
    least: float
    top: float
    ties: Literal["even", "octave"] = "even"

    @property
    def exact(self) -> bool:
        """Whether it is float32, which everything here is computed in."""
        return self.bits == 32

    @property
    def binary(self) -> bool:
        """Whether it holds signs only: -1 and 1, no 0."""
        return self.bits == 1

    @property
    def integer(self) -> bool:
        """Whether its levels are 0, 1, 2, ..."""
        return not self.binary and self.least > self.top and self.least == 2.0**self.mantissa

    @property
    def step(self) -> float:
        """Distance of the smallest levels."""
        return self.least * 2.0**-self.mantissa

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """Every magnitude, from 0, ascending, by code. Cost: 2^(bits - 1) numbers."""
        if self.binary:
            return (1.0,)
        found, part = [0.0], 2**self.mantissa
        code = 1
        while found[-1] < self.top:
            power, rest = divmod(code, part)
            lead = part if power else 0
            found.append((lead + rest) / part * self.least * 2.0 ** (max(power, 1) - 1))
            code += 1
        return tuple(found)


@cache
def parse_format(text: str) -> Format:
    """Read a format: ``int2`` to ``int8``, ``e1m2`` to ``e5m3`` and others, ``bfloat16``, ``float16``.

    - ``intB``: levels 0, 1, ..., 2^(B-1) - 1, symmetric.
    - ``eXmY``: X (1 to 5) bits of exponent, Y (0 to 10) of mantissa, subnormals, bias 2^(X-1) - 1. E5 keeps
      its largest exponent for infinities, as IEEE 754 does, and E4M3 its largest code for NaN (largest levels
      57344 of E5M2 and 448 of E4M3); all other codes are numbers (E2M1: 6). E3M0: 0 and seven powers of two,
      from 1 to 64.
    - ``e4m3-240``: E4M3 whose largest exponent is kept as well, as some accelerators have it.
    - ``sign``: 1 and -1 (of 0, too: 1).
    - ``luq-nearest``: E3M0 with ties of two powers of two upwards.
    - ``float32``: what everything here is computed in: nothing is rounded.

    References: Micikevicius et al., FP8 Formats for Deep Learning, 2022; Rouhani et al., Microscaling Data
    Formats for Deep Learning, 2023.

    Raises:
        BadInput: No such format (the nearest is proposed).
    """
    name = text.strip().lower()
    if name in _WIDE:
        return _WIDE[name]
    if name == "e4m3-240":
        return Format(name, 8, 3, 2.0**-6, 240.0)
    if name == "sign":
        return Format(name, 1, 0, 1.0, 1.0)
    if name == "luq-nearest":
        return Format(name, 4, 0, 1.0, 64.0, "octave")
    if found := re.fullmatch(r"int([2-8])", name):
        return integer_format(int(found[1]))
    if (found := re.fullmatch(r"e([1-5])m(\d|10)", name)) and found[0] != "e1m0":
        return float_format(int(found[1]), int(found[2]))
    raise unknown_name("format", name, COMMON)


def integer_format(bits: int) -> Format:
    """Give the symmetric integer of so many bits: levels 0, 1, ..., 2^(bits - 1) - 1."""
    least = 2.0 ** (bits - 1)
    return Format(f"int{bits}", bits, bits - 1, least, least - 1)


@cache
def float_format(exponent: int, mantissa: int) -> Format:
    """Give the float of so many bits of exponent and mantissa, by the rules of :func:`parse_format`."""
    # E3M0 is the grid of logarithmic unbiased quantisation, whose smallest level is 1.
    bias = 1 if (exponent, mantissa) == (3, 0) else 2 ** (exponent - 1) - 1
    reserved = 2**mantissa if exponent in (5, 8) else int((exponent, mantissa) == (4, 3))
    power, part = divmod(2 ** (exponent + mantissa) - reserved - 1, 2**mantissa)
    top = (1 + part / 2**mantissa) * 2.0 ** (power - bias)
    name = f"e{exponent}m{mantissa}"
    return Format(name, 1 + exponent + mantissa, mantissa, 2.0 ** (1 - bias), top)


def _named(name: str, exponent: int, mantissa: int) -> Format:
    one = float_format(exponent, mantissa)
    return Format(name, one.bits, one.mantissa, one.least, one.top)


_WIDE = {
    "bfloat16": _named("bfloat16", 8, 7),
    "float16": _named("float16", 5, 10),
    "float32": Format("float32", 32, 23, 2.0**-126, (2 - 2.0**-23) * 2.0**127),
}
