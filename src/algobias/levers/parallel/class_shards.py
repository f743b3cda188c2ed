"""Shards of the training examples by class, one for each worker."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.levers.context import Context
from algobias.levers.step import Batch, Key, Sampler
from algobias.seeding.streams import generator

if TYPE_CHECKING:
    from torch import Tensor


def class_shards(used: Tensor, labels: Tensor, workers: int) -> list[Tensor]:
    """Examples sorted by class and cut into ``workers`` shards of equal size, up to one."""
    order = used[torch.argsort(labels, stable=True)]
    return [part.sort().values for part in torch.tensor_split(order, workers)]


def from_class_shards(sampler: Sampler, context: Context, workers: int) -> Sampler:
    """Draw each worker's examples from its own shard.

    Raises:
        BadInput: The task has no class labels, or a shard has fewer examples than a worker's batch.
    """
    if context.all_labels is None:
        raise BadInput("local_sgd.shards", "classes", "shared, where the task's labels are not classes")
    size = context.recipe.batch // workers
    parts = class_shards(context.used, context.all_labels[context.used], workers)
    smallest = min(len(part) for part in parts)
    if smallest < size:
        raise BadInput("local_sgd.workers", workers, f"shards of at least {size} examples")
    per_epoch = smallest // size
    kept: dict[int, tuple[int, list[Tensor]]] = {}

    def shuffled(seed: int, epoch: int) -> list[Tensor]:
        found = kept.get(seed)
        if found is None or found[0] != epoch:
            orders = [generator(seed, f"shard {k}", epoch).permutation(len(p)) for k, p in enumerate(parts)]
            kept[seed] = (
                epoch,
                [
                    part[torch.from_numpy(np.ascontiguousarray(order))]
                    for part, order in zip(parts, orders, strict=True)
                ],
            )
        return kept[seed][1]

    def draw(update: int, seeds: tuple[int, ...]) -> tuple[Batch, Key]:
        _, key = sampler(update, seeds)
        epoch, place = divmod(update, per_epoch)
        rows = slice(place * size, (place + 1) * size)
        drawn = [torch.cat([part[rows] for part in shuffled(seed, epoch)]) for seed in seeds]
        index = torch.stack(drawn) if key.index.dim() > 1 else drawn[0]
        return context.gather(index, seeds, epoch), replace(key, epoch=epoch, index=index, slices=workers)

    return draw
