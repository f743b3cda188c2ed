"""N of every M entries of the last axis, short groups padded with zeros; members of groups lie in rows.

The same as :mod:`algobias.numerics.masks` gives: there as masks and probabilities of any dimension, here what
is left of a tensor, in passes along groups instead of within them, which is faster.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from algobias.numerics.masks import magnitude_mask
from algobias.numerics.rules import Draws

RANKED = 16
"""Members up to which comparing each with each is faster than sorting."""


def sparse(x: Tensor, groups: tuple[int, int], draws: Draws | None) -> Tensor:
    """Keep N of every M entries: the largest, or where there are draws some at random, without bias.

    Shapes: ``x`` [..., R, C], the result the same; one number is drawn for each group, [..., R, C / M].
    Cost: some M compared pairs, or 5 N + 15 passes.
    """
    n, m = groups
    short = -x.shape[-1] % m
    padded = torch.nn.functional.pad(x, (0, short)) if short else x
    if draws is None and m > RANKED:
        found = padded.masked_fill(~magnitude_mask(padded, n, m), 0.0)
    else:
        members = padded.reshape(*padded.shape[:-1], padded.shape[-1] // m, m).movedim(-1, 0).contiguous()
        kept = _largest(members, n) if draws is None else _drawn(members, n, draws(members.shape[1:]))
        found = kept.movedim(0, -1).reshape(padded.shape)
    return found[..., : x.shape[-1]] if short else found


def _largest(members: Tensor, n: int) -> Tensor:
    """Keep the N largest, [M, ...]; of equal ones the first; what is not a number is largest.

    Comparisons are signs of integers, which are -1 or 0 once they are shifted: several times as fast as truth
    values.
    """
    kind, width = (torch.int32, 31) if members.dtype == torch.float32 else (torch.int64, 63)
    bits = members.view(kind)
    size = torch.bitwise_and(bits, (1 << width) - 1)
    less = torch.bitwise_not(size)  # -size - 1
    ahead = [torch.full_like(one, len(size) - 1 - i) for i, one in enumerate(size)]
    for i in range(len(size)):
        for j in range(i + 1, len(size)):
            first = (size[j] + less[i]) >> width  # -1 where i is not smaller than j
            ahead[i] = ahead[i] + first
            ahead[j] = ahead[j] - first
    kept = (torch.stack(ahead) - n) >> width
    return torch.bitwise_and(bits, kept).view(members.dtype)


def _drawn(members: Tensor, n: int, uniform: Tensor) -> Tensor:
    """Keep N at random as ``x / p``, [M, ...], with p as :func:`algobias.numerics.masks.inclusion` gives it.

    Systematic sampling: kept is where ``ceil(p_1 + ... + p_i - u)`` grows, which it does N times.
    """
    limits = torch.finfo(members.dtype)
    size = members.abs().nan_to_num_(nan=torch.inf, posinf=torch.inf)
    broken = (size - size).nan_to_num_(nan=1.0)  # infinite ones are certain, and the only ones of their group
    size = size.clamp(max=limits.max) * (1.0 - broken.amax(0)) + broken
    wanted = _total(size.sign()).clamp(max=n)
    chance, sure = size, torch.zeros_like(size)
    for _ in range(n + 1):  # each round makes at least one more entry certain
        rest = size * (1.0 - sure)
        factor = (wanted - _total(sure)).clamp(min=0.0) / _total(rest).clamp(min=limits.tiny)
        chance = rest.mul_(factor).add_(sure)
        sure = chance.floor().clamp(max=1.0)
    chance = torch.maximum(chance.clamp(max=1.0), broken)
    ends = chance.cumsum(0)
    whole = ends[-1:].round()  # whole sums, against rounding; the last is reached whatever u is
    ends = ends * (whole / ends[-1:].clamp(min=0.5))
    counted = torch.cat([ends[:-1].sub_(uniform.to(ends.device, ends.dtype)).ceil_(), whole])
    kept = torch.cat([counted[:1], counted[1:] - counted[:-1]])
    return kept.div_(chance.clamp(min=limits.tiny)).mul_(members)


def _total(members: Tensor) -> Tensor:
    """Sum over members in their order, whatever the shape: a stack then gives what each of it gives."""
    return functools.reduce(torch.add, members.unbind(0))
