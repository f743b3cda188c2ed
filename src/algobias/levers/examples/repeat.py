"""Repeated augmentation: every example of a batch several times, each time changed anew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from algobias.lazy import attributes_from, torch
from algobias.levers.base import Card, Part, Stage
from algobias.levers.context import Context
from algobias.levers.division import Division
from algobias.levers.size import divisor, whole_between
from algobias.levers.step import Batch, Key, Sampler
from algobias.recipe import Recipe
from algobias.seeding.streams import generator
from algobias.trees import map_trees

if TYPE_CHECKING:
    from torch import Tensor


COPY_EPOCHS = 1_000_003
"""Copies are augmented as in epochs that no run reaches: copy c as in epoch + c times so many."""


class Repeat(Part):
    """Each update sees M independently augmented copies of its examples (Hoffer et al. 2020).

    Variance of the gradient: ``(s^2 / B) (1 / M + (1 - 1 / M) rho)`` for B distinct examples, rho the
    correlation of the gradients of two copies.

    Attributes:
        copies: How often each example of a batch is in it, M; 1 changes nothing.
        keep: What stays: the batch's B ``examples``, at M times the work; or the size of the ``batch``,
            with B / M distinct examples in it, at the same work, each epoch M times as long.
    """

    name: ClassVar[str] = "repeat"
    positional: ClassVar[str | None] = "copies"
    revision: ClassVar[int] = 2  # 1 undid the augmentation and weights of earlier parts

    copies: int = Field(ge=1, le=1024)
    keep: Literal["examples", "batch"] = "examples"

    card: ClassVar[Card] = Card(
        summary="Puts several independently augmented copies of each example into a batch.",
        saves="updates: a larger batch that is as noisy as a smaller one",
        costs="gradient evaluations: M times as many for the same examples",
        not_injected="what a script draws is its own: take its option",
        acts_on=("data",),
        moves=("gradient_variance",),
        not_when=(
            "Without a random augmentation the copies are equal and nothing changes but the cost (with "
            "keep=batch: fewer distinct examples per update). It pays where loading or decoding data is the "
            "bottleneck, or where the augmentation matters: with shifts of a pixel that hurt on 8x8 digits "
            "(R "
            "-5.3 [-7.1, -4.2]) two copies hurt as well (-6.7 [-9.2, -5.1])."
        ),
        references=(
            "Hoffer et al., Augment your batch: improving generalization through instance repetition, 2020",
        ),
        examples=("repeat:4,keep=batch", "repeat:2"),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> Repeat:
        """One copy."""
        return cls(copies=1)

    def part_of(self, fraction: float, recipe: Recipe) -> Repeat:
        """Geometric in the copies, rounded; with ``keep=batch`` the nearest number that divides the batch."""
        now = self.size_from(recipe, "copies")
        if self.keep == "batch":
            return self.with_options(copies=divisor(now, self.copies, fraction, of=recipe.batch))
        return self.with_options(copies=whole_between(now, self.copies, fraction))

    @property
    def draws_from_all(self) -> bool:
        """Where the batch keeps its size and holds fewer distinct examples."""
        return self.keep == "batch"

    def divisions(self, batch: int) -> tuple[Division, ...]:
        """The batch, into copies, where it keeps its size."""
        return (Division(self.name, self.name, self.copies, "batch"),) if self.keep == "batch" else ()

    def multiplied(self, factor: int) -> int:
        """M times, or anew: with ``keep=batch`` all examples are drawn anew."""
        return 1 if self.keep == "batch" and self.copies > 1 else factor * self.copies

    def gradients_per_example(self) -> float:
        """M where all examples of the batch are kept."""
        return float(self.copies) if self.keep == "examples" else 1.0

    @property
    def stage(self) -> Stage:
        """Copies are made before they are augmented or weighed."""
        return "copies"

    def sampler(self, sampler: Sampler, context: Context) -> Sampler:
        """Draw every example M times; the task's own augmentation is that of another epoch for each copy."""
        if self.copies == 1:
            return sampler
        distinct = self._distinct(sampler, context)

        def draw(update: int, seeds: tuple[int, ...]) -> tuple[Batch, Key]:
            index, key = distinct(update, seeds)
            made = [
                context.gather(index, seeds, key.epoch + copy * COPY_EPOCHS) for copy in range(self.copies)
            ]
            axis = index.dim() - 1

            def joined(*leaves: Tensor) -> Tensor:
                shape = leaves[0].shape
                slices = [leaf.reshape(*shape[:axis], key.slices, -1, *shape[axis + 1 :]) for leaf in leaves]
                return torch.cat(slices, axis + 1).flatten(axis, axis + 1)

            numbers = [torch.full_like(index, copy) for copy in range(self.copies)]
            batch = map_trees(joined, *made)
            return batch, replace(key, index=joined(*[index] * self.copies), copies=joined(*numbers))

        return draw

    def _distinct(self, sampler: Sampler, context: Context) -> Any:
        """(update, seeds) -> the examples without their copies, [..., B] or [..., B / M], and the key."""
        if self.keep == "examples":

            def whole(update: int, seeds: tuple[int, ...]) -> tuple[Tensor, Key]:
                key = sampler(update, seeds)[1]
                return key.index, key

            return whole
        size = context.recipe.batch // self.copies
        used, per_epoch = context.used.numpy(), max(1, len(context.used) // size)
        kept: dict[int, tuple[int, Tensor]] = {}

        def row(seed: int, epoch: int, place: int) -> Tensor:
            if seed not in kept or kept[seed][0] != epoch:
                order = used[generator(seed, "order", epoch).permutation(len(used))]
                kept[seed] = epoch, torch.from_numpy(np.ascontiguousarray(order))
            return kept[seed][1][place * size : (place + 1) * size]

        def part(update: int, seeds: tuple[int, ...]) -> tuple[Tensor, Key]:
            key = sampler(update, seeds)[1]
            epoch, place = divmod(update, per_epoch)
            rows = [row(seed, epoch, place) for seed in seeds]
            return (torch.stack(rows) if key.index.dim() > 1 else rows[0]), replace(key, epoch=epoch)

        return part


__getattr__ = attributes_from(__name__, {"algobias.components.repeat_augment": ("RepeatAugment",)})
