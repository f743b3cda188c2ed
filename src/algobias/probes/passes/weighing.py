"""How batches are weighed against each other, found from the loss itself rather than guessed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Loss, Subject, Weigh
from algobias.tasks.labels import LABEL_KEYS
from algobias.tasks.trees import batch_length, map_trees

IGNORED = -100
"""Label of tokens that do not count: torch's ``ignore_index``."""

TRIED_EXAMPLES = 8
TRIED_BATCHES = 2


@dataclass(frozen=True)
class Weighing:
    """How the losses of batches combine into the loss of all examples.

    Attributes:
        weigh: Weight of a batch.
        reduction: ``mean``: the loss of a batch is a weighted mean over it; ``sum``: a sum.
        unit: What is counted: ``examples``, ``tokens``, or ``given``.
        doubt: Why the weighing may be wrong, or None.
    """

    weigh: Weigh
    reduction: Literal["mean", "sum"]
    unit: str
    doubt: str | None = None

    def share(self, batch: Any) -> float:
        """What the loss of this batch is multiplied with in the sum over batches."""
        return self.weigh(batch) if self.reduction == "mean" else 1.0


def example(batch: Any, place: int) -> Any:
    """A batch with one example of ``batch``; tensors without a first dimension are kept."""
    return map_trees(lambda t: t[place : place + 1] if t.ndim else t, batch)


def examples(batch: Any) -> int:
    """Number of examples in a batch.

    Raises:
        Unavailable: Its tensors disagree.
    """
    try:
        return batch_length(batch)
    except BadInput as error:
        raise Unavailable(str(error)) from error


def token_labels(batch: Any) -> Tensor | None:
    """Integer labels with two or more dimensions: labels of tokens. None where there are none."""
    value = None
    if isinstance(batch, tuple | list) and len(batch) >= 2:
        value = batch[-1]
    elif hasattr(batch, "keys"):
        value = next((batch[key] for key in LABEL_KEYS if key in batch), None)
    if not isinstance(value, Tensor) or value.ndim < 2 or value.is_floating_point() or value.is_complex():
        return None
    return value


def _count_examples(batch: Any) -> float:
    return float(examples(batch))


def _count_tokens(batch: Any) -> float:
    labels = token_labels(batch)
    return float((labels != IGNORED).sum()) if labels is not None else float(examples(batch))


def _count_shifted(batch: Any) -> float:
    labels = token_labels(batch)
    return float((labels[:, 1:] != IGNORED).sum()) if labels is not None else float(examples(batch))


def weighing(subject: Subject) -> Weighing:
    """How this subject's batches are weighed: as given, else the first rule that explains the loss.

    A rule explains the loss of a batch where that equals the weighted mean (or the sum) of the losses of its
    examples one by one. Tried on up to 8 examples of the first two batches: unmasked tokens, unmasked tokens
    but the first (a causal model that shifts its labels), examples, sum. Where none does (BatchNorm in
    train mode, a loss that compares examples), batches count by examples, and ``doubt`` says so.

    Cost: at most 20 small forward passes, once for each subject.
    """
    found: Weighing = subject.shared("weighing", lambda: _weighing(subject))
    return found


def _weighing(subject: Subject) -> Weighing:
    rules: list[tuple[str, Weigh, Literal["mean", "sum"]]] = []
    if subject.weigh is not None:
        rules.append(("given", subject.weigh, subject.reduction or "mean"))
        if subject.reduction is not None:
            return Weighing(subject.weigh, subject.reduction, "given")
    tried = [_few(batch) for batch in _first(subject.batches, TRIED_BATCHES)]
    if not tried:
        raise Unavailable("there are no batches")
    if subject.weigh is None:
        if any(token_labels(batch) is not None for batch in tried):
            rules += [("tokens", _count_tokens, "mean"), ("tokens", _count_shifted, "mean")]
        rules.append(("examples", _count_examples, "mean"))
        if token_labels(tried[0]) is not None:
            rules.append(("tokens", _count_tokens, "sum"))
        rules.append(("examples", _count_examples, "sum"))
    if subject.reduction is not None:
        rules = [rule for rule in rules if rule[2] == subject.reduction]
    measured = [_one_by_one(subject.loss, subject.model, batch) for batch in tried]
    for unit, weigh, reduction in rules:
        if all(
            _explains(weigh, reduction, batch, *losses) for batch, losses in zip(tried, measured, strict=True)
        ):
            return Weighing(weigh, reduction, unit)
    unit, weigh, reduction = "examples", _count_examples, subject.reduction or "mean"
    if subject.weigh is not None:
        unit, weigh = "given", subject.weigh
    doubt = (
        "the loss of a batch is not the weighted mean of the losses of its examples (examples that depend on "
        f"each other?); batches count by {unit}: pass weigh= if that is wrong"
    )
    return Weighing(weigh, reduction, unit, doubt)


def _first(batches: Any, count: int) -> Iterator[Any]:
    for place, batch in enumerate(batches):
        if place == count:
            return
        yield batch


def _few(batch: Any) -> Any:
    if examples(batch) <= TRIED_EXAMPLES:
        return batch
    return map_trees(lambda t: t[:TRIED_EXAMPLES] if t.ndim else t, batch)


def _one_by_one(loss: Loss, model: Any, batch: Any) -> tuple[float, list[float]]:
    with torch.no_grad():
        whole = float(loss(model, batch))
        return whole, [float(loss(model, example(batch, i))) for i in range(examples(batch))]


def _explains(weigh: Weigh, reduction: str, batch: Any, whole: float, single: list[float]) -> bool:
    if reduction == "sum":
        expected = sum(single)
    else:
        weights = [weigh(example(batch, i)) for i in range(len(single))]
        if sum(weights) == 0:  # a mean over no token at all: zero, or not a number
            return whole == 0 or math.isnan(whole)
        expected = sum(w * one for w, one in zip(weights, single, strict=True) if w) / sum(weights)
    return abs(whole - expected) <= 1e-4 * (abs(whole) + 1e-6)
