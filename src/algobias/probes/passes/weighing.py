"""How batches are weighed against each other, found from the loss itself rather than guessed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from algobias.lazy import torch
from algobias.probes.passes.trials import (
    IGNORED,
    Mask,
    Trial,
    example,
    examples,
    ignored_labels,
    labels_of,
    masks,
    token_labels,
    trials,
)
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject, Weigh

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["IGNORED", "Weighing", "example", "examples", "token_labels", "weighing"]

Reduction = Literal["mean", "sum"]

ROUNDED = 32
"""A loss of logits of some tens may be off by so many units of rounding, however small it is."""


@dataclass(frozen=True)
class Weighing:
    """How the losses of batches combine into the loss of all examples.

    Attributes:
        weigh: Weight of a batch.
        reduction: ``mean``: the loss of a batch is a weighted mean over it; ``sum``: a sum.
        unit: What is counted: ``examples``, ``labels`` (of examples), ``tokens``, ``mask`` or ``given``.
        mask: Where a batch says which of its examples or tokens count; None where labels do so alone.
        ignored: Labels that do not count.
        shift: Places by which the loss moves labels towards earlier outputs (1 of a causal model).
        doubt: Why single examples do not add up to the loss, or None.
        undecided: Which other way of weighing explains the loss as well, or None.
    """

    weigh: Weigh
    reduction: Reduction
    unit: str
    mask: Mask | None = None
    ignored: tuple[int, ...] = (IGNORED,)
    shift: int = 0
    doubt: str | None = None
    undecided: str | None = None

    def share(self, batch: Any) -> float:
        """What the loss of this batch is multiplied with in the sum over batches."""
        return self.weigh(batch) if self.reduction == "mean" else 1.0

    def kept(self, batch: Any, shape: Sequence[int]) -> Tensor | None:
        """Which places of outputs of this shape count by a mask in the batch; None where none fits."""
        return None if self.mask is None else self.mask.places(batch, shape)

    def masked(self, batch: Any, labels: Tensor) -> Tensor:
        """The labels of outputs at the same places, -100 where they do not count."""
        found = labels.long()  # unsigned ones have no -100
        for label in self.ignored:
            found = found.masked_fill(found == label, IGNORED)
        kept = self.kept(batch, labels.shape)
        if kept is not None:
            found = found.masked_fill(~kept, IGNORED)
        if self.shift and found.dim() > 1:
            found = torch.cat([found[:, 1:], torch.full_like(found[:, :1], IGNORED)], 1)
        return found

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to mind in every reading that is weighed so."""
        return tuple(text for text in (self.doubt, self.undecided) if text is not None)


def weighing(subject: Subject) -> Weighing:
    """How this subject's batches are weighed: as given, else the first rule that explains the loss.

    A rule explains the loss of a batch where that equals the weighted mean (or the sum) of the losses of its
    examples one by one. Counted are unmasked tokens, unmasked tokens but the first (a causal model that
    shifts its labels), examples, the entries of a mask in the batch; masked is the label -100, and any that
    the loss ignores. Tried on examples of the first two batches, on one batch put together from the first
    and last example of *all* batches, and on labels of which half are ignored. Where no rule explains
    everything (class weights, BatchNorm in train mode, a loss that compares examples), batches count by
    examples, and ``doubt`` says so; ``undecided`` says so where several do that weigh differently.

    Cost: small forward passes, about 30 and three for each batch, once for each subject.
    """
    found: Weighing = subject.shared("weighing", lambda: _weighing(subject))
    return found


@dataclass(frozen=True)
class _Rule:
    unit: str
    weigh: Weigh
    reduction: Reduction = "mean"
    mask: Mask | None = None
    ignored: int = IGNORED
    shift: int = 0

    @property
    def words(self) -> str:
        """What is counted, in words."""
        but = ["but the first"] * self.shift + [f"without label {self.ignored}"] * (self.ignored != IGNORED)
        return " ".join([self.unit, *but])


