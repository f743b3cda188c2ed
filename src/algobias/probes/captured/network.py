"""Captured passes as what probes take: a network, batches, and a loss of a batch."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from algobias.attached.capture.graph import BackwardPass, Operation, Source, Weight
from algobias.attached.capture.replay import evaluated
from algobias.attached.fit.form import Arguments, Form, arguments_with, examples_in
from algobias.attached.fit.kept import FitSet, KeptPass
from algobias.probes.reading import Unavailable
from algobias.tasks.labels import LABEL_KEYS

SEVERAL_LOSSES = "a step has several losses, of which probes could read only one"
UNSEEN = "the weights that the loss is made with are not seen (a compiled function)"


class CapturedBatch(dict[str, Tensor]):
    """The data of a pass by name, one entry for each example; copies of it know the pass as well.

    Attributes:
        place: Number of the pass.
    """

    place: int = 0


class Parts(nn.Module):
    """What a script trains, where it calls several modules or uses parameters by themselves.

    Args:
        modules: The modules.
        loose: Parameters that are used outside of them.
    """

    def __init__(self, modules: list[nn.Module], loose: list[nn.Parameter]) -> None:
        super().__init__()
        self.parts, self.loose = nn.ModuleList(modules), nn.ParameterList(loose)


@dataclass(frozen=True)
class _Pass:
    """What a pass brings to the loss besides the data of its examples."""

    constants: Arguments
    fixed: dict[Source, Tensor]


class CapturedLoss:
    """The loss of a batch, by the operations that the script's own loss was made with, in evaluation mode.

    Args:
        form: Of the passes.
        model: What is trained.
        names: What data are called in batches.
        passes: What each pass has besides.
        factor: From the loss of a pass to that of a step.
    """

    def __init__(
        self,
        form: Form,
        model: nn.Module,
        names: Mapping[Source, str],
        passes: list[_Pass],
        factor: float,
    ) -> None:
        self._form, self._names, self._passes, self._factor = form, names, passes, factor
        self._model = model
        # Where each parameter lies: what is used by itself must be what has been swapped in there.
        self._places = {
            id(parameter): (path, name)
            for path, module in model.named_modules()
            for name, parameter in module._parameters.items()
            if parameter is not None
        }
        called = {module: path for path, module in model.named_modules()}
        operations = BackwardPass(form.roots, None).operations()
        self._calls = {
            operation: called[operation.module] for operation in operations if operation.module in called
        }

    def __call__(self, model: nn.Module, batch: CapturedBatch) -> Tensor:
        """Compute the loss; with gradients where they are recorded.

        Args:
            model: The network, whose weights may have been swapped, or a copy of it.
            batch: Some examples of a pass.
        """
        own = self._passes[batch.place]
        given = {source: batch[name] for source, name in self._names.items() if name in batch}
        parts = dict(model.named_modules(remove_duplicate=False))

        def weight(parameter: Tensor) -> Tensor:
            path, name = self._places.get(id(parameter), ("", ""))
            now = parts[path]._parameters[name] if name else None
            return parameter if now is None else now

        copied = {} if model is self._model else {op: parts[path] for op, path in self._calls.items()}
        roots = evaluated(
            self._form.roots,
            {**own.fixed, **given},
            own.constants,
            gradients=torch.is_grad_enabled(),
            weights=weight,
            instead=copied,
        )
        loss = torch.stack([root.sum() for root in roots]).sum()
        return loss if self._factor == 1 else self._factor * loss


@dataclass(frozen=True)
class Captured:
    """Captured passes as what probes take.

    Attributes:
        model: What is trained: the script's own module, or several of them under a common one.
        batches: The fit set.
        loss: The loss of a batch.
    """

    model: nn.Module
    batches: list[CapturedBatch]
    loss: CapturedLoss


def captured(fit_set: FitSet, forms: Mapping[str, Form], passes_of_a_step: float = 1) -> Captured:
    """Make of a fit set, and of the form of the run's own passes, what probes take.

    Args:
        fit_set: The data.
        forms: The form of passes by its key.
        passes_of_a_step: How many of the run's own passes add their gradients up: curvature is that of the
            loss that is stepped with.

    Raises:
        Unavailable: A step has several losses; no module of the loss is seen.
    """
    keys = dict.fromkeys(kept.form for kept in fit_set.passes)
    if len(keys) != 1:
        raise Unavailable(SEVERAL_LOSSES)
    form = forms[next(iter(keys))]
    operations = BackwardPass(form.roots, None).operations()
    model = network_of(operations)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise Unavailable(UNSEEN)
    names = names_of(form, operations)
    passes, batches = [], []
    for place, kept in enumerate(fit_set.passes):
        data = dict(zip(form.sources, _here(kept, form), strict=True))
        count = examples_in(kept.tensors)
        of_examples = {source: data[source] for source in data if data[source].ndim}
        of_examples = {source: t for source, t in of_examples.items() if len(t) == count}
        batch = CapturedBatch((names[source], tensor) for source, tensor in of_examples.items())
        batch.place = place
        batches.append(batch)
        fixed = {source: tensor for source, tensor in data.items() if source not in of_examples}
        passes.append(_Pass(arguments_with(form, kept.constants), fixed))
    factor = passes_of_a_step * form.factor
    return Captured(model, batches, CapturedLoss(form, model, names, passes, factor))


def _here(kept: KeptPass, form: Form) -> Iterator[Tensor]:
    """Data where the run's own lie."""
    for source, tensor in zip(form.sources, kept.tensors, strict=True):
        yield tensor.to(source.tensor.device)


