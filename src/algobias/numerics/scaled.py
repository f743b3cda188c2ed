"""From the entries that share a scale to what the format holds of them."""

from __future__ import annotations

import torch
from torch import Tensor

from algobias.numerics.clipping import clip_at, mean_of
from algobias.numerics.formats import integer_format
from algobias.numerics.grammar import Fields
from algobias.numerics.pieces import in_pieces
from algobias.numerics.rounding import dither, round_to
from algobias.numerics.rules import Draws
from algobias.numerics.scales import TwoLevel, e4m3_scales, join, largest_of, power_of_two, split


def quantised(x: Tensor, fields: Fields, draws: Draws | None, largest: Tensor | float | None) -> Tensor:
    """Draw what rounding needs, show what shares a scale, quantise, and put it together again.

    Shapes: ``x`` [..., R, C], contiguous; the result the same.
    """
    uniform = None
    if draws is not None and fields.rounding == "stochastic":
        uniform = draws(x.shape)
    elif draws is not None and fields.rounding == "dithered":
        uniform = dither(draws(torch.Size((*x.shape[:-2], 1, 1))), x.shape)
    parts = split(x, fields.scale)
    numbers = None if uniform is None else split(uniform.to(x.device), fields.scale)
    return join(scaled(parts, fields, numbers, largest), fields.scale, x.shape)


def scaled(parts: Tensor, fields: Fields, uniform: Tensor | None, given: Tensor | float | None) -> Tensor:
    """Scale, round to the levels of the format, and scale back.

    Args:
        parts: As :func:`algobias.numerics.scales.split` gives them.
        fields: What to do.
        uniform: Numbers in [0, 1) of the shape of ``parts``, where rounding draws.
        given: Largest magnitude of each matrix, [..., 1, 1] or a number, instead of its own.
    """
    fmt, rounding, scale = fields.format, fields.rounding, fields.scale
    if fmt.binary:
        return _signs(parts, fields, uniform)
    if scale.over == "none":
        return in_pieces(lambda x, u: round_to(x, fmt, rounding, u), parts, uniform)
    if fields.affine:
        return _affine(parts, fields, uniform)
    if scale.rule == "e4m3":
        return _two_level(parts, fields, uniform, given)
    own = given is None and fields.clip == "max"

    def one(x: Tensor, u: Tensor | None, largest: Tensor) -> Tensor:
        if scale.rule == "exact":
            unit = _nonzero(largest / fmt.top)
            return round_to(x / unit, fmt, rounding, u, saturate=not own).mul_(unit)
        unit = power_of_two(largest, fmt, scale.rule)
        return round_to(x, fmt, rounding, u, unit=unit, saturate=not own or scale.rule != "rceil")

    if scale.over == "tensor":
        return in_pieces(one, parts, uniform, _limit(parts, fields, given))
    keep = 3 if scale.over == "tile" else 1  # what shares a scale stays in one piece
    return in_pieces(lambda x, u: one(x, u, _limit(x, fields, None)), parts, uniform, keep=keep, whole=True)


def _limit(parts: Tensor, fields: Fields, given: Tensor | float | None) -> Tensor:
    """Magnitude that the largest level stands for."""
    if given is not None:
        told = torch.as_tensor(given, dtype=parts.dtype, device=parts.device)
        return told.squeeze(-1) if told.dim() > 1 else told.reshape(1)
    largest = largest_of(parts, fields.scale)
    if fields.clip == "max":
        return largest
    found = clip_at(parts, fields.clip, fields.format.bits, fields.percentile)
    return torch.minimum(found, largest) + (largest - largest)


def limit_of(x: Tensor, fields: Fields) -> Tensor:
    """Where the range of the scale of each matrix ends, [..., 1, 1]; see :meth:`Quantiser.limit`."""
    if fields.scale.rule == "e4m3":
        return torch.maximum(x.amax((-2, -1), keepdim=True), -x.amin((-2, -1), keepdim=True))
    return _limit(split(x, fields.scale), fields, None)[..., None]


def _nonzero(unit: Tensor) -> Tensor:
    """Keep scales away from 0; an infinite one makes all that it scales not a number, as 0 times it is."""
    return unit.clamp(min=torch.finfo(unit.dtype).tiny)


def _two_level(parts: Tensor, fields: Fields, uniform: Tensor | None, given: Tensor | float | None) -> Tensor:
    fmt, rounding, tile = fields.format, fields.rounding, fields.scale.over == "tile"
    if given is None:
        axes = (-4, -3, -2, -1) if tile else (-3, -2, -1)
        whole = torch.maximum(parts.amax(axes, keepdim=True), -parts.amin(axes, keepdim=True))
    else:
        whole = torch.as_tensor(given, dtype=parts.dtype, device=parts.device)
        whole = whole[(..., *((None,) * (2 if tile else 1)))] if whole.dim() else whole
    random = rounding in ("stochastic", "dithered")

    def one(x: Tensor, u: Tensor | None, whole: Tensor) -> Tensor:
        largest = largest_of(x, fields.scale)

        def scales(level: float) -> TwoLevel:
            return e4m3_scales(largest, whole, fmt, up=random, level=level, spare=fields.scale.four)

        scale = scales(fmt.top)
        if fields.scale.four:
            # Chosen by rounding to the nearest: a choice that saw the draws would bias them.
            both, axes = (scale, scales(4.0)), (-3, -1) if tile else (-1,)
            near = (round_to(x * s.inverse, fmt).mul_(s.unit) for s in both)
            six, four = ((y - x).square().sum(axes, keepdim=True) for y in near)
            scale = TwoLevel(*(torch.where(four < six, b, a) for a, b in zip(*both, strict=True)))
        return round_to(x * scale.inverse, fmt, rounding, u).mul_(scale.unit)

    return in_pieces(one, parts, uniform, whole, keep=3 if tile else 1, whole=True)


def _signs(parts: Tensor, fields: Fields, uniform: Tensor | None) -> Tensor:
    """Signs, times the mean magnitude of what shares a scale; at random 1 with probability (x + 1) / 2."""
    none = fields.scale.over == "none"
    unit = torch.ones_like(parts[..., :1]) if none else mean_of(parts.abs())
    if uniform is None:
        level = torch.where(parts < 0, -1.0, 1.0)
    else:
        chance = parts / _nonzero(unit) * 0.5 + 0.5
        level = torch.where(uniform < chance, 1.0, -1.0)
    broken = parts * 0.0 if none else unit - unit  # not a number where an entry, or the scale, is not
    return torch.where(parts.isinf(), level, level + broken) if none else level * unit + broken


def _affine(parts: Tensor, fields: Fields, uniform: Tensor | None) -> Tensor:
    """Levels from the least entry (or 0) to the largest (or 0); 0 is one of them."""
    steps = 2**fields.format.bits - 1
    high = parts.amax(-1, keepdim=True).clamp(min=0)
    low = parts.amin(-1, keepdim=True).clamp(max=0)
    random = fields.rounding in ("stochastic", "dithered")
    # Where rounding is random a level is spared, so that the rounded zero point does not clip.
    unit = _nonzero((high - low) / (steps - random))
    zero = torch.ceil(-low / unit) if random else torch.round(-low / unit)
    wide = integer_format(fields.format.bits + 1)  # its largest level is ``steps``

    def one(x: Tensor, unit: Tensor, zero: Tensor, u: Tensor | None) -> Tensor:
        level = round_to(x / unit, wide, fields.rounding, u)
        return torch.minimum(torch.maximum(level, -zero), steps - zero) * unit

    return in_pieces(one, parts, unit, zero, uniform)
