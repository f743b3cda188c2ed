"""The empirical tangent kernel: how far it has moved, and whether it knows the labels (lazy or rich)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from algobias.lazy import torch
from algobias.probes.base import Card, Probe
from algobias.probes.passes.calls import captured, labels_in, logits_in, single_call
from algobias.probes.passes.draws import picked, random_batches
from algobias.probes.passes.losses import totals
from algobias.probes.passes.singles import per_example
from algobias.probes.passes.states import other_state
from algobias.probes.passes.weighing import IGNORED, example, examples, weighing
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.subject import KEPT_BYTES, Subject
from algobias.spelling import Whole

if TYPE_CHECKING:
    from torch import Tensor, nn

KERNEL = (
    "K_ij = <grad s(x_i), grad s(x_j)> over trained parameters, s = sum of the outputs of an example (of its "
    "unmasked tokens) over the root of their number; examples that are masked throughout are left out"
)
CHIZAT = "Chizat, Oyallon and Bach, On Lazy Training in Differentiable Programming, 2019"
JACOT = "Jacot, Gabriel and Hongler, Neural Tangent Kernel, 2018"
NO_INTERVAL = "entries of a kernel share examples: no interval of proven coverage; measure it over seeds"


class _Kernel(Probe):
    """Options of probes of the tangent kernel.
    Attributes:
        examples_used: Examples drawn at random, at most.
    """

    revision: ClassVar[int] = 2
    positional: ClassVar[str | None] = "examples_used"
    examples_used: Annotated[Whole, Field(ge=2, le=4096)] = 128

    def _chosen(self, subject: Subject) -> Any:
        """A batch of examples drawn at random, without those of which every label is masked.

        Raises:
            Unavailable: Examples depend on each other, or two do not fit in memory; all but one are masked.
        """
        rule = weighing(subject)
        if rule.doubt is not None:
            raise Unavailable(f"the tangent kernel needs examples that stand alone: {rule.doubt}")
        _, count = totals(subject)
        room = KEPT_BYTES // (subject.size * subject.dtype.itemsize)
        used = min(self.examples_used, count, room)
        if used < 2:
            raise Unavailable(
                "it needs two examples whose gradients fit in 256 MB: restrict it with parameters="
            )
        batch = random_batches(subject, used, 1, subject.generator("examples of the tangent kernel"))[0]
        kept = [place for place in range(examples(batch)) if rule.weigh(example(batch, place)) > 0]
        if len(kept) < 2:
            raise Unavailable("of the examples drawn fewer than two have a label that counts")
        return batch if len(kept) == examples(batch) else picked(batch, torch.tensor(kept))


class KernelDrift(_Kernel):
    """One minus the cosine between the tangent kernels before and after training."""

    name: ClassVar[str] = "kernel_drift"
    card: ClassVar[Card] = Card(
        summary="How far the tangent kernel has turned since initialisation: 0 is lazy (kernel) training",
        family="features",
        formula=f"1 - <K_0, K_T> / (||K_0|| ||K_T||), Frobenius, K_0 at the initial weights; {KERNEL}",
        unit="1 (0: kernel regime)",
        invariances="scale of the outputs; order of examples; not rescalings between layers",
        cost="two gradients of each of 128 examples. Memory: 128 P numbers, 256 MB at most",
        references=("Fort et al., Deep learning versus kernel learning, 2020", CHIZAT, JACOT),
        preset="full",
        needs=("initial",),
        caution="of the sum of the outputs (a pseudo-kernel), not of each; small at large initial weights",
        examples=("kernel_drift", "kernel_drift:256"),
    )

    def read(self, subject: Subject) -> Reading:
        """The drift of the whole kernel, and of each parameter tensor's share of it.

        Raises:
            Unavailable: The initial weights do not fit, or a kernel is zero.
        """
        batch = self._chosen(subject)
        model, warnings = at(subject, subject.initial or {})
        after, before = tangents(subject, subject.model, batch), tangents(subject, model, batch)
        drift = _drift(before, after)
        if drift is None:
            raise Unavailable("the outputs do not depend on the trained parameters: the kernel is zero")
        views = zip(subject.views(before).items(), subject.views(after).values(), strict=True)
        found = {name: _drift(a.flatten(1), b.flatten(1)) for (name, a), b in views}
        return self.reading(
            drift,
            no_interval=NO_INTERVAL,
            parts={name: part for name, part in found.items() if part is not None},
            details={
                "examples": len(after),
                "trace_ratio": float(after.double().square().sum() / before.double().square().sum()),
            },
            warnings=warnings,
        )


class KernelLabelAlignment(_Kernel):
    """Centred alignment of the tangent kernel with the labels."""

    name: ClassVar[str] = "kernel_label_alignment"
    card: ClassVar[Card] = Card(
        summary="How well the tangent kernel knows the labels: rises where training is rich",
        family="features",
        formula=(
            "<HKH, HYH> / (||HKH|| ||HYH||), Frobenius, H = I - 11'/m, Y_ij = 1 where examples i and j have "
            f"one label, else 0 (the product of targets in regression); {KERNEL}"
        ),
        unit="1 (at most 1)",
        invariances="scale of the outputs and of the targets; order of examples; names of classes",
        cost="one gradient of each of 128 examples. Memory: 128 P numbers, 256 MB at most",
        references=(
            "Cortes, Mohri and Rostamizadeh, Learning Kernels Based on Centered Alignment, 2012",
            "Baratin et al., Implicit Regularization via Neural Feature Alignment, 2021",
        ),
        preset="full",
        caution="of the sum of the outputs (a pseudo-kernel), not of each",
        examples=("kernel_label_alignment", "kernel_label_alignment:256"),
    )

    def read(self, subject: Subject) -> Reading:
        """The alignment; without centring, and that of initial weights where they are known, as parts.

        Raises:
            Unavailable: There is no label or target for each example, or they are all the same.
        """
        batch = self._chosen(subject)
        labels = _label_kernel(subject, batch)
        rows = tangents(subject, subject.model, batch)
        value = alignment(gram(rows), labels)
        if value is None:
            raise Unavailable("the kernel or the labels of the examples drawn do not vary")
        uncentred = _cosine(gram(rows), labels)
        parts = {} if uncentred is None else {"without centring": uncentred}
        warnings: tuple[str, ...] = ()
        if subject.initial:
            model, warnings = at(subject, subject.initial)
            start = alignment(gram(tangents(subject, model, batch)), labels)
            parts |= {} if start is None else {"at initial weights": start}
        return self.reading(
            value, no_interval=NO_INTERVAL, parts=parts, details={"examples": len(rows)}, warnings=warnings
        )


class RelativeWeightChange(Probe):
    """Distance from initialisation over the norm of the initial weights."""

    name: ClassVar[str] = "relative_weight_change"
    card: ClassVar[Card] = Card(
        summary="How far weight matrices have moved, relative to their initial size: small is lazy training",
        family="features",
        formula=(
            "mean over layers l of ||W_l - W_l0|| / ||W_l0||, Frobenius, W_l a trained parameter of two or "
            "more dimensions (all trained ones where there is none), W_l0 its initial value"
        ),
        unit="1 (0: kernel regime)",
        invariances="the scale of every layer with its initial value; rotations",
        cost="none: no pass over the data",
        references=(CHIZAT, "Woodworth et al., Kernel and Rich Regimes in Overparametrized Models, 2020"),
        preset="standard",
        needs=("initial",),
        caution="vanishes with width at any amount of feature learning: compare networks of one width",
    )

    def read(self, subject: Subject) -> Reading:
        """The mean, and the change of every trained parameter that did not start at zero.

        Raises:
            Unavailable: The initial weights do not fit, or are all zero.
        """
        before = subject.views(subject.flat(subject.initial).double())
        now = subject.views(subject.flat().double())
        parts = {n: float((now[n] - w).norm() / w.norm()) for n, w in before.items() if bool(w.any())}
        chosen = [part for n, part in parts.items() if before[n].dim() >= 2] or list(parts.values())
        if not chosen:
            raise Unavailable("all initial weights are zero: there is nothing to compare with")
        told = "computed exactly from the weights"
        return self.reading(sum(chosen) / len(chosen), no_interval=told, parts=parts)


def at(subject: Subject, weights: Mapping[str, Tensor]) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy of the model with other weights, and what to mind. Memory: one model.

    Raises:
        Unavailable: They do not fit.
    """
    state, warnings = other_state(subject, weights)
    model = copy.deepcopy(subject.model)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            tensor.copy_(state[name])
    return model, tuple(text.replace("the other run lacks", "the initial weights lack") for text in warnings)


