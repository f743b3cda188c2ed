"""Rounding to the grid of a format, by arithmetic on the bits of floating-point numbers: no search."""

from __future__ import annotations

import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.numerics.formats import Format
from algobias.numerics.rules import ROUNDINGS, Draws, Rounding

GOLDEN = 0x9E3779B9
"""2^32 over the golden ratio: multiples of it, modulo 2^32, are spread evenly."""


def draws_from(generator: torch.Generator, dtype: torch.dtype | None = None) -> Draws:
    """Make draws of a generator: each call continues its stream; drawn where the generator lives."""

    def draw(shape: torch.Size) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device, dtype=dtype)

    return draw


def round_to(
    x: Tensor,
    fmt: Format,
    rounding: Rounding = "nearest",
    uniform: Tensor | None = None,
    *,
    unit: Tensor | None = None,
    saturate: bool = True,
) -> Tensor:
    """Round every entry to a level of a format; beyond the largest it saturates.

    With ``p = max(2^floor(log2 |x|), least)`` from the bits of x, levels next to x are ``s = p / 2^m`` apart.

    - ``nearest``: ``(x + c) - c`` with ``c = 1.5 p 2^(23 - m)`` (52 in double precision): in the sum the last
      bit is worth s, and the processor rounds it to the nearest, ties to even. That is the even code wherever
      there is a mantissa; without one c is one unit of s larger where the code of p is even.
    - ``stochastic``: ``t = |x| / s`` is rounded up where ``u < t - floor(t)``: the expectation is x, the
      variance ``(hi - |x|) (|x| - lo)``, up to the 2^-24 of the uniform numbers u. All differences are exact.
    - ``floor``: t is rounded down: towards zero.
    - ``dithered``: as stochastic; see :func:`dither` for its numbers.

    The sign of zero is that of x; what is not a number stays so. Numbers below 2^-126 are rounded to steps of
    the smallest level only: single precision has no exponent for them.

    Shapes: ``x`` any, ``uniform`` as x, ``unit`` as x or 1 in each dimension. Cost: 7 passes over x to the
    nearest, 12 at random. Source: the exponent trick is folklore (Dekker, A floating-point technique for
    extending the available precision, 1971).

    Args:
        x: Float32 or float64.
        fmt: The grid.
        rounding: Which rule.
        uniform: Numbers in [0, 1) of ``stochastic`` and ``dithered``.
        unit: Powers of two that the grid is scaled by; what is not a number makes all that it scales so.
        saturate: False where x is known to end at the largest level: one pass less to the nearest.

    Raises:
        BadInput: Another rule, or no uniform numbers where they are needed.
    """
    if rounding not in ROUNDINGS:
        raise BadInput("rounding", rounding, "nearest, stochastic, floor or dithered")
    random = rounding in ("stochastic", "dithered")
    if random and uniform is None:
        raise BadInput("draws", None, f"uniform numbers: {rounding} rounding draws them")
    if fmt.exact:
        return x
    if fmt.binary:
        raise BadInput("format", fmt.name, "levels around zero: signs are no rounding")
    if rounding == "nearest":
        return _nearest(_limited(x, fmt, unit) if saturate else x, fmt, unit, mine=saturate)
    return _between(_limited(x, fmt, unit), fmt, unit, uniform if random else None)


def round_scales(x: Tensor, fmt: Format, *, up: bool) -> Tensor:
    """Round numbers that are not negative to the nearest level, or to the next larger one; in fewer passes.

    Shapes: any. Beyond the largest level they saturate.
    """
    x = x.clamp(max=fmt.top)
    return _between(x, fmt, None, torch.zeros_like(x)) if up else _nearest(x, fmt, None, signed=False)


def _limited(x: Tensor, fmt: Format, unit: Tensor | None) -> Tensor:
    if unit is None:
        return x.clamp(-fmt.top, fmt.top)
    top = unit * fmt.top  # minimum and maximum are several times faster than clamp with tensors
    return torch.maximum(torch.minimum(x, top), -top)


def _power(x: Tensor, fmt: Format, unit: Tensor | None) -> Tensor:
    """Spacing of levels around each entry, times 2^mantissa."""
    if x.dtype == torch.float32:
        power = torch.bitwise_and(x.view(torch.int32), 0x7F800000).view(torch.float32)
    else:
        power = torch.bitwise_and(x.view(torch.int64), 0x7FF << 52).view(torch.float64)
    return power.clamp_min_(fmt.least) if unit is None else torch.maximum(power, unit * fmt.least)


