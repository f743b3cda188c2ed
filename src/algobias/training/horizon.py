"""When a run is checked and when it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from algobias.recipe import Recipe
from algobias.runs.observer import Check


@dataclass(frozen=True)
class Horizon:
    """Checks and ends of the runs of one recipe.

    A run is checked at updates round(1.1^k), at its planned end and at its last update; one with an origin
    counts the origin's updates, and is checked before its own first one. It ends at the
    planned end, or, where the recipe has an extension, once its fit has reached the level, at the latest
    after ``factor`` times as many updates.

    Args:
        recipe: Its budget is used.
    """

    recipe: Recipe

    @cached_property
    def latest(self) -> int:
        """The update after which every run has ended."""
        planned = self.recipe.planned_end
        extension = self.recipe.budget.extension
        return planned if extension is None else math.ceil(planned * extension.factor)

    @cached_property
    def checks(self) -> frozenset[int]:
        """Updates at which every run is checked."""
        count = int(math.log(self.latest) / math.log(1.1)) + 2
        grid = {round(1.1**k) for k in range(count)}
        return frozenset({u for u in grid if u < self.latest} | {self.latest, self.recipe.planned_end})

    def is_planned_end(self, update: int, train_loss: float) -> bool:
        """Whether a run that has not yet reached its planned end reaches it with this check."""
        until = self.recipe.budget.until
        if until is not None and train_loss <= until:
            return True
        return update >= self.recipe.planned_end

    def next_stop(self, checks: Sequence[Check]) -> int | None:
        """The update at which a run with these checks must end at the latest; None: it has ended."""
        if not checks:
            return self.latest
        if not math.isfinite(checks[-1].train_loss):
            return None
        planned = next((check.update for check in checks if check.planned), None)
        if planned is None:
            return self.latest
        extension = self.recipe.budget.extension
        if extension is None:
            return None
        if extension.measure == "train_loss":
            reached = min(check.train_loss for check in checks) <= extension.level
        else:
            reached = max(check.train_metric for check in checks) >= extension.level
        last = math.ceil(planned * extension.factor)
        return None if reached or checks[-1].update >= last else last