def tangents(subject: Subject, model: nn.Module, batch: Any) -> Tensor:
    """Gradient of every example's sum of outputs over the root of their number, [m, P].

    Outputs of masked tokens do not count, whether by their labels or by a mask in the batch. Cost: one
    gradient for each example.

    Raises:
        Unavailable: The loss does not call the model exactly once; a gradient is not finite.
    """

    rule = weighing(subject)

    def outputs(module: nn.Module, one: Any) -> Tensor:
        with captured(module) as call:
            subject.loss(module, one)
        single_call(call)
        logits = logits_in(call.output)
        labels = labels_in(subject, one, logits)
        if labels is not None:
            rows = labels != IGNORED if labels.dim() >= 2 else None
        else:
            rows = rule.kept(one, logits.shape[:2])
        if rows is None:
            return logits.sum() / math.sqrt(logits.numel())
        weights = rows.to(logits).reshape(*rows.shape, *(1 for _ in logits.shape[rows.dim() :]))
        size = rows.sum() * math.prod(logits.shape[rows.dim() :])
        return (logits * weights).sum() / size.to(logits).clamp(min=1).sqrt()

    scalar = replace(
        subject, model=model, batches=[batch], loss=outputs, weigh=lambda one: 1.0, reduction="mean", memo={}
    )
    before = subject.meter.gradients
    rows = torch.cat([part.grads for part in per_example(scalar)])
    subject.meter.gradients = before + len(rows) / totals(subject)[1]  # those are shares of the few drawn
    if not bool(rows.isfinite().all()):
        raise Unavailable("the gradient of an output is not finite")
    return rows