def network_of(operations: list[Operation]) -> nn.Module:
    """Find what is trained: the only module that is called, or all of them and what is used besides.

    Args:
        operations: Of a pass.
    """
    called = dict.fromkeys(operation.module for operation in operations if operation.module is not None)
    trained = [module for module in called if any(p.requires_grad for p in module.parameters())]
    inner = {part for module in trained for part in module.modules() if part is not module}
    outer = [module for module in trained if module not in inner]
    own = {id(parameter) for module in outer for parameter in module.parameters()}
    used = (node for operation in operations for node in operation.inputs() if isinstance(node, Weight))
    loose = [node.tensor for node in used if id(node.tensor) not in own]
    parameters = {id(tensor): tensor for tensor in loose if isinstance(tensor, nn.Parameter)}
    return outer[0] if len(outer) == 1 and not loose else Parts(outer, list(parameters.values()))


def names_of(form: Form, operations: list[Operation]) -> dict[Source, str]:
    """Name data as modules call them, ``labels`` where the loss compares with them, or by number.

    Args:
        form: Of the passes.
        operations: Of the form.
    """
    names: dict[Source, str] = {}
    for operation in operations:
        for name, value in _named_arguments(operation):
            if isinstance(value, Source) and value not in names and name not in names.values():
                names[value] = name
    if not set(LABEL_KEYS) & set(names.values()):
        for root in form.roots:
            compared = _positional(root.operation)[1:2]
            for target in compared:
                if isinstance(target, Source) and not target.tensor.is_floating_point():
                    names.setdefault(target, "labels")
    return {source: names.get(source, f"data {place}") for place, source in enumerate(form.sources)}


def _named_arguments(operation: Operation) -> list[tuple[str, object]]:
    """Arguments of a module, by the names in its ``forward``."""
    if operation.module is None:
        return []
    try:
        known = list(inspect.signature(operation.module.forward).parameters.values())
    except (TypeError, ValueError):  # a forward that is no function of Python's
        known = []
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [parameter.name for parameter in known if parameter.kind in plain]
    return [*zip(names, _positional(operation), strict=False), *operation.arguments[1].items()]


def _positional(operation: Operation) -> list[object]:
    given: Any = operation.arguments[0]
    return list(given)
