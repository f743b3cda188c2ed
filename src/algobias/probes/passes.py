"""Passes over the data: loss, gradient, outputs, input gradients and per-example gradients, streamed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from algobias.probes.reading import Unavailable
from algobias.probes.subject import Loss, Subject
from algobias.probes.weights import IGNORED, example, examples, token_labels, weighing
from algobias.tasks.labels import label_key
from algobias.tasks.trees import map_trees, tensors_in

CHUNK_NUMBERS = 16_000_000
"""Per-example gradients are made at most so many numbers at a time (64 MB in float32)."""


class Evaluated(nn.Module):
    """Holds the model under one name, so that ``functional_call`` can swap its weights around any loss."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Any) -> Tensor:
        """The loss of a batch."""
        return self.loss(self.model, batch)


def loss_at(subject: Subject, params: Mapping[str, Tensor], batch: Any) -> Tensor:
    """Loss of one batch with some parameters replaced; the model is not written to.

    Buffers that a forward pass in train mode would update are copies.

    Args:
        subject: The subject.
        params: Tensors for (some) parameters by name.
        batch: The batch.
    """
    swapped = {f"model.{name}": tensor for name, tensor in params.items()}
    swapped |= {f"model.{name}": b.detach().clone() for name, b in subject.model.named_buffers()}
    value: Tensor = functional_call(
        Evaluated(subject.model, subject.loss), swapped, (batch,), tie_weights=True
    )
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
    if not isinstance(loss, Tensor) or loss.dim() != 0:
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise Unavailable(f"the loss must be a scalar tensor, not {shape}")
    if not math.isfinite(float(loss.detach())):
        raise Unavailable(f"the loss is {float(loss.detach())}: weights or data are not finite")
    return loss


@torch.no_grad()
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
            grads = torch.autograd.grad(loss, params, allow_unused=True)
            total += factor * flatten(grads, params)
            subject.meter.gradients += share
        return total

    found: Tensor = subject.shared("gradient", compute)
    return found


def gradient_at(subject: Subject, weights: Tensor) -> Tensor:
    """Gradient of the loss of all examples at other weights, [P] -> [P]; the model is not written to.

    Cost: one gradient.

    Raises:
        Unavailable: A loss is not finite there.
    """
    leaf = weights.detach().requires_grad_()
    total = torch.zeros_like(weights)
    for batch, factor, share in weighed(subject):
        loss = checked(loss_at(subject, subject.views(leaf), batch))
        total.add_(torch.autograd.grad(loss, leaf)[0], alpha=factor)
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


@dataclass(frozen=True)
class PerExample:
    """Gradients of some examples.

    Attributes:
        grads: Gradient of each example's own mean loss, [b, P].
        weights: Weight of each example (1, or its number of unmasked tokens), [b].
        losses: Mean loss of each example, [b].
    """

    grads: Tensor
    weights: Tensor
    losses: Tensor