def _nearest(
    x: Tensor, fmt: Format, unit: Tensor | None, *, signed: bool = True, mine: bool = False
) -> Tensor:
    if fmt.integer and unit is None:
        return torch.round(x)  # ties to even, too
    single = x.dtype == torch.float32
    if single and (kind := _CAST.get((fmt.mantissa, fmt.least, fmt.top))):
        return _cast(x, getattr(torch, kind), unit)
    if single and fmt.top > 2.0 ** (103 + fmt.mantissa):  # c would overflow
        return _nearest(x.double(), fmt, None if unit is None else unit.double()).float()
    power = _power(x, fmt, unit)
    factor = 1.5 * 2.0 ** ((23 if single else 52) - fmt.mantissa)
    if not fmt.mantissa and fmt.ties == "even":
        c = _odd_where_even(power * factor, power, fmt, unit)
        y = (x + c).sub_(c)
    else:
        y = torch.add(x, power, alpha=factor).sub_(power, alpha=factor)
    return _signed(y, x, mine) if signed else y


_CAST = {
    (10, 2.0**-14, 65504.0): "float16",
    (7, 2.0**-126, (2 - 2.0**-7) * 2.0**127): "bfloat16",
}
"""Grids that torch casts to faster than it computes; entries have been limited to the largest level."""


def _cast(x: Tensor, kind: torch.dtype, unit: Tensor | None) -> Tensor:
    return x.to(kind).float() if unit is None else (x * (1.0 / unit)).to(kind).float().mul_(unit)


def _signed(y: Tensor, x: Tensor, mine: bool) -> Tensor:
    """Magnitude of y, 0 or of the sign of x, with the sign of x: zeros keep theirs. Faster than copysign.

    ``mine``: whether x may be overwritten, so that one tensor less has to stay in the cache.
    """
    if x.dtype == torch.float32:
        bits = x.view(torch.int32)
        sign = bits.bitwise_and_(-(1 << 31)) if mine else torch.bitwise_and(bits, -(1 << 31))
        return sign.bitwise_or_(y.view(torch.int32)).view(torch.float32)
    return torch.copysign(y, x)


def _odd_where_even(c: Tensor, power: Tensor, fmt: Format, unit: Tensor | None) -> Tensor:
    """Add the last bit of c where the code of ``power`` is even: ties then go down, to that code."""
    kind, width = (torch.int32, 23) if c.dtype == torch.float32 else (torch.int64, 52)
    least = torch.full((), fmt.least, dtype=c.dtype, device=c.device) if unit is None else unit * fmt.least
    even = torch.bitwise_and((power.view(kind) - least.view(kind)) >> width, 1)  # code 1 is least
    return (c.view(kind) + even).view(c.dtype)


def _between(x: Tensor, fmt: Format, unit: Tensor | None, uniform: Tensor | None) -> Tensor:
    """Round down in magnitude, or up by chance. Overwrites x."""
    plain = fmt.integer and unit is None
    step = None if plain else _power(x, fmt, unit).mul_(2.0**-fmt.mantissa)
    t = x.abs() if step is None else x.abs().div_(step)
    whole = torch.floor(t)
    if uniform is not None:
        # t - whole - u is a multiple of 2^-24 below 1, or keeps its sign: ceil gives 1 where u < t - whole.
        whole = t.sub_(whole).sub_(uniform.to(x.device, x.dtype)).ceil_().add_(whole)
    return _signed(whole if step is None else whole.mul_(step), x, True)


def dither(start: Tensor, shape: torch.Size) -> Tensor:
    """Spread one uniform number over a matrix: ``u_k = (u + k / golden ratio) mod 1`` along its entries.

    Each u_k is uniform, so that rounding with it is unbiased entry by entry. One number is drawn for a matrix
    instead of one for each entry; those of entries next to each other are far apart, so that errors of
    entries that are alike cancel in sums. Source: Wu, Dither computing, 2021; here by a Kronecker sequence.

    Shapes: ``start`` [..., 1, 1] of numbers in [0, 1); the result is ``shape`` [..., R, C].
    """
    entries = torch.arange(shape[-2] * shape[-1], device=start.device, dtype=torch.int32)
    steps = (entries * (GOLDEN - 2**32)).view(shape[-2:])  # modulo 2^32, as integers of 32 bits are
    first = (start.double() * 2.0**32 - 2.0**31).to(torch.int32)
    return torch.bitwise_and((steps + first) >> 8, 0xFFFFFF).to(torch.float32).mul_(2.0**-24)
