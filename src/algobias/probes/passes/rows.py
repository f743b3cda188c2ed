"""Margins of every example or unmasked token, and their gradients with respect to the input: two passes
that the probes of margins and of the function share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from algobias.lazy import torch
from algobias.probes.passes.calls import Call, captured, labels_in, logits_in, single_call
from algobias.probes.passes.losses import totals
from algobias.probes.passes.samples import Floats, Groups
from algobias.probes.passes.weighing import IGNORED, examples, weighing
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor, nn

NEEDS_LABELS = (
    "it needs class labels: integers, one for each row of the outputs; pass labels= where they are elsewhere"
)


@dataclass(frozen=True)
class Rows:
    """What the network says about every row: an example, or an unmasked token.

    Attributes:
        margins: True logit minus best other, [R]; with one output its value times the sign of the label.
        soft: True logit minus the log-sum-exp of the others, [R]: cross-entropy is log(1 + exp(-soft)).
        groups: The example of each row, [R]; None where each row is an example of its own.
        slopes: Euclidean norm of the gradient of each margin with respect to the input, [R]; None where
            they were not asked for.
        source: With respect to what: ``input``, or the name of an embedding.
        warnings: What to mind.
    """

    margins: Floats
    soft: Floats
    groups: Groups | None
    slopes: Floats | None = None
    source: str = "input"
    warnings: tuple[str, ...] = ()


def margin_rows(subject: Subject) -> Rows:
    """Margins of all rows. Cost: one forward pass, once for each measurement. Memory: three numbers a row.

    Raises:
        Unavailable: There are no class labels, one class only, or a label that is none of the outputs.
    """
    found: Rows = subject.shared("margin_rows", lambda: _all_rows(subject, slopes=False))
    return found


def slope_rows(subject: Subject) -> Rows:
    """Margins and the norms of their input gradients. Cost: one gradient, once for each measurement.

    Each example's margin is differentiated with respect to its own input: the first real-valued argument
    of the model, else the output of the first embedding. Of a sequence one unmasked token is drawn at
    random, so that one backward pass is enough and rows are independent.

    Raises:
        Unavailable: As :func:`margin_rows`; examples depend on each other; no input to differentiate by.
    """
    found: Rows = subject.shared("slope_rows", lambda: _all_rows(subject, slopes=True))
    return found


@dataclass
class _Part:
    margins: Tensor
    soft: Tensor
    groups: Tensor
    slopes: Tensor | None


def _all_rows(subject: Subject, *, slopes: bool) -> Rows:
    doubt = weighing(subject).doubt
    if slopes and doubt is not None:
        raise Unavailable(f"the input gradient of one example needs examples that stand alone: {doubt}")
    _, count = totals(subject)
    shift: bool | None = False if subject.labels is not None else None
    warning: str | None = None
    parts, start, sequences, single, positive = [], 0, False, False, False
    source, generator = "input", subject.generator("token of each sequence")
    for batch in subject.batches:
        n = examples(batch)
        with _watched(subject.model, n) if slopes else _plain(subject.model) as watch:
            loss = float(subject.loss(subject.model, batch).detach())
        single_call(watch.call)
        logits, labels = _labelled(subject, batch, watch.call.output)
        if shift is None and bool((labels != IGNORED).any()):
            shift, warning = _shifted(logits.detach(), labels, loss)
        if shift:
            logits, labels = logits[:, :-1], labels[:, 1:]
        if slopes:
            subject.meter.gradients += n / count
        else:
            subject.meter.forwards += n / count
        kept = (labels != IGNORED).nonzero()
        sequences, single = sequences or logits.dim() > 2, single or logits.shape[-1] == 1
        if slopes and logits.dim() > 2:
            kept = _one_of_each(kept, generator)
        first, start = start, start + n
        if not len(kept):
            continue
        place = tuple(kept.T)
        margins, soft = _margins(logits[place], labels[place])
        positive = positive or bool((labels[place] > 0).any())
        steep = None
        if slopes:
            steep, source = watch.slopes(margins, kept[:, 0])
        parts.append(_Part(margins.detach(), soft.detach(), kept[:, 0] + first, steep))
    if not parts:
        raise Unavailable("every row is masked")
    if single and not positive:
        raise Unavailable("one output and one class only: there is nothing to have a margin against")
    joined = [_numpy([getattr(part, key) for part in parts]) for key in ("margins", "soft")]
    if not np.isfinite(joined[0]).all():
        raise Unavailable("an output of the network is not finite")
    warnings = [warning] if warning else []
    if sequences and slopes:
        warnings.append("one random unmasked token of each sequence")
    if single:
        warnings.append("one output: its value times the sign of the label, decided at zero")
    groups = torch.cat([part.groups for part in parts]).cpu().numpy() if sequences and not slopes else None
    steepness = _numpy([part.slopes for part in parts if part.slopes is not None]) if slopes else None
    return Rows(joined[0], joined[1], groups, steepness, source, tuple(warnings))


def _numpy(parts: list[Tensor]) -> Floats:
    found: Floats = torch.cat(parts).double().cpu().numpy()
    return found


def _labelled(subject: Subject, batch: Any, output: Any) -> tuple[Tensor, Tensor]:
    logits = logits_in(output)
    labels = labels_in(subject, batch, logits)
    if labels is None or labels.shape != logits.shape[:-1]:
        raise Unavailable(NEEDS_LABELS)
    return logits, labels.to(logits.device)


def _margins(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Margins and soft margins of rows, both [R], in double precision."""
    logits, labels = logits.double(), labels.long()
    classes = logits.shape[-1]
    if classes == 1:
        if int(labels.min()) < -1 or int(labels.max()) > 1:
            raise Unavailable(f"{NEEDS_LABELS}; with one output, two classes 0 and 1")
        margin = logits[:, 0] * torch.where(labels > 0, 1.0, -1.0).to(logits)
        return margin, margin
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        wrong = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
        raise Unavailable(f"label {wrong} is none of the network's {classes} outputs")
    true = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return true - others.max(1).values, true - others.logsumexp(1)


