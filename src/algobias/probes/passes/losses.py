"""Passes over the data: loss and gradient, here and at other weights, streamed over batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from algobias.lazy import no_grad, torch
from algobias.probes.passes.ways import at_swapped, backward_gradients, require_swapping
from algobias.probes.passes.weighing import example, examples, weighing
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor, nn


def loss_at(subject: Subject, params: Mapping[str, Tensor], batch: Any) -> Tensor:
    """Loss of one batch with some parameters replaced; the model is not written to.

    Buffers that a forward pass in train mode would update are copies.

    Args:
        subject: The subject.
        params: Tensors for (some) parameters by name.
        batch: The batch.

    Raises:
        Unavailable: Weights cannot be swapped in this model.
    """
    require_swapping(subject)
    value: Tensor = at_swapped(subject, params, lambda: subject.loss(subject.model, batch))
    return value


def weighed(subject: Subject) -> Iterator[tuple[Any, float, float]]:
    """Every batch with what its loss is multiplied with, summing to the loss of all, and its share of a pass.

    ``loss = sum_b factor_b loss(model, b)``.

    Raises:
        Unavailable: There are no batches, or they weigh nothing.
    """
    rule = weighing(subject)
    total, count = totals(subject)
    for batch in subject.batches:
        if rule.weigh(batch) > 0:  # the mean over no token at all is not a number, and counts nothing
            yield batch, rule.share(batch) / total, examples(batch) / count


def totals(subject: Subject) -> tuple[float, int]:
    """Sum of the weights of all batches, and the number of examples, N. Cost: one pass without the model."""

    def count() -> tuple[float, int]:
        rule = weighing(subject)
        pairs = [(rule.weigh(batch), examples(batch)) for batch in subject.batches]
        weight, number = sum(w for w, _ in pairs), sum(n for _, n in pairs)
        if not pairs or number == 0:
            raise Unavailable("there are no batches")
        if not weight > 0:
            raise Unavailable("the batches weigh nothing: every token is masked")
        return weight, number

    found: tuple[float, int] = subject.shared("totals", count)
    return found


def trained_scale(subject: Subject) -> float:
    """How many times as large as the loss that is measured the loss of a training batch is.

    1 for a mean. A loss that is a sum is measured as a mean (over examples, or tokens), and trained with as
    it is: times what a batch of the size that is trained with contains of them on average.
    """
    training = subject.training
    if training is None or weighing(subject).reduction == "mean":
        return 1.0
    weight, count = totals(subject)
    return (training.batch or training.examples or count) * weight / count


def told_scale(scale: float) -> tuple[str, ...]:
    """The remark that belongs to a reading in which :func:`trained_scale` is not 1."""
    if scale == 1:
        return ()
    return (f"the loss is a sum: curvature counts as that of a training batch, {scale:.6g} times the mean's",)


def counted(subject: Subject) -> int:
    """Number of examples that :func:`per_example` gives: those with a weight, not masked throughout."""

    def count() -> int:
        rule = weighing(subject)
        if rule.unit == "examples":
            return totals(subject)[1]
        places = ((batch, place) for batch in subject.batches for place in range(examples(batch)))
        return sum(rule.weigh(example(batch, place)) > 0 for batch, place in places)

    found: int = subject.shared("counted", count)
    return found


def checked(loss: Tensor) -> Tensor:
    """The loss, where it is a finite scalar.

    Raises:
        Unavailable: It is not.
    """
    if not isinstance(loss, torch.Tensor) or loss.dim() != 0:
        shape = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise Unavailable(f"the loss must be a scalar tensor, not {shape}")
    if not math.isfinite(float(loss.detach())):
        raise Unavailable(f"the loss is {float(loss.detach())}: weights or data are not finite")
    return loss


@no_grad
def mean_loss(subject: Subject, params: Mapping[str, Tensor] | None = None) -> float:
    """Loss of all examples, with some parameters replaced. Cost: one forward pass.

    Raises:
        Unavailable: It is not finite.
    """
    total = 0.0
    for batch, factor, share in weighed(subject):
        loss = subject.loss(subject.model, batch) if params is None else loss_at(subject, params, batch)
        total += factor * float(checked(loss))
        subject.meter.forwards += share
    return total


def gradient(subject: Subject) -> Tensor:
    """Gradient of the loss of all examples, [P]. Cost: one gradient; made once for each measurement.

    Raises:
        Unavailable: The loss does not depend on the trained parameters, or is not finite.
    """

    def compute() -> Tensor:
        params = list(subject.trained.values())
        total = torch.zeros(subject.size, dtype=subject.dtype, device=subject.device)
        for batch, factor, share in weighed(subject):
            loss = checked(subject.loss(subject.model, batch))
            require_graph(loss)
            total += factor * flatten(backward_gradients(subject.model, loss, params), params)
            subject.meter.gradients += share
        return total

    found: Tensor = subject.shared("gradient", compute)
    return found


def gradient_at(subject: Subject, weights: Tensor) -> Tensor:
    """Gradient of the loss of all examples at other weights, [P] -> [P]; the model is not written to.

    Cost: one gradient.

    Raises:
        Unavailable: A loss is not finite there, or weights cannot be swapped in this model.
    """
    require_swapping(subject)
    leaf = weights.detach().requires_grad_()
    total = torch.zeros_like(weights)
    for batch, factor, share in weighed(subject):

        def taken(batch: Any = batch) -> Tensor:
            loss = checked(subject.loss(subject.model, batch))
            require_graph(loss)
            return backward_gradients(subject.model, loss, [leaf])[0]

        total.add_(at_swapped(subject, subject.views(leaf), taken), alpha=factor)
        subject.meter.gradients += share
    return total


def require_graph(loss: Tensor) -> None:
    """Raise where the loss does not depend on any parameter."""
    if not loss.requires_grad:
        raise Unavailable(
            "the loss does not depend on the trained parameters: compute it with the model it is given"
        )


def flatten(grads: Any, params: list[nn.Parameter]) -> Tensor:
    """Gradients (None where a parameter is unused) as one vector, [P]."""
    pairs = zip(grads, params, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in pairs])
