"""Gradient accumulation: a batch in several passes, for want of memory."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from algobias.lazy import torch
from algobias.levers.base import Card
from algobias.levers.context import Context
from algobias.levers.division import Division
from algobias.levers.parallel.equal_parts import EqualParts
from algobias.levers.parallel.workers import combined, shares
from algobias.levers.step import Batch, GradFn, Grads, Key, State, pass_of
from algobias.recipe import Recipe
from algobias.trees import map_trees


class Accumulate(EqualParts):
    """Sum the gradients of K micro-batches before each update.

    Where examples count differently (unmasked tokens), micro-batches count accordingly, so that the result is
    the gradient of the whole batch; the plain mean over micro-batches, a known fault, is not. BatchNorm sees
    one micro-batch at a time, and its running statistics are updated K times. Every pass draws random numbers
    of its own (dropout).

    Attributes:
        count: Micro-batches in a batch, K; divides it.
    """

    name: ClassVar[str] = "accumulate"

    card: ClassVar[Card] = Card(
        summary="Takes each batch in K passes and sums their gradients before the update.",
        saves="memory: activations of one micro-batch at a time",
        costs="time: K passes one after the other",
        injected=(
            "stepping at every K-th step only, with the mean of K gradients: K times the batch, not the "
            "same one"
        ),
        acts_on=("gradients", "statistics"),
        moves=("gradient_variance",),
        not_when=(
            "Alone it changes nothing but rounding, except under normalisation over the batch, which then "
            "sees "
            "B / K examples. A larger batch made this way has the gap of that larger batch."
        ),
        references=(
            "Huang et al., GPipe: efficient training of giant neural networks using pipeline parallelism, "
            "2019",
        ),
        examples=("accumulate:4",),
    )

    def divisions(self, batch: int) -> tuple[Division, ...]:
        """The gradient's work."""
        return (Division(self.name, self.name, self.count),)

    def splits(self, recipe: Recipe) -> bool:
        """Micro-batches."""
        return self.count > 1

    def gradient(self, grad: GradFn, context: Context) -> GradFn:
        """Micro-batches one after the other, with the buffers that the one before has left."""
        if self.count == 1:
            return grad

        def accumulated(state: State, batch: Batch, key: Key) -> tuple[Grads, State]:
            axis = state.params.dim() - 1
            size = key.index.shape[-1] // self.count
            found, now = [], state
            for part in range(self.count):
                rows = (slice(None),) * axis + (slice(part * size, (part + 1) * size),)
                micro = map_trees(lambda leaf, rows=rows: leaf[rows] if leaf.dim() > axis else leaf, batch)
                weights = None if key.weights is None else key.weights[rows]
                place = replace(key, index=key.index[rows], weights=weights)
                grads, now = grad(now, micro, pass_of(place, part, self.count))
                found.append(grads)
            share = shares(context, batch, self.count, axis > 0)
            return combined(torch.stack(found, -2), share), now

        return accumulated