def _shifted(logits: Tensor, labels: Tensor, loss: float) -> tuple[bool, str | None]:
    """Whether the loss itself moves labels by one place (a causal model), and a doubt about it."""
    if logits.dim() < 3:
        return False, None
    if _explains(logits, labels, loss):
        return False, None
    if _explains(logits[:, :-1], labels[:, 1:], loss):
        return True, None
    return False, (
        "the loss is not plain cross-entropy of these labels, so that they belong to the outputs at the "
        "same place is taken for granted; pass labels= if they do not"
    )


def _explains(logits: Tensor, labels: Tensor, loss: float) -> bool:
    kept = labels != IGNORED
    if not bool(kept.any()) or int(labels[kept].max()) >= logits.shape[-1] or int(labels[kept].min()) < 0:
        return False
    single = torch.nn.functional.cross_entropy(logits[kept].double(), labels[kept].long(), reduction="none")
    return any(abs(float(x) - loss) <= 1e-4 * (abs(loss) + 1e-6) for x in (single.mean(), single.sum()))


def _one_of_each(kept: Tensor, generator: torch.Generator) -> Tensor:
    """One row of ``kept`` ([R, 1 + dims], sorted by its first column) for each example, at random."""
    if not len(kept):
        return kept
    order = torch.randperm(len(kept), generator=generator).to(kept.device)
    shuffled = kept[order]
    first = torch.argsort(shuffled[:, 0], stable=True)
    owners = shuffled[first, 0]
    new = torch.ones_like(owners, dtype=torch.bool)
    new[1:] = owners[1:] != owners[:-1]
    return shuffled[first[new]]


class _Watch:
    """A call of the model whose input can be differentiated by."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.leaf: Tensor | None = None
        self.embedded: tuple[str, Tensor] | None = None

    def slopes(self, margins: Tensor, owners: Tensor) -> tuple[Tensor, str]:
        """Norm of the gradient of each margin by the input of its example, [R], and which input."""
        source, leaf = ("input", self.leaf) if self.leaf is not None else (self.embedded or ("", None))
        if leaf is None:
            raise Unavailable(
                "there is no input to differentiate by: the model takes no real-valued tensor and its "
                "integers do not go through an nn.Embedding"
            )
        found = (
            torch.autograd.grad(margins.sum(), leaf, allow_unused=True)[0] if margins.requires_grad else None
        )
        if found is None:
            raise Unavailable("the outputs do not depend on the model's first real-valued input")
        norms: Tensor = torch.linalg.vector_norm(found.reshape(len(found), -1).double(), dim=1)
        return norms[owners], source


@contextmanager
def _plain(model: nn.Module) -> Iterator[_Watch]:
    with torch.no_grad(), captured(model) as call:
        yield _Watch(call)


@contextmanager
def _watched(model: nn.Module, count: int) -> Iterator[_Watch]:
    """Make the first real-valued input a leaf, or else the output of the first embedding."""
    watch = _Watch(Call())

    def leaf(tensor: Tensor) -> Tensor:
        watch.leaf = tensor.detach().clone().requires_grad_()
        return watch.leaf

    def embedding(name: str) -> Callable[..., Any]:
        def after(module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
            if watch.leaf is not None or watch.embedded is not None or len(output) != count:
                return None
            watch.embedded = (name, output.detach().clone().requires_grad_())
            return watch.embedded[1]

        return after

    handles = [
        module.register_forward_hook(embedding(name))
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Embedding)
    ]
    try:
        with captured(model, change=leaf) as call:
            watch.call = call
            yield watch
    finally:
        for handle in handles:
            handle.remove()
