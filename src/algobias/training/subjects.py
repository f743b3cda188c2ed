"""From a task, a recipe and weights to what probes measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from algobias.errors import BadInput, unknown_name
from algobias.levers.learning_rate import rate
from algobias.levers.model.sparsity import as_used
from algobias.levers.parallel.delay import Delay
from algobias.levers.registry import build_part
from algobias.probes.subject import Subject, Training
from algobias.recipe import Recipe
from algobias.tasks.labels import stratified
from algobias.tasks.task import Task
from algobias.training.checkpoints import load_into
from algobias.training.engine.network import Network

MEASURED_BATCH = 500
"""Examples of a batch; readings do not depend on it beyond rounding."""

MEASURED_SEED = 20_003

WRAPPERS = ("_orig_mod.", "module.", "_orig_mod.")
"""What ``torch.compile`` and data-parallel wrappers put before every name, in either order."""


def subject_of(
    task: Task,
    recipe: Recipe,
    weights: Mapping[str, Tensor],
    *,
    seed: int | None = None,
    history: Sequence[tuple[int, Mapping[str, Tensor]]] = (),
    updates: int | None = None,
    device: str = "cpu",
    examples: int | Literal["all"] | None = None,
    part: str = "train",
    initial: Mapping[str, Tensor] | None = None,
    other: Mapping[str, Tensor] | None = None,
    where: str = "",
) -> Subject:
    """A task's network with the given weights, as probes see it.

    The model is the recipe's, its parts' surgery included, in evaluation mode; the loss is the task's own.
    Cost: one or two networks are built; no pass over the data.

    Args:
        task: Data, loss, model.
        recipe: Of the run the weights come from.
        weights: Parameters and buffers by name.
        seed: Of that run: ``initial`` is then its untrained network.
        history: Earlier weights of the same run, (update, weights), in order.
        updates: Updates made; the learning rate of a schedule is that of the last of them.
        device: Where to measure.
        examples: How many examples: None: those on which fit is measured (all of ``test``); ``all``; or a
            number: a fixed random subset, stratified over classes where they are known.
        part: ``train``, ``test`` or ``validation``.
        initial: Untrained weights, where the seed cannot give them.
        other: Weights of another run of the same network.
        where: Where the weights come from, for messages.

    Raises:
        BadInput: The weights do not fit the network; no such part; no such number of examples.
    """
    index = measured_index(task, recipe, examples, part)
    batches = list(task.sources()[part].to(device).batches(MEASURED_BATCH, index))
    # Nothing is stacked here, and to find out whether it could be would cost two networks.
    looped = recipe.edit(engine="looped")
    parts = [build_part(spec) for spec in recipe.parts]
    network = Network(task, looped, parts, torch.device(device))
    model = network.template
    weights = as_used(weights)
    if initial is not None:
        initial = _fitted(model, as_used(initial), "initial")
    elif seed is not None:
        state = network.initial(seed)
        initial = as_used({**state.layout.views(state.params), **state.buffers})
    if other is not None:
        other = _fitted(model, as_used(other), "other")
    put_into(model, weights, where or "weights")
    weight = task.weight
    return Subject(
        model,
        batches,
        task.loss,
        weigh=None if weight is None else lambda batch: float(weight(batch).sum()),
        reduction=None if weight is None else "mean",
        training=training_of(task, recipe, updates),
        initial=initial,
        history=tuple((made, as_used(earlier)) for made, earlier in history),
        updates=updates,
        other=other,
    )


def training_of(task: Task, recipe: Recipe, updates: int | None = None) -> Training:
    """How the network is trained, as far as stability depends on it.

    Args:
        task: The task.
        recipe: The recipe.
        updates: Updates made: the learning rate is that of the last of them (of the last planned one
            beyond the planned end); the full learning rate without it.
    """
    optimizer = recipe.optimizer
    lr = optimizer.lr
    if updates is not None:
        before = 0 if recipe.origin is None else recipe.origin.updates
        lr = rate(recipe)(max(0, min(updates, recipe.planned_end) - before - 1))
    late = next((part for spec in recipe.parts if isinstance(part := build_part(spec), Delay)), None)
    shifted = late is not None and late.momentum == "shifted"
    return Training(
        lr=lr,
        name=optimizer.name,
        momentum=(late.shift or 0.0) if late is not None and shifted else optimizer.momentum,
        delay=0 if late is None else late.tau,
        shifted=shifted,
        random=late is not None and late.kind == "random",
        nesterov=optimizer.nesterov,
        beta1=optimizer.beta1,
        beta2=optimizer.beta2,
        eps=optimizer.eps,
        weight_decay=optimizer.weight_decay,
        batch=recipe.batch,
        examples=recipe.used_examples,
    )


def measured_index(task: Task, recipe: Recipe, examples: int | Literal["all"] | None, part: str) -> Tensor:
    """Which examples of ``part`` are read, sorted.

    Args:
        task: The task.
        recipe: Says which training examples are in use.
        examples: See :func:`subject_of`.
        part: ``train``, ``test`` or ``validation``.

    Raises:
        BadInput: No such part, or no such number of examples.
    """
    if part not in task.sources():
        raise unknown_name("part", part, task.sources())
    source = task.sources()[part]
    index = task.used_index(recipe.data) if part == "train" else torch.arange(len(source))
    if examples == "all":
        return index
    if examples is None:
        return task.fit_index(index) if part == "train" else index
    if not isinstance(examples, int) or not 1 <= examples <= len(index):
        raise BadInput("examples", examples, f"all, or a number from 1 to {len(index)}")
    labels = task.all_labels(part)
    return stratified(index, None if labels is None else labels[index], examples, MEASURED_SEED)


def _fitted(model: nn.Module, weights: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The weights under the network's own names, on its device; the network holds them afterwards."""
    put_into(model, weights, where)
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor.detach().clone() for name, tensor in named.items()}


def put_into(model: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Put weights into a network; nothing is changed where they do not fit.

    Weights that the loop has kept fit as well as a state dict: a tied parameter may be there under one of
    its names only, and buffers that a state dict leaves out may be there or not.

    Args:
        model: The network.
        weights: Parameters and buffers by name.
        where: Where they come from, for messages.

    Raises:
        BadInput: A name is missing or unknown, or a shape differs.
    """
    own = model.state_dict()
    given = _unwrapped(weights, own)
    for names in _tied(model):
        known = next((name for name in names if name in given), None)
        if known is not None:
            given |= {name: given[known] for name in names if name in own and name not in given}
    extra = {name: b for name, b in model.named_buffers() if name not in own and name in given}
    load_into(model, {name: tensor for name, tensor in given.items() if name not in extra}, Path(where))
    with torch.no_grad():
        for name, buffer in extra.items():
            if given[name].shape != buffer.shape:
                raise BadInput(
                    f"checkpoint {where}",
                    f"{name} of shape {tuple(given[name].shape)}",
                    f"shape {tuple(buffer.shape)}, as in this model",
                )
            buffer.copy_(given[name])


def _unwrapped(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without what data-parallel or compiled wrappers put before all of them."""
    for prefix in WRAPPERS:
        if (
            weights
            and all(n.startswith(prefix) for n in weights)
            and not any(n.startswith(prefix) for n in own)
        ):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return dict(weights)


def _tied(model: nn.Module) -> list[list[str]]:
    """Names of each parameter that has several."""
    names: dict[int, list[str]] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(p), []).append(name)
    return [group for group in names.values() if len(group) > 1]