def per_example(subject: Subject) -> Iterator[PerExample]:
    """Gradients example by example, in the order of the data, streamed in chunks.

    ``gradient = sum_i weights_i grads_i / sum_i weights_i``; examples that weigh nothing (every token masked)
    are left out. Vectorised where ``vmap`` can, else one by
    one. Cost: one gradient. Memory: chunk times P.

    Raises:
        Unavailable: An example cannot be taken alone (BatchNorm in train mode), or a loss is not finite.
    """
    rule = weighing(subject)
    if rule.doubt is not None:
        raise Unavailable(f"gradients of single examples do not add up to the gradient: {rule.doubt}")
    chunk = max(1, CHUNK_NUMBERS // subject.size)
    _, count = totals(subject)
    for batch in subject.batches:
        n = examples(batch)
        for start in range(0, n, chunk):
            part = [example(batch, i) for i in range(start, min(start + chunk, n))]
            part = [one for one in part if rule.weigh(one) > 0]
            if not part:
                continue
            grads, losses = _gradients_of(subject, part)
            if not bool(torch.isfinite(losses).all()):
                raise Unavailable("the loss of an example is not finite")
            weights = torch.tensor([rule.weigh(one) for one in part], dtype=torch.float64)
            if rule.reduction == "sum":
                scale = weights.to(grads).clamp(min=1e-30)
                grads, losses = grads / scale[:, None], losses / scale
            subject.meter.gradients += len(part) / count
            yield PerExample(grads, weights, losses.double().cpu())


def _gradients_of(subject: Subject, part: list[Any]) -> tuple[Tensor, Tensor]:
    mapped = subject.memo.get("per_example_mapped", True)
    if mapped:
        try:
            return _mapped_gradients(subject, part)
        except (RuntimeError, ValueError, TypeError):
            # In-place buffer updates, data-dependent control flow, an operation without a batching rule.
            subject.memo["per_example_mapped"] = False
    params = list(subject.trained.values())
    rows, losses = [], []
    for one in part:
        loss = checked(subject.loss(subject.model, one))
        require_graph(loss)
        rows.append(flatten(torch.autograd.grad(loss, params, allow_unused=True), params))
        losses.append(loss.detach())
    return torch.stack(rows), torch.stack(losses)


def _mapped_gradients(subject: Subject, part: list[Any]) -> tuple[Tensor, Tensor]:
    # Tensors travel as a flat list, so that any batch type can be mapped over.
    leaves = [[leaf for _, leaf in tensors_in(one)] for one in part]
    stacked = [torch.stack(column) for column in zip(*leaves, strict=True)]
    evaluated = Evaluated(subject.model, subject.loss)
    buffers = {f"model.{name}": b.detach() for name, b in subject.model.named_buffers()}

    def loss_of(params: dict[str, Tensor], *inputs: Tensor) -> Tensor:
        batch = _refill(part[0], iter(inputs))
        swapped = {f"model.{name}": p for name, p in params.items()} | buffers
        value: Tensor = functional_call(evaluated, swapped, (batch,), tie_weights=True)
        return value

    params = {name: p.detach() for name, p in subject.trained.items()}
    in_dims = (None, *(0 for _ in stacked))
    # Fused attention has no batching rule for its backward pass on every machine; the plain one always has.
    with sdpa_kernel(SDPBackend.MATH):
        grads, losses = vmap(grad_and_value(loss_of), in_dims=in_dims, randomness="same")(params, *stacked)
    flat = torch.cat([grads[name].reshape(len(part), -1) for name in params], 1)
    return flat.detach(), losses.detach()


def _refill(tree: Any, leaves: Iterator[Tensor]) -> Any:
    return map_trees(lambda _: next(leaves), tree)


@dataclass
class Call:
    """One call of the model, as its loss made it.

    Attributes:
        inputs: Tensors of real numbers among its arguments, in order.
        output: What it returned.
        count: How often it was called since the last reset.
    """

    inputs: tuple[Tensor, ...] = ()
    output: Any = None
    count: int = 0


@contextmanager
def captured(
    model: nn.Module,
    change: Callable[[Tensor], Tensor] | None = None,
    replace: Callable[[Any], Any] | None = None,
) -> Iterator[Call]:
    """Watch how the loss calls the model: its inputs and its output.

    Args:
        model: The network.
        change: Applied to the first real-valued input before the call (to make it a leaf, say).
        replace: Applied to the output before the loss sees it.
    """
    call = Call()

    def before(module: nn.Module, args: Any, kwargs: Any) -> Any:
        call.count += 1
        if change is not None:
            args, kwargs = _change_first(args, kwargs, change)
        call.inputs = tuple(t for _, t in tensors_in((args, dict(kwargs))) if t.is_floating_point())
        return args, kwargs

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        call.output = output
        return None if replace is None else replace(output)

    handles = [
        model.register_forward_pre_hook(before, with_kwargs=True),
        model.register_forward_hook(after, with_kwargs=True),
    ]
    try:
        yield call
    finally:
        for handle in handles:
            handle.remove()


def _change_first(args: Any, kwargs: Any, change: Callable[[Tensor], Tensor]) -> tuple[Any, Any]:
    done = False

    def once(tensor: Tensor) -> Tensor:
        nonlocal done
        if done or not tensor.is_floating_point():
            return tensor
        done = True
        return change(tensor)

    args = map_trees(once, args)
    return args, map_trees(once, kwargs)


def logits_in(output: Any) -> Tensor:
    """The logits (or predictions) in what a model returned: itself, ``.logits``, or the first real tensor.

    Raises:
        Unavailable: There is none.
    """
    if isinstance(output, Tensor):
        return output
    named = getattr(output, "logits", None)
    if isinstance(named, Tensor):
        return named
    for _, tensor in tensors_in(output):
        if tensor.is_floating_point() and tensor.dim() > 0:
            return tensor
    raise Unavailable("the model's output has no tensor of real numbers")


def single_call(call: Call) -> None:
    """Raise where the loss has not called the model exactly once.

    Raises:
        Unavailable: It has not.
    """
    if call.count != 1:
        raise Unavailable(f"the loss must call the model itself exactly once, not {call.count} times")


@dataclass(frozen=True)
class Output:
    """What the network says about some examples.

    Attributes:
        logits: [b, C], one row for each example or unmasked token; predictions [b, *] without labels.
        labels: True classes, [b]; None where there are none.
        inputs: First real-valued input of the model, [b, *]; None where there is none.
        per_row: Whether a row is one example (its input then belongs to it).
    """

    logits: Tensor
    labels: Tensor | None
    inputs: Tensor | None
    per_row: bool


def labels_in(subject: Subject, batch: Any, logits: Tensor) -> Tensor | None:
    """Class labels that belong to the logits, of shape ``logits.shape[:-1]``; None where there are none."""
    if subject.labels is not None:
        return subject.labels(batch)
    key = label_key(batch)
    found = batch[key] if key is not None else token_labels(batch)
    fits = found is not None and logits.dim() >= 2 and found.shape == logits.shape[:-1]
    return found if fits else None


def outputs(subject: Subject) -> Iterator[Output]:
    """Logits with labels, batch by batch, without gradients. Cost: one forward pass.

    Raises:
        Unavailable: The loss does not call the model exactly once.
    """
    _, count = totals(subject)
    for batch in subject.batches:
        with torch.no_grad(), captured(subject.model) as call:
            subject.loss(subject.model, batch)
        single_call(call)
        logits = logits_in(call.output).detach()
        labels = labels_in(subject, batch, logits)
        subject.meter.forwards += examples(batch) / count
        yield rows_of(logits, labels, call.inputs[0].detach() if call.inputs else None)


def rows_of(logits: Tensor, labels: Tensor | None, inputs: Tensor | None) -> Output:
    """Logits and labels flattened to one row for each example or unmasked token."""
    if labels is None or logits.dim() == 2:
        return Output(logits, labels, inputs, True)
    kept = labels != IGNORED
    return Output(logits[kept], labels[kept], inputs, False)