def gram(rows: Tensor) -> Tensor:
    """Inner products of rows in double precision, [m, m]."""
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for columns in torch.split(rows, 2**20, dim=1):
        wide = columns.double()
        total += wide @ wide.T
    return total


def alignment(one: Tensor, two: Tensor) -> float | None:
    """Cosine between centred kernels; None where one of them does not vary."""
    centred = [k - k.mean(0) - k.mean(1, keepdim=True) + k.mean() for k in (one, two)]
    still = any(float(c.norm()) <= 1e-9 * float(k.norm()) for c, k in zip(centred, (one, two), strict=True))
    return None if still else _cosine(*centred)


def _cosine(one: Tensor, two: Tensor) -> float | None:
    size = one.norm() * two.norm()
    return float((one * two).sum() / size) if float(size) > 0 else None


def _drift(before: Tensor, after: Tensor) -> float | None:
    """1 - cosine as half the squared distance between normalised kernels, which keeps small drifts exact."""
    one, two = gram(before), gram(after)
    if not float(one.norm()) > 0 or not float(two.norm()) > 0:
        return None
    return float((one / one.norm() - two / two.norm()).square().sum() / 2)


def _label_kernel(subject: Subject, batch: Any) -> Tensor:
    with torch.no_grad(), captured(subject.model) as call:
        subject.loss(subject.model, batch)
    single_call(call)
    logits = logits_in(call.output)
    labels = labels_in(subject, batch, logits)
    if labels is not None and labels.dim() == 1:
        return (labels[:, None] == labels[None]).double()
    target = batch[-1] if isinstance(batch, tuple | list) and len(batch) >= 2 else None
    if isinstance(target, torch.Tensor) and target.is_floating_point() and len(target) == len(logits):
        flat = target.double().flatten(1) if target.dim() > 1 else target.double()[:, None]
        return flat @ flat.T
    raise Unavailable("it needs one label or target for each example; pass labels= where they are elsewhere")