def _weighing(subject: Subject) -> Weighing:
    first = next(iter(subject.batches), None)
    if first is None:
        raise Unavailable("there are no batches")
    given, ignored = subject.weigh, ignored_labels(subject)
    without = {IGNORED, *(label for label, sure in ignored.items() if sure)}
    if given is not None and subject.reduction is not None:
        return Weighing(given, subject.reduction, "given", ignored=tuple(without))
    rules = _rules(first, ignored) if given is None else [_Rule("given", given)]
    if subject.reduction is not None:
        rules = [rule for rule in rules if rule.reduction == subject.reduction]
    made = trials(subject, ignored if given is None else ())
    fitting = [rule for rule in rules if all(_explains(rule, trial) for trial in made)]
    if (
        not fitting
    ):  # of examples that are fitted well the loss is what rounding leaves of differences of logits
        floor = min(ROUNDED * torch.finfo(subject.dtype).eps, 1e-4)
        fitting = [rule for rule in rules if all(_explains(rule, trial, floor) for trial in made)]
    if fitting:
        best = fitting[0]
        undecided = _undecided(subject, fitting)
        return Weighing(
            best.weigh,
            best.reduction,
            best.unit,
            best.mask,
            tuple(without | {best.ignored}),
            best.shift,
            undecided=undecided,
        )
    unit = "examples" if given is None else "given"
    doubt = (
        "the loss of a batch is not the weighted mean of the losses of its examples (class weights? examples "
        f"that depend on each other?); batches count by {unit}: pass weigh= if that is wrong"
    )
    return Weighing(given or _count_examples, subject.reduction or "mean", unit, doubt=doubt)


def _rules(batch: Any, ignored: Iterable[int]) -> list[_Rule]:
    """All rules for batches like this one, in the order in which they are tried."""
    labels = labels_of(batch)
    plain = _Rule("examples", _count_examples)
    by_mask = [_Rule("mask", mask.total, mask=mask) for mask in masks(batch)]
    if labels is None or labels.ndim == 1:
        by_label = [_Rule("labels", _count_labels(label, 0), ignored=label) for label in ignored]
        return [plain, *by_label, *by_mask, replace(plain, reduction="sum")]
    by_label = [
        _Rule("tokens", _count_labels(label, shift), ignored=label, shift=shift)
        for label in dict.fromkeys((IGNORED, *ignored))
        for shift in (0, 1)
    ]
    means = [*by_label[:2], plain, *by_label[2:]]
    return [*means, *by_mask, *(replace(rule, reduction="sum") for rule in (*by_label, plain))]


def _undecided(subject: Subject, fitting: list[_Rule]) -> str | None:
    """Whether another rule that explains the loss gives other shares to batches."""
    best = fitting[0]
    rules = [best, *(rule for rule in fitting[1:] if rule.unit in ("examples", "labels", "tokens"))]
    rules = [rule for rule in rules if rule.reduction == best.reduction == "mean"]
    if len(rules) < 2:
        return None
    weights = [[rule.weigh(batch) for rule in rules] for batch in subject.batches]
    totals = [sum(column) for column in zip(*weights, strict=True)]
    for row in weights:
        for rule, weight, total in zip(rules, row, totals, strict=True):
            if abs(weight * totals[0] - row[0] * total) > 1e-6 * totals[0] * total:
                return (
                    f"the loss does not show whether batches count by {best.words} or by {rule.words}; "
                    f"they count by {best.words}: pass weigh= if that is wrong"
                )
    return None


def _count_examples(batch: Any) -> float:
    return float(examples(batch))


def _count_labels(ignored: int, shift: int) -> Weigh:
    def count(batch: Any) -> float:
        labels = labels_of(batch)
        if labels is None:
            return float(examples(batch))
        return float(((labels[:, shift:] if shift else labels) != ignored).sum())

    return count


def _explains(rule: _Rule, trial: Trial, floor: float = 1e-10) -> bool:
    whole, single = trial.whole, trial.single
    if rule.reduction == "sum":
        expected = sum(one for one, part in zip(single, trial.parts, strict=True) if rule.weigh(part))
    else:
        weights = [rule.weigh(part) for part in trial.parts]
        if sum(weights) == 0:  # a mean over no token at all: zero, or not a number
            return whole == 0 or math.isnan(whole)
        expected = sum(w * one for w, one in zip(weights, single, strict=True) if w) / sum(weights)
    return abs(whole - expected) <= 1e-4 * abs(whole) + floor
