"""Which examples an update sees: a pure function of (recipe, seed, update)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from algobias.levers.base import STAGES, Part
from algobias.levers.context import Context
from algobias.levers.step import Batch, Key, Sampler
from algobias.recipe import Recipe
from algobias.seeding.streams import generator
from algobias.tasks.source import Source


class EpochOrder:
    """A fresh permutation of the training examples every epoch, drawn once per (seed, epoch).

    All arms with the same seed share it whatever their batch size. The last partial batch is dropped.

    Args:
        used: Indices of the training examples in use, [n], on the CPU, where the order is drawn.
    """

    def __init__(self, used: Tensor) -> None:
        self.used = used.numpy()
        self._kept: dict[int, tuple[int, Tensor]] = {}

    def permutation(self, seed: int, epoch: int) -> Tensor:
        """Indices of all examples in the order of this epoch, [n]."""
        kept = self._kept.get(seed)
        if kept is None or kept[0] != epoch:
            order = generator(seed, "order", epoch).permutation(len(self.used))
            kept = epoch, torch.from_numpy(np.ascontiguousarray(self.used[order]))
            self._kept[seed] = kept
        return kept[1]


def build_sampler(
    source: Source, used: Tensor, recipe: Recipe, parts: Sequence[Part], context: Context, *, stacked: bool
) -> Sampler:
    """The recipe's sampler with every part's change to it, stage by stage and in order.

    Args:
        source: Training examples, on the device of the run.
        used: Indices of those in use, [n], on the CPU.
        recipe: Its ``batch`` and ``data`` are used.
        parts: Parts in order.
        context: What parts may know.
        stacked: Whether indices carry a leading axis of seeds.
    """
    order = EpochOrder(used)
    per_epoch = recipe.updates_per_epoch
    batch_size = recipe.batch
    rows: dict[tuple[int, ...], tuple[int, Tensor]] = {}

    def draw(update: int, seeds: tuple[int, ...]) -> tuple[Batch, Key]:
        epoch, position = divmod(update, per_epoch)
        kept = rows.get(seeds)
        if kept is None or kept[0] != epoch:
            rows.clear()
            permutations = [order.permutation(seed, epoch) for seed in seeds]
            kept = epoch, torch.stack(permutations) if stacked else permutations[0]
            rows[seeds] = kept
        index = kept[1][..., position * batch_size : (position + 1) * batch_size]
        return source.gather(index, seeds, epoch), Key(update, epoch, seeds, index)

    sampler: Sampler = draw
    for part in sorted(parts, key=lambda part: STAGES.index(part.stage)):
        sampler = part.sampler(sampler, context)
    return sampler
