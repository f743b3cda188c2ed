"""The examples on which loss and metric are taken, in batches that know how much each example counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.levers.step import Batch
from algobias.tasks.source import Source

EVALUATION_BATCH = 500


@dataclass(frozen=True)
class EvaluationBatch:
    """Some examples in order.

    Attributes:
        batch: As the task's loss and metric take it.
        length: Number of examples, B.
        weights: How much each counts in the loss's mean over the batch, [B]; None where all count alike.
    """

    batch: Batch
    length: int
    weights: Tensor | None = None

    @property
    def total(self) -> Tensor | int:
        """How much the batch counts."""
        return self.length if self.weights is None else self.weights.sum()


@dataclass(frozen=True)
class EvaluationSet:
    """A set of examples; the mean over it is the same whatever batches it is cut into.

    Attributes:
        batches: All of them, in order.
        length: Number of examples, n.
        total: Sum of their weights; n where all count alike.
    """

    batches: tuple[EvaluationBatch, ...]
    length: int
    total: float

    @classmethod
    def of(
        cls, source: Source, index: Tensor | None, weight: Callable[[Batch], Tensor] | None
    ) -> EvaluationSet:
        """Examples of a source.

        Args:
            source: On the device of the run.
            index: Which examples, [n]; all of them without it.
            weight: Batch -> how much each example counts, [B] (unmasked target tokens, say).

        Raises:
            BadInput: A weight is negative or not finite, or all are zero.
        """
        length = len(source) if index is None else len(index)
        batches = list(source.batches(EVALUATION_BATCH, index))
        lengths = [EVALUATION_BATCH] * len(batches)
        lengths[-1] = length - EVALUATION_BATCH * (len(batches) - 1)
        if weight is None:
            rows = [EvaluationBatch(batch, n) for batch, n in zip(batches, lengths, strict=True)]
            return cls(tuple(rows), length, float(length))
        weights = [_weights(weight(batch), n) for batch, n in zip(batches, lengths, strict=True)]
        total = float(sum(float(each.sum()) for each in weights))
        if total <= 0:
            raise BadInput("weight", "0 for every example", "a weight above 0 for at least one example")
        rows = [EvaluationBatch(*row) for row in zip(batches, lengths, weights, strict=True)]
        return cls(tuple(rows), length, total)

    def mean(self, values: Sequence[Tensor]) -> Tensor:
        """Mean over the set of what is a mean over each batch, [...].

        Args:
            values: One for each batch, [...].
        """
        parts = [value.double() * row.total for value, row in zip(values, self.batches, strict=True)]
        return torch.stack(parts).sum(0) / self.total

    def contributions(self, values: Sequence[Tensor]) -> Tensor:
        """Values of single examples, scaled so that their plain mean is the weighted one, [..., n].

        Args:
            values: For each batch, [..., B].
        """
        parts = []
        for value, row in zip(values, self.batches, strict=True):
            value = value.double()
            parts.append(value if row.weights is None else value * (row.weights * (self.length / self.total)))
        return torch.cat(parts, -1)


def _weights(found: Tensor, length: int) -> Tensor:
    if tuple(found.shape) != (length,):
        raise BadInput("weight", tuple(found.shape), f"one number for each example, shape ({length},)")
    weights = found.detach().double()
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
        raise BadInput("weight", float(weights.min()), "finite numbers of at least 0")
    return weights
