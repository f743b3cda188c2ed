"""How often a network uses each of its weights on the way from input to output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from algobias.lazy import torch
from algobias.probes.passes.calls import captured, logits_in, single_call
from algobias.probes.passes.losses import loss_at, totals
from algobias.probes.passes.trials import examples, few
from algobias.probes.passes.ways import require_swapping
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject

if TYPE_CHECKING:
    from torch import nn

VIEWS = (
    "TBackward",
    "TransposeBackward",
    "PermuteBackward",
    "ViewBackward",
    "UnsafeViewBackward",
    "ReshapeAliasBackward",
    "UnsqueezeBackward",
    "SqueezeBackward",
    "ExpandBackward",
    "AliasBackward",
    "ToCopyBackward",
    "CloneBackward",
)
"""Steps of the graph that hand a weight on as it is."""


def uses(subject: Subject) -> dict[str, int]:
    """How often the output is computed with each parameter, frozen ones included, tied ones once by name.

    Counted in the graph of the model's output on two examples: a weight that two layers share, one layer
    that is called twice, and a weight used by hand all count as often as they are used. The matrices of a
    recurrent layer of torch count once for each call of the layer, whatever the length of the sequence. Cost:
    one forward pass of two examples, with its graph; once for each measurement.

    Raises:
        Unavailable: Weights are computed from other parameters (weight or spectral normalisation), a part of
            the graph is hidden (reentrant checkpointing), or the loss does not call the model once.
    """
    found: dict[str, int] = subject.shared("uses", lambda: _uses(subject))
    return found


def _uses(subject: Subject) -> dict[str, int]:
    _plain_weights(subject.model)
    batch = few(next(iter(subject.batches)), 2)
    named = subject.model.named_parameters()
    params = {name: p.detach().clone().requires_grad_() for name, p in named if p.is_floating_point()}
    require_swapping(subject)  # asks the loss a few times: not while its calls are counted
    with captured(subject.model) as call, _recurrent(subject.model) as calls:
        loss_at(subject, params, batch)
    single_call(call)
    subject.meter.forwards += examples(batch) / totals(subject)[1]
    root = logits_in(call.output).grad_fn
    if root is None:
        raise Unavailable("the output of the model has no graph: how often it uses its weights is not known")
    counts = _leaves(root)
    return {name: calls.get(name, counts.get(id(leaf), 0)) for name, leaf in params.items()}


def _leaves(root: Any) -> dict[int, int]:
    """By leaf, how many steps of the graph use it, views looked through."""
    edges: dict[Any, Counter[Any]] = {}
    order, waiting = [], [root]
    seen = {root}
    while waiting:
        node = waiting.pop()
        order.append(node)
        if "CheckpointFunction" in node.name():
            raise Unavailable("reentrant checkpointing hides the use of weights: set use_reentrant=False")
        for child, _ in node.next_functions:
            if child is None:
                continue
            edges.setdefault(child, Counter())[node] += 1
            if child not in seen:
                seen.add(child)
                waiting.append(child)
    known: dict[Any, int] = {}

    def count(node: Any) -> int:
        if node not in known:
            parents = edges.get(node, Counter()).items()
            known[node] = sum(n * (count(parent) if _is_view(parent) else 1) for parent, n in parents)
        return known[node]

    return {id(node.variable): count(node) for node in order if hasattr(node, "variable")}


def _is_view(node: Any) -> bool:
    return str(node.name()).rstrip("0123456789") in VIEWS


def _plain_weights(model: nn.Module) -> None:
    for name, module in model.named_modules():
        hooks = (type(hook).__name__ for hook in module._forward_pre_hooks.values())
        by_hook = any(kind in ("WeightNorm", "SpectralNorm") for kind in hooks)
        if by_hook or torch.nn.utils.parametrize.is_parametrized(module):
            raise Unavailable(
                f"weights of {name or 'the model'} are computed from other parameters (weight or spectral "
                "normalisation): the product of the norms of those says nothing"
            )


@contextmanager
def _recurrent(model: nn.Module) -> Iterator[Counter[str]]:
    """How often the layer of each parameter of a recurrent layer is called."""
    calls: Counter[str] = Counter()
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.RNNBase):
            names = [f"{name}.{own}" if name else own for own, _ in module.named_parameters()]
            handles.append(module.register_forward_hook(lambda *_, names=names: calls.update(names)))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
