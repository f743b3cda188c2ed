"""Small batches on which a loss shows how it weighs examples and labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject
from algobias.tasks.labels import LABEL_KEYS
from algobias.trees import batch_length, map_trees, tensors_in

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100
"""Label of tokens that do not count: torch's ``ignore_index``."""

TRIED_EXAMPLES = 8
TRIED_BATCHES = 2

TRIED_LABELS = 6
"""Labels that are tried as ignored ones: the smallest, 0, the largest, and those at the end of sequences."""

UNFIT = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What a loss may raise on batches that are put together here: such a batch says nothing."""


@dataclass(frozen=True)
class Trial:
    """The loss of a small batch beside those of its examples.

    Attributes:
        whole: Loss of the batch.
        parts: Its examples, as batches of one.
        single: Their losses.
    """

    whole: float
    parts: list[Any]
    single: list[float]


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


def labels_of(batch: Any) -> Tensor | None:
    """Integer labels of a batch, of examples or of tokens; None where there are none."""
    value = None
    if isinstance(batch, tuple | list) and len(batch) >= 2:
        value = batch[-1]
    elif hasattr(batch, "keys"):
        value = next((batch[key] for key in LABEL_KEYS if key in batch), None)
    if not isinstance(value, torch.Tensor) or value.ndim < 1 or value.dtype == torch.bool:
        return None
    return None if value.is_floating_point() or value.is_complex() else value


def token_labels(batch: Any) -> Tensor | None:
    """Integer labels with two or more dimensions: labels of tokens. None where there are none."""
    labels = labels_of(batch)
    return labels if labels is not None and labels.ndim >= 2 else None


@dataclass(frozen=True)
class Mask:
    """A tensor of a batch that says which of its examples or tokens count, and how much.

    Attributes:
        place: Which of the batch's tensors it is.
        lengths: Whether it holds, for each example, how many of its tokens count.
    """

    place: int
    lengths: bool

    def of(self, batch: Any) -> Tensor:
        """The tensor."""
        return [tensor for _, tensor in tensors_in(batch)][self.place]

    def total(self, batch: Any) -> float:
        """Its sum: the weight of the batch."""
        return float(self.of(batch).sum())

    def places(self, batch: Any, shape: Sequence[int]) -> Tensor | None:
        """Which places of a tensor of this shape count; None where it does not fit."""
        found = self.of(batch)
        if tuple(found.shape) == tuple(shape):
            return found != 0
        if found.dim() != 1 or len(shape) != 2 or len(found) != shape[0]:
            return None
        if self.lengths:
            return torch.arange(shape[1], device=found.device) < found[:, None]
        return (found != 0)[:, None].expand(*shape)


def masks(batch: Any) -> Iterator[Mask]:
    """Where a batch has what may be a mask, weights or lengths of its examples or tokens.

    Zeros and ones of up to three dimensions, or one number that is not negative for each example.
    """
    labels = labels_of(batch)
    for place, (_, tensor) in enumerate(tensors_in(batch)):
        if tensor is labels or not tensor.ndim or tensor.is_complex() or not bool((tensor >= 0).all()):
            continue
        if tensor.ndim == 1 or (tensor.ndim <= 3 and bool(((tensor == 0) | (tensor == 1)).all())):
            whole = not tensor.is_floating_point() and tensor.dtype != torch.bool
            yield Mask(place, tensor.ndim == 1 and whole and bool((tensor > 1).any()))


def ignored_labels(subject: Subject) -> dict[int, bool]:
    """Labels that the loss seems to ignore, and whether it surely does.

    Where all labels are this one, the loss is a mean over nothing (sure), or zero (which outputs that are
    certain give as well). Only labels that are there are tried: others may not be valid ones.
    """
    batch = next(iter(subject.batches), None)
    labels = None if batch is None else labels_of(batch)
    if labels is None:
        return {}
    found = {label: _alone(subject, few(batch, TRIED_BATCHES), label) for label in _suspects(subject)}
    return {label: math.isnan(value) for label, value in found.items() if not abs(value) > 0}


def _suspects(subject: Subject) -> list[int]:
    lowest: list[int] = []
    others: dict[int, None] = {}
    for batch in subject.batches:
        labels = labels_of(batch)
        if labels is None or not labels.numel():
            continue
        lowest.append(int(labels.min()))
        others |= {int(labels.max()): None}
        if bool((labels == 0).any()):
            others = {0: None, **others}
        if labels.ndim > 1:
            others |= {int(labels.flatten(1)[:, -1].mode().values): None}
    ends = [min(lowest), *list(others)[: TRIED_LABELS - 1]] if lowest else []
    return list(dict.fromkeys(ends))


def _alone(subject: Subject, batch: Any, label: int) -> float:
    """The loss where every label is this one; infinite where there is none."""
    labels = labels_of(batch)

    def filled(tensor: Tensor) -> Tensor:
        return tensor.new_full(tensor.shape, label) if tensor is labels else tensor

    all_of_them = map_trees(filled, batch)
    try:
        with torch.no_grad():
            return float(subject.loss(subject.model, all_of_them))
    except UNFIT:
        return math.inf


def trials(subject: Subject, ignored: Iterable[int]) -> list[Trial]:
    """Examples of the first two batches, of all batches together, and with labels that are ignored.

    Raises:
        Unavailable: There are no batches.
    """
    made: list[Trial] = []
    ends: dict[Any, list[Any]] = {}
    first = None
    for place, batch in enumerate(subject.batches):
        first = batch if first is None else first
        if place < TRIED_BATCHES:
            made.append(_trial(subject, few(batch, TRIED_EXAMPLES)))
        n = examples(batch)
        for i in dict.fromkeys((0, n - 1)) if n else ():
            ends.setdefault(_form(batch), []).append(example(batch, i))
    if first is None:
        raise Unavailable("there are no batches")
    together = [group for parts in ends.values() for group in _chained(parts)]
    synthetic = [_half_ignored(first, label) for label in ignored]
    for parts in (*together, *synthetic):
        try:
            made.append(_trial(subject, map_trees(_joined, *parts)))
        except UNFIT:
            continue
    return made


def _trial(subject: Subject, batch: Any) -> Trial:
    parts = [example(batch, i) for i in range(examples(batch))]
    with torch.no_grad():
        whole = float(subject.loss(subject.model, batch))
        return Trial(whole, parts, [float(subject.loss(subject.model, one)) for one in parts])


def few(batch: Any, most: int) -> Any:
    """The first examples of a batch."""
    return map_trees(lambda t: t[:most] if t.ndim else t, batch) if examples(batch) > most else batch


def _form(batch: Any) -> Any:
    """Batches of one form can be put together."""
    return tuple((path, tuple(t.shape[1:]), t.dtype, str(t.device)) for path, t in tensors_in(batch))


def _chained(parts: list[Any]) -> Iterator[list[Any]]:
    """Up to eight at a time, each group with the last of the one before."""
    for start in range(0, max(1, len(parts) - 1), TRIED_EXAMPLES - 1):
        yield parts[start : start + TRIED_EXAMPLES]


def _half_ignored(batch: Any, label: int) -> list[Any]:
    """Two examples, with every label and with half of them (of one label: none)."""
    labels = labels_of(batch)
    assert labels is not None
    changed = labels.clone()
    if labels.ndim > 1:
        changed[:, labels.shape[1] // 2 :] = label
    else:
        changed[:] = label
    other = map_trees(lambda t: changed if t is labels else t, batch)
    n = examples(batch)
    return [example(batch, 0), example(other, n - 1), example(batch, n // 2)]


def _joined(*parts: Tensor) -> Tensor:
    return torch.cat(parts) if parts[0].ndim else parts[0]
