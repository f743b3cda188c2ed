"""Gradients example by example, streamed: vectorised where vmap can, else one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from algobias.lazy import torch
from algobias.probes.passes.losses import checked, flatten, require_graph, totals
from algobias.probes.passes.ways import backward_gradients, ways
from algobias.probes.passes.weighing import example, examples, weighing
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject
from algobias.trees import map_trees, tensors_in

if TYPE_CHECKING:
    from torch import Tensor

CHUNK_NUMBERS = 16_000_000
"""Per-example gradients are made at most so many numbers at a time (64 MB in float32)."""


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
    mapped = subject.memo.get("per_example_mapped", ways(subject).swapped is None)
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
        rows.append(flatten(backward_gradients(subject.model, loss, params), params))
        losses.append(loss.detach())
    return torch.stack(rows), torch.stack(losses)


def _mapped_gradients(subject: Subject, part: list[Any]) -> tuple[Tensor, Tensor]:
    from algobias.probes.passes.evaluated import Evaluated

    # Tensors travel as a flat list, so that any batch type can be mapped over.
    leaves = [[leaf for _, leaf in tensors_in(one)] for one in part]
    stacked = [torch.stack(column) for column in zip(*leaves, strict=True)]
    evaluated = Evaluated(subject.model, subject.loss)
    buffers = {f"model.{name}": b.detach() for name, b in subject.model.named_buffers()}

    def loss_of(params: dict[str, Tensor], *inputs: Tensor) -> Tensor:
        batch = _refill(part[0], iter(inputs))
        swapped = {f"model.{name}": p for name, p in params.items()} | buffers
        value: Tensor = torch.func.functional_call(evaluated, swapped, (batch,), tie_weights=True)
        return value

    params = {name: p.detach() for name, p in subject.trained.items()}
    in_dims = (None, *(0 for _ in stacked))
    # Fused attention has no batching rule for its backward pass on every machine; the plain one always has.
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        each = torch.func.vmap(torch.func.grad_and_value(loss_of), in_dims=in_dims, randomness="same")
        grads, losses = each(params, *stacked)
    flat = torch.cat([grads[name].reshape(len(part), -1) for name in params], 1)
    return flat.detach(), losses.detach()


def _refill(tree: Any, leaves: Iterator[Tensor]) -> Any:
    return map_trees(lambda _: next(leaves), tree)
