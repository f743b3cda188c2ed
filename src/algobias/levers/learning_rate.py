"""The learning rate of every update of a recipe: warm-up, then constant or a half cosine to zero."""

from __future__ import annotations

import math
from collections.abc import Callable

from algobias.errors import BadInput
from algobias.levers.size import rounded
from algobias.recipe import Recipe


def warmup_updates(recipe: Recipe) -> int:
    """Updates K of the warm-up; a fraction counts of the planned updates, rounded.

    Raises:
        BadInput: Neither a whole number nor a fraction below 1, or a fraction where no end is planned.
    """
    warmup = recipe.schedule.warmup
    if warmup >= 1 or warmup == 0:
        if not float(warmup).is_integer():
            raise BadInput("warmup", warmup, "a whole number of updates, or a fraction below 1")
        return int(warmup)
    if recipe.budget.until is not None:
        raise BadInput("warmup", warmup, "a number of updates: with budget until no end is planned")
    return round(warmup * recipe.planned_updates)


def warmup_between(recipe: Recipe, own: float, fraction: float) -> float:
    """A warm-up a share of the way from the recipe's to another, linear, in the unit of the other.

    Raises:
        BadInput: Below none, or beyond all of the planned updates.
    """
    now, planned = warmup_updates(recipe), recipe.planned_updates
    in_updates = own >= 1 or (own == 0 and recipe.schedule.warmup >= 1)
    start = float(now) if in_updates else now / planned
    length = start + fraction * (own - start)
    if not 0 <= length < (math.inf if in_updates else 1):
        raise BadInput("warmup", f"{length:.3g}", "none to all of the planned updates")
    return float(round(length)) if in_updates else rounded(length)


def rate(recipe: Recipe) -> Callable[[int], float]:
    """The learning rate of every update, counted from 0.

    With rate eta, warm-up K and T planned updates:

    - t < K: ``eta (t + 1) / K``, so that update K - 1 is the first at full rate;
    - constant, t >= K: ``eta``;
    - cosine, t >= K: ``eta (1 + cos(pi (t - K) / (T - K))) / 2``, a half cosine over what remains after the
      warm-up; 0 at and after T. Without warm-up this is the half cosine over all planned updates.

    A run with an origin counts its first update as ``origin.start``.

    Args:
        recipe: Its optimizer, schedule and planned updates are used.

    Raises:
        BadInput: The warm-up is impossible.
    """
    eta, planned, warmup = recipe.optimizer.lr, recipe.planned_updates, warmup_updates(recipe)
    cosine = recipe.schedule.name == "cosine"
    start = 0 if recipe.origin is None else recipe.origin.start

    def at(update: int) -> float:
        update += start
        if update < warmup:
            return eta * min(1.0, (update + 1) / warmup)
        if not cosine:
            return eta
        if update >= planned:
            return 0.0
        return eta * 0.5 * (1.0 + math.cos(math.pi * (update - warmup) / (planned - warmup)))

    return at
