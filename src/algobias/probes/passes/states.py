"""The loss at other weights and buffers: of another run, between two runs, in double precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from algobias.lazy import no_grad, torch
from algobias.probes.passes.losses import checked, weighed
from algobias.probes.passes.ways import require_swapping
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

State = dict[str, "Tensor"]


def own_state(subject: Subject) -> State:
    """Parameters (tied ones once) and buffers of the model by name; no copy."""
    state = {name: p.detach() for name, p in subject.model.named_parameters()}
    return state | {name: b.detach() for name, b in subject.model.named_buffers()}


def other_state(subject: Subject, weights: Mapping[str, Tensor]) -> tuple[State, tuple[str, ...]]:
    """Another run's parameters and buffers, and what to mind: buffers it lacks are the model's own.

    Raises:
        Unavailable: A trained parameter is missing, or a shape differs.
    """
    aliases: dict[int, list[str]] = {}
    for name, p in subject.model.named_parameters(remove_duplicate=False):
        aliases.setdefault(id(p), []).append(name)
    trained = {name: p for name, p in subject.model.named_parameters() if p.requires_grad}
    state, lacking = own_state(subject), []
    for name, mine in state.items():
        names = aliases[id(trained[name])] if name in trained else [name]
        given = next((weights[one] for one in names if one in weights), None)
        if given is None and name in trained:
            raise Unavailable(f"the weights of the other run do not fit the model: {name} is missing")
        if given is None:
            lacking.append(name)
            continue
        if given.shape != mine.shape:
            raise Unavailable(f"the weights of the other run do not fit the model: {name} has another shape")
        state[name] = given.detach().to(mine.device, mine.dtype)
    told = f"the other run lacks {', '.join(lacking[:3])}: this model's own are used" if lacking else ""
    return state, (told,) if told else ()


def loss_with(subject: Subject, state: Mapping[str, Tensor], batch: Any) -> Tensor:
    """Loss of one batch with other parameters and buffers; the model is not written to.

    Raises:
        Unavailable: Weights cannot be swapped in this model.
    """
    from algobias.probes.passes.evaluated import Evaluated

    require_swapping(subject)
    buffers = {name for name, _ in subject.model.named_buffers()}
    swapped = {f"model.{name}": t.clone() if name in buffers else t for name, t in state.items()}
    value: Tensor = torch.func.functional_call(
        Evaluated(subject.model, subject.loss), swapped, (batch,), tie_weights=True
    )
    return value


@no_grad
def mean_loss_with(subject: Subject, state: Mapping[str, Tensor]) -> float:
    """Loss of all examples with other parameters and buffers. Cost: one forward pass.

    Raises:
        Unavailable: It is not finite.
    """
    total = 0.0
    for batch, factor, share in weighed(subject):
        total += factor * float(checked(loss_with(subject, state, batch)))
        subject.meter.forwards += share
    return total
