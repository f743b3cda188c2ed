"""Repeated augmentation: every example of a batch several times, each time changed anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import Sampler as IndexSampler

from algobias.errors import BadInput
from algobias.levers.base import Card, Context, Part
from algobias.levers.randomness import generator
from algobias.levers.step import Batch, Key, Sampler
from algobias.recipe import Recipe
from algobias.tasks.trees import map_trees

COPY_EPOCHS = 1_000_003
"""Copies are augmented as in epochs that no run reaches: copy c as in epoch + c times so many."""


class RepeatAugment(IndexSampler[int]):
    """Indices for a ``DataLoader`` in which every example comes M times in a row, so that it is augmented M
    times.

    With a batch size that M divides, a batch holds all copies of B / M examples. Source: Hoffer et al.,
    Augment your batch, 2020.

    Args:
        examples: Number of examples.
        repeats: M.
        seed: Of the order; epoch e has its own, see :attr:`epoch`.

    Raises:
        BadInput: A number below 1.

    Example:
        >>> order = list(RepeatAugment(3, repeats=2))
        >>> order[0] == order[1], sorted(set(order)), len(order)
        (True, [0, 1, 2], 6)
    """

    def __init__(self, examples: int, repeats: int, seed: int = 0) -> None:
        for name, value in (("examples", examples), ("repeats", repeats)):
            if isinstance(value, bool) or value < 1:
                raise BadInput(name, value, "a whole number of at least 1")
        self.examples, self.repeats, self.seed, self.epoch, self._given = examples, repeats, seed, 0, 0

    def __len__(self) -> int:
        return self.examples * self.repeats

    def __iter__(self) -> Iterator[int]:
        """The rest of the epoch; the next call begins the next one."""
        order = generator(self.seed, "repeat", self.epoch).permutation(self.examples)
        for place in range(self._given, len(self)):
            self._given = place + 1
            yield int(order[place // self.repeats])
        self.epoch, self._given = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Where in which epoch it is."""
        return {"seed": self.seed, "epoch": self.epoch, "given": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from :meth:`state_dict` at the next iteration."""
        self.seed, self.epoch, self._given = state["seed"], state["epoch"], state["given"]


class Repeat(Part):
    """Each update sees M independently augmented copies of its examples (Hoffer et al. 2020).

    Variance of the gradient: ``(s^2 / B) (1 / M + (1 - 1 / M) rho)`` for B distinct examples, rho the
    correlation of the gradients of two copies.

    Attributes:
        copies: M.
        keep: ``examples``: the batch's B examples, M times the work; ``batch``: B / M distinct examples in a
            batch of the same size, the same work, each epoch M times as long.
    """

    name: ClassVar[str] = "repeat"
    positional: ClassVar[str | None] = "copies"

    copies: int = Field(ge=1, le=1024)
    keep: Literal["examples", "batch"] = "examples"

    card: ClassVar[Card] = Card(
        summary="Puts several independently augmented copies of each example into a batch.",
        saves="updates: a larger batch that is as noisy as a smaller one",
        costs="gradient evaluations: M times as many for the same examples",
        acts_on=("data",),
        moves=("gradient_variance",),
        not_when=(
            "Without a random augmentation the copies are equal and nothing changes but the cost (with "
            "keep=batch: fewer distinct examples per update). It pays where loading or decoding data is the "
            "bottleneck, or where the augmentation matters."
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

    def apply(self, recipe: Recipe) -> Recipe:
        """Append this part.

        Raises:
            BadInput: ``keep=batch`` where M does not divide the batch.
        """
        if self.keep == "batch" and recipe.batch % self.copies:
            raise BadInput("repeat", self.copies, f"a divisor of the batch of {recipe.batch}")
        return super().apply(recipe)

    def gradients_per_example(self) -> float:
        """M where all examples of the batch are kept."""
        return float(self.copies) if self.keep == "examples" else 1.0

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
            batch = map_trees(lambda *leaves: torch.cat(leaves, axis), *made)
            numbers = torch.arange(self.copies).repeat_interleave(index.shape[-1]).to(index.device)
            repeated = index.repeat(*(1,) * axis, self.copies)
            return batch, replace(key, index=repeated, copies=numbers.expand_as(repeated), weights=None)

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
