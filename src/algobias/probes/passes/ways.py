"""Which ways to a gradient are right in a network: on its graph, at swapped weights; against plain PyTorch.

``loss.backward()`` on the module is plain PyTorch. ``torch.autograd.grad`` cannot see behind a reentrant
activation checkpoint, and ``functional_call`` swaps only those weights that are reached through the module
tree: not those that a list, a closure or a hook holds. Both leave out what they cannot see in silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from algobias.lazy import torch
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject
from algobias.put_back.attributes import Attributes
from algobias.put_back.buffers import Buffers
from algobias.seeding.states import GlobalStates

if TYPE_CHECKING:
    from torch import Tensor, nn

AGREEMENT = 1e-3
"""Relative error up to which two gradients are the same, in float32."""


@dataclass(frozen=True)
class Ways:
    """What is wrong with each way to a gradient; None where it is right.

    Attributes:
        graph: ``torch.autograd.grad`` on the module's own graph.
        swapped: Weights swapped by ``functional_call``.
    """

    graph: str | None = None
    swapped: str | None = None


def at_swapped(subject: Subject, params: Mapping[str, Tensor], call: Callable[[], Any]) -> Any:
    """What ``call`` returns while some parameters are replaced; the model is not written to.

    Buffers that a forward pass in train mode would update are copies. A gradient taken inside of ``call``
    also reaches what is computed anew on the way back (activation checkpoints).

    Args:
        subject: The subject.
        params: Tensors for (some) parameters by name.
        call: Uses ``subject.model``.
    """
    swapped = {f"model.{name}": tensor for name, tensor in params.items()}
    swapped |= {f"model.{name}": b.detach().clone() for name, b in subject.model.named_buffers()}
    from algobias.probes.passes.evaluated import Evaluated

    evaluated = Evaluated(subject.model, lambda model, batch: call())
    return torch.func.functional_call(evaluated, swapped, (None,), tie_weights=True)


def backward_gradients(model: nn.Module, loss: Tensor, params: Sequence[Tensor]) -> list[Tensor]:
    """Gradients by ``loss.backward()``, zero where a parameter is unused; every ``grad`` is as it was after.

    Args:
        model: The model; its own parameters may get gradients on the way.
        loss: A scalar with a graph.
        params: Leaves.
    """
    leaves = {id(p): p for p in (*model.parameters(), *params) if p.is_leaf}
    kept = [(p, p.grad) for p in leaves.values()]
    for p, _ in kept:
        p.grad = None
    try:
        loss.backward()  # type: ignore[no-untyped-call]
        found = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
    finally:
        for p, grad in kept:
            p.grad = grad
    return [grad.to_dense() if grad.is_sparse else grad for grad in found]


def ways(subject: Subject) -> Ways:
    """Compare gradients of the first batch, once for each measurement. Cost: three gradients of that batch.

    Where plain PyTorch gives no finite gradient there is nothing to compare with, and nothing is said.
    """
    found: Ways = subject.shared("ways", lambda: _compared(subject))
    return found


def require_swapping(subject: Subject) -> None:
    """Raise where weights cannot be swapped; before calls of the model are watched, since it makes some.

    Raises:
        Unavailable: With the size of the error and the usual causes.
    """
    why = ways(subject).swapped
    if why is not None:
        raise Unavailable(why)


def require_whole_graph(subject: Subject) -> None:
    """Raise where a part of the gradient is not in the graph of the loss.

    Raises:
        Unavailable: With the size of the error and the usual cause.
    """
    why = ways(subject).graph
    if why is not None:
        raise Unavailable(why)


def _compared(subject: Subject) -> Ways:
    batch = next(iter(subject.batches), None)
    params, model = subject.trained, subject.model
    leaves = list(params.values())
    again = _same_start(model)

    def loss() -> Tensor:
        return subject.loss(model, batch)

    def plain() -> list[Tensor]:
        with again():
            return backward_gradients(model, loss(), leaves)

    def graph() -> list[Tensor]:
        with again():
            grads = torch.autograd.grad(loss(), leaves, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for g, p in zip(grads, leaves, strict=True)]

    def swapped() -> list[Tensor]:
        others = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
        with again():
            found: list[Tensor] = at_swapped(
                subject, others, lambda: backward_gradients(model, loss(), list(others.values()))
            )
        return found

    with torch.enable_grad():
        try:
            right = plain()
        except Exception:  # a probe that needs gradients will meet it, and say so
            return Ways()
        if not math.isfinite(_size(right)):
            return Ways()
        return Ways(
            _wrong(
                graph,
                right,
                "a part of its gradient is not in the graph of the loss (reentrant activation checkpointing: "
                "use_reentrant=False keeps it)",
            ),
            _wrong(
                swapped,
                right,
                "weights cannot be swapped in this model (usual causes: a parameter kept in a list, a "
                "closure or a hook besides its module)",
            ),
        )


def _same_start(model: nn.Module) -> Callable[[], AbstractContextManager[None]]:
    """Contexts that begin with buffers, attributes and random states of this moment, and put them back."""
    buffers, attributes = Buffers(model), Attributes(model.named_modules())
    states = GlobalStates.now()

    @contextmanager
    def again() -> Iterator[None]:
        try:
            yield
        finally:
            buffers.put_back()
            attributes.put_back()
            states.put_back()

    return again


def _wrong(way: Callable[[], Sequence[Tensor]], right: Sequence[Tensor], why: str) -> str | None:
    try:
        found = way()
    except Exception as error:  # whatever a user's model may raise: this way is none
        text = str(error).splitlines()
        return f"{why}: {text[0] if text else type(error).__name__}"
    error_size = _size(one.detach() - other for one, other in zip(found, right, strict=True))
    size = _size(right)
    if error_size <= max(AGREEMENT, 16 * torch.finfo(right[0].dtype).eps) * size:
        return None
    off = f"{error_size / size:.2g} (relative)" if size else f"{error_size:.2g}"
    return f"{why}: the gradient would be off by {off}"


def _size(tensors: Iterable[Tensor]) -> float:
    """Norm of all of them together, in double precision, one at a time."""
    squares = 0.0
    for tensor in tensors:
        kind = torch.complex128 if tensor.is_complex() else torch.float64
        squares += float(torch.linalg.vector_norm(tensor.detach(), dtype=kind)) ** 2
    return math.sqrt(squares)
