"""Settings given as ranges, ``sam:0.02..0.5``: points on a logarithmic grid, or proposed one after the other.

A range stands where a number stands. Bounds without a decimal point are whole numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from algobias.commands.treated.treatment import by_words
from algobias.errors import BadInput

if TYPE_CHECKING:
    import optuna

POINTS = 4
"""Points of the grid that stands for a range where nobody proposes."""

ROUND = 4
"""Settings proposed before the next are; those of a round are trained side by side."""

_NUMBER = r"(?:\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?"
# A sign is read though no range may have one: left in front, it would make every point negative.
_RANGE = re.compile(rf"(?<![\d.])((?<!\w)-)?({_NUMBER})\.\.(-?{_NUMBER})(?![\d.])")
_LIKE_ONE = re.compile(r"\d\.\.+[-+.]*\d")
_FORM = "LOW..HIGH with 0 < LOW < HIGH"


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, whole ones only where both bounds were written so.

    Attributes:
        low: Smallest.
        high: Largest.
        whole: Only whole numbers.
    """

    low: float
    high: float
    whole: bool

    def written(self, value: float) -> str:
        """A number of the range as it is spelled in a setting: three digits."""
        return str(round(value)) if self.whole else f"{value:.3g}"

    def grid(self, points: int) -> tuple[str, ...]:
        """``points`` numbers from ``low`` to ``high`` with equal ratios; fewer where whole ones coincide."""
        steps = [self.low * (self.high / self.low) ** (k / (points - 1)) for k in range(points)]
        return tuple(dict.fromkeys(map(self.written, steps)))


@dataclass(frozen=True)
class Space:
    """A setting some of whose numbers are ranges.

    Attributes:
        text: As the user wrote it.
        pieces: The text between the ranges, one more than there are ranges.
        ranges: The ranges, in order.
    """

    text: str
    pieces: tuple[str, ...]
    ranges: tuple[Range, ...]

    def at(self, numbers: Sequence[str]) -> str:
        """The setting with these numbers in place of the ranges."""
        return "".join(f"{piece}{number}" for piece, number in zip(self.pieces, (*numbers, ""), strict=True))

    def grid(self, points: int = POINTS) -> tuple[str, ...]:
        """Every combination of ``points`` numbers of each range."""
        return tuple(map(self.at, product(*(one.grid(points) for one in self.ranges))))


def space(text: str) -> Space | None:
    """Read a setting with ranges; None where it has none.

    Raises:
        BadInput: A range that does not rise, starts at 0 or below (its grid has equal ratios), or has a third
            bound.

    Example:
        >>> space("sam:0.05..0.4").grid()
        ('sam:0.05', 'sam:0.1', 'sam:0.2', 'sam:0.4')
        >>> space("lr:x1.0..8.0+clip:1..1000").grid(2)
        ('lr:x1+clip:1', 'lr:x1+clip:1000', 'lr:x8+clip:1', 'lr:x8+clip:1000')
    """
    found = list(_RANGE.finditer(text))
    dots_of_folder = by_words(text) or bool(found)
    if _LIKE_ONE.search(_RANGE.sub(" ", text)) or (".." in text and not dots_of_folder):
        raise BadInput("candidates", text, f"a range as {_FORM}, like sam:0.05..0.4")
    if not found:
        return None
    ranges, pieces, end = [], [], 0
    for match in found:
        sign, low, high = match.groups()
        one = Range(float(low), float(high), low.isdigit() and high.isdigit())
        if sign or not 0 < one.low < one.high:
            raise BadInput("candidates", match[0], _FORM)
        ranges.append(one)
        pieces.append(text[end : match.start()])
        end = match.end()
    return Space(text, (*pieces, text[end:]), tuple(ranges))


def split(texts: Sequence[str]) -> tuple[tuple[str, ...], tuple[Space, ...]]:
    """Settings without ranges, and those with."""
    read = [(text, space(text)) for text in texts]
    fixed = tuple(text for text, found in read if found is None)
    return fixed, tuple(found for _, found in read if found is not None)


def expanded(texts: Sequence[str], trials: int) -> tuple[str, ...]:
    """Settings that are fixed from the start: a range is its grid, or left out where trials propose."""
    fixed: list[str] = []
    for text in texts:
        found = space(text)
        fixed += [text] if found is None else () if trials else found.grid()
    return tuple(fixed)


def propose(
    spaces: Sequence[Space], trials: int, seed: int, gains: Callable[[Sequence[str]], Sequence[float]]
) -> tuple[str, ...]:
    """Let a tree-structured Parzen estimator look for good settings, ``ROUND`` at a time.

    The same arguments and gains lead to the same settings, so an interrupted search goes on as it began.

    Args:
        spaces: What may be tried.
        trials: How many settings.
        seed: Of the sampler.
        gains: What each setting of a round gains; -inf where it breaks a limit.

    Returns:
        The settings, best gain first.

    Raises:
        BadInput: The library optuna is missing.

    Reference: Bergstra, Bardenet, Bengio, Kegl, Algorithms for hyper-parameter optimization, 2011.
    """
    study = _study(seed)
    found: dict[str, float] = {}
    left = trials
    while left > 0:
        asked = [study.ask() for _ in range(min(ROUND, left))]
        left -= len(asked)
        texts = [_suggested(trial, spaces) for trial in asked]
        new = [text for text in dict.fromkeys(texts) if text not in found]
        if new:
            found |= dict(zip(new, gains(new), strict=True))
        worst = min((gain for gain in found.values() if math.isfinite(gain)), default=0.0)
        for trial, text in zip(asked, texts, strict=True):
            # The estimator ranks: what breaks a limit is as bad as the worst that does not.
            study.tell(trial, found[text] if math.isfinite(found[text]) else worst)
    return tuple(sorted(found, key=lambda text: -found[text]))


def _study(seed: int) -> optuna.Study:
    try:
        import optuna
    except ImportError as error:
        allowed = "0 (every range becomes a grid), or the library optuna: pip install 'algobias[search]'"
        raise BadInput("trials", "without optuna", allowed) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))


def _suggested(trial: optuna.Trial, spaces: Sequence[Space]) -> str:
    place = trial.suggest_categorical("setting", list(range(len(spaces)))) if len(spaces) > 1 else 0
    one = spaces[place]
    numbers = []
    for k, bounds in enumerate(one.ranges):
        name = f"{place}.{k}"
        value: float
        if bounds.whole:
            value = trial.suggest_int(name, round(bounds.low), round(bounds.high), log=True)
        else:
            value = trial.suggest_float(name, bounds.low, bounds.high, log=True)
        numbers.append(bounds.written(value))
    return one.at(numbers)
