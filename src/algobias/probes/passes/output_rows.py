"""Gauss-Newton matrices of single examples, as gradients of their outputs.

The curvature that example i adds to the loss, with the network linearised, is ``H_i = J_i' R_i J_i``: J_i the
Jacobian of its k outputs, R_i the second derivative of its loss in them. With ``R_i = S_i' S_i`` the rows of
``A_i = S_i J_i`` are all that is needed: ``H_i = A_i' A_i``, and ``mean_i H_i`` is the Gauss-Newton matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from algobias.lazy import torch
from algobias.probes.passes.calls import captured, logits_in, single_call
from algobias.probes.passes.losses import checked, flatten, totals
from algobias.probes.passes.ways import require_whole_graph
from algobias.probes.passes.weighing import example, examples, weighing
from algobias.probes.reading import Unavailable
from algobias.probes.subject import KEPT_BYTES, Subject
from algobias.trees import map_trees

if TYPE_CHECKING:
    from torch import Tensor

BENT = 1e-5
"""An eigenvalue of R_i below minus this share of the largest one makes the loss not convex in the outputs."""

COLUMNS = 2**20
"""Inner products are summed over so many parameters at a time, in double precision."""


def gram(subject: Subject, most: int) -> tuple[Tensor, int, int]:
    """Inner products of the rows of A_i of up to ``most / k`` examples, drawn at random from all.

    Examples are scaled such that the measured loss is their plain mean: by ``n w_i / sum w``.

    Cost: one gradient of each output of each example. Memory: the rows, 256 MB at most.

    Args:
        subject: Model, batches, loss.
        most: Rows at most.

    Returns:
        The Gram matrix, [m k, m k] (rows of one example next to each other); k; m, the examples used.

    Raises:
        Unavailable: Two examples have too many outputs for that; examples depend on each other; the loss is
            not convex in the outputs or not computed from them alone.
    """
    rule = weighing(subject)
    if rule.doubt is not None:
        raise Unavailable(f"the curvature of one example needs examples that stand alone: {rule.doubt}")
    weight, count = totals(subject)
    first = next(iter(subject.batches))
    k = curved(subject, example(first, 0))[0].numel()
    room = min(most, KEPT_BYTES // (subject.size * subject.dtype.itemsize)) // k
    used = min(count, room)
    if used < min(2, count):
        raise Unavailable(
            f"an example has {k} outputs and the network {subject.size} parameters: the rows of two examples "
            "do not fit; restrict it with parameters=, or measure batch_sharpness"
        )
    chosen = torch.randperm(count, generator=subject.generator("examples of the Gram matrix"))[:used]
    rows: list[Tensor] = []
    for one in _each(subject, set(chosen.tolist())):
        own = rule.weigh(one)
        if own == 0:  # every token masked: the mean over none is not a number
            rows.append(torch.zeros(k, subject.size, dtype=subject.dtype, device=subject.device))
            continue
        share = count * (own if rule.reduction == "mean" else 1.0) / weight
        rows.append(_rows(subject, one, k) * math.sqrt(share))
        subject.meter.gradients += k / count
    stacked = torch.cat(rows)
    found = torch.zeros(len(stacked), len(stacked), dtype=torch.float64, device=stacked.device)
    for columns in torch.split(stacked, COLUMNS, dim=1):
        wide = columns.double()
        found += wide @ wide.T
    return found.cpu(), k, used


def _each(subject: Subject, chosen: set[int]) -> Iterator[Any]:
    start = 0
    for batch in subject.batches:
        n = examples(batch)
        for i in range(n):
            if start + i in chosen:
                yield example(batch, i)
        start += n


def _rows(subject: Subject, one: Any, k: int) -> Tensor:
    """A_i, [k, P]."""
    params = list(subject.trained.values())
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        output, loss, leaf = curved(subject, one)
        if output.numel() != k:
            raise Unavailable("examples have different numbers of outputs")
        first = torch.autograd.grad(loss, leaf, create_graph=True)[0].reshape(-1)
        if not first.requires_grad:
            return torch.zeros(k, subject.size, dtype=subject.dtype, device=subject.device)
        second = torch.stack(
            [torch.autograd.grad(part, leaf, retain_graph=True)[0].reshape(-1) for part in first]
        ).double()
        values, vectors = torch.linalg.eigh((second + second.T) / 2)
        if float(values[0]) < -BENT * float(values.abs().max()):
            raise Unavailable(
                "the loss is not convex in the network's outputs: no mean-square threshold is known"
            )
        root = (vectors * values.clamp(min=0).sqrt()).T.to(output)
        found = [
            flatten(
                torch.autograd.grad(
                    output, params, row.view_as(output), retain_graph=True, allow_unused=True
                ),
                params,
            )
            for row in root
        ]
    return torch.stack(found).detach()


def curved(subject: Subject, one: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The network cut at its output: output (with its graph to the parameters), loss, leaf that the loss saw.

    Args:
        subject: Model and loss.
        one: A batch of one example.

    Raises:
        Unavailable: The loss does not use the model through its output alone, calling it once.
    """
    require_whole_graph(subject)
    leaves: list[Tensor] = []

    def cut(output: Any) -> Any:
        target = logits_in(output)
        leaf = target.detach().requires_grad_()
        leaves.append(leaf)
        return map_trees(lambda t: leaf if t is target else t, output)

    with captured(subject.model, replace=cut) as call:
        loss = checked(subject.loss(subject.model, one))
    single_call(call)
    output = logits_in(call.output)
    if not loss.requires_grad or not output.requires_grad:
        raise Unavailable(
            "the loss is not computed from the model's output (inside the model?): pass a loss that takes "
            "the model's logits"
        )
    params = list(subject.trained.values())
    beside = torch.autograd.grad(loss, params, retain_graph=True, allow_unused=True)
    if any(g is not None for g in beside):
        raise Unavailable("the loss depends on the parameters beside the model's output")
    return output, loss, leaves[0]
