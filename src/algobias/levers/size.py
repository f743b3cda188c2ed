"""How large a setting is between two others: the arithmetic of a share of a lever."""

from __future__ import annotations

import math

DIGITS = 3
"""Significant digits of a number between two others."""


class NoShare(Exception):
    """A lever has no share at its setting; the text says why, to follow its spelling and a colon."""


def between(none: float, own: float, fraction: float) -> float:
    """A number a share of the way from one to another, in three digits.

    Geometric where both are above 0, ``none^(1 - s) own^s``: what multiplies is halved by its square root.
    Else linear, ``none + s (own - none)``.

    Args:
        none: At share 0.
        own: At share 1.
        fraction: s.

    Example:
        >>> between(1, 16, 0.5), between(0, 0.1, 0.5)
        (4.0, 0.05)
    """
    return own if none == own else rounded(_point(none, own, fraction))


def _point(none: float, own: float, fraction: float) -> float:
    if none > 0 and own > 0:
        return math.exp((1 - fraction) * math.log(none) + fraction * math.log(own))
    return none + fraction * (own - none)


def kept(none: float, own: float, fraction: float) -> float:
    """A share of memory that is kept at each update (momentum, a decay of averages), between two others.

    Geometric in 1 - beta, the inverse of the updates remembered: half of .99 is .9, ten instead of a hundred.

    Example:
        >>> kept(0, 0.99, 0.5)
        0.9
    """
    return round(1 - between(1 - none, 1 - own, fraction), 12)


def whole_between(none: float, own: float, fraction: float) -> int:
    """:func:`between` for whole numbers, of which every digit counts.

    Example:
        >>> whole_between(1, 64, 0.5), whole_between(0, 3, 0.5), whole_between(16, 256, 1.5)
        (8, 2, 1024)
    """
    return round(_point(none, own, fraction))


def divisor(none: int, own: int, fraction: float, of: int) -> int:
    """The divisor of a number that is nearest to :func:`between`, by ratio; ties go to the smaller.

    Example:
        >>> divisor(1, 8, 0.5, of=16)
        2
    """
    wanted = math.log(_point(none, own, fraction))
    every = [number for number in range(1, of + 1) if of % number == 0]
    return min(every, key=lambda number: (round(abs(math.log(number) - wanted), 9), number))


def rounded(value: float) -> float:
    """A number in three significant digits."""
    return float(f"{value:.{DIGITS}g}")


def numbers_in(text: str) -> list[float]:
    """The numbers of a text in which ``/`` separates them.

    Example:
        >>> numbers_in("0.5/1")
        [0.5, 1.0]
    """
    try:
        return [float(part) for part in text.split("/")]
    except ValueError as error:
        raise ValueError("numbers separated by /") from error


def more_images(scale: float) -> int:
    """How many images of sides ``scale`` times as long have the pixels of one, rounded.

    Example:
        >>> more_images(0.5), more_images(1)
        (4, 1)
    """
    return round(1 / scale**2)
