"""The two ways in which a network's module takes on the weights of a run: copied into it, or stacked.

``Looped`` is plain PyTorch: weights and buffers are copied into the module, and the gradient is that of
``loss.backward()``. It is exact however a module reaches its weights: through activation checkpoints, lists,
hooks or closures. ``Stacked`` calls the module as a pure function of its weights
(``torch.func.functional_call``) and maps it over runs; it is right only where weights are reached through the
module tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from algobias.errors import BadInput, Unfit
from algobias.levers.step import Batch, Key, Layout, State, stream_of
from algobias.put_back.attributes import Attributes
from algobias.seeding.states import reseed, seeded
from algobias.training.engine.alone import Alone, shapes_of, twice, twins_of
from algobias.training.engine.weighting import weighted
from algobias.trees import map_trees

Function = Callable[[nn.Module, Batch], Any]
Tensors = dict[str, Tensor]


class Engine(Protocol):
    """Gradient and evaluation of a module at given states."""

    def gradient(self, state: State, batch: Batch, rows: Tensor | None, key: Key) -> tuple[Tensor, State]:
        """Gradient of the batch loss in train mode, [..., P], and the state with the buffers left behind."""
        ...

    def evaluate(self, function: Function, state: State, batch: Batch) -> Any:
        """``function(module, batch)`` at a state, in the modes the module is in."""
        ...

    def reading(self) -> AbstractContextManager[None]:
        """What evaluations are wrapped in."""
        ...

    def counted(self) -> AbstractContextManager[None]:
        """What calls are wrapped in whose operations and bytes are counted as those of one run."""
        ...


class Looped:
    """One run at a time, in the module itself.

    Every call sets parameters, buffers and what attributes hold, so that its result is a function of the
    state and the key alone; what lies in global lists, such as a log, is the user's. Memory: the module, and
    the gradients during a call.

    Args:
        model: The module; its parameters and buffers are written to.
        loss: ``loss(model, batch)``, a scalar.
        layout: Of its trained parameters.
    """

    def __init__(self, model: nn.Module, loss: Function, layout: Layout) -> None:
        self.model, self.loss = model, loss
        named = dict(model.named_parameters())
        self._trained = {name: named[name] for name in layout.names}
        fixed = [(name, p) for name, p in named.items() if name not in self._trained]
        self._buffers = {name: _Place(model, name, tensor) for name, tensor in fixed}
        self._buffers |= {name: _Place(model, name, b) for name, b in model.named_buffers()}
        self.attributes = Attributes(model.named_modules(), beyond=False)

    @torch.no_grad()
    def put(self, state: State) -> None:
        """Copy the weights and buffers of a single run into the module."""
        for parameter, value in zip(
            self._trained.values(), state.layout.views(state.params).values(), strict=True
        ):
            parameter.copy_(value)
        for name, value in state.buffers.items():
            self._buffers[name].write(value)
        self.attributes.put_back()

    def gradient(self, state: State, batch: Batch, rows: Tensor | None, key: Key) -> tuple[Tensor, State]:
        """Gradient of the batch loss, [P], as ``loss.backward()`` gives it.

        The global random states are set: call it inside :func:`~algobias.seeding.states.own_randomness`.

        Raises:
            BadInput: The loss is no scalar or depends on no parameter, or the forward pass writes to a
                parameter.
        """
        self.put(state)
        self.model.train()
        versions = [parameter._version for parameter in self._trained.values()]
        reseed(key.seeds[0], stream_of(key), key.update)
        with weighted(self.model, rows):
            loss = self.loss(self.model, batch)
        if loss.dim() != 0:
            raise not_scalar(loss.shape)
        for (name, parameter), version in zip(self._trained.items(), versions, strict=True):
            if parameter._version != version:
                raise Unfit(
                    "model",
                    f"{name} is written to by the forward pass",
                    "parameters that only updates change (an embedding with max_norm, for one, rewrites its "
                    "own: normalise what comes out of it instead)",
                )
        if not loss.requires_grad:
            raise unconnected()
        for parameter in self._trained.values():
            parameter.grad = None
        loss.backward()
        grads = []
        for parameter in self._trained.values():
            grad, parameter.grad = parameter.grad, None
            grad = torch.zeros_like(parameter) if grad is None else grad
            grads.append(grad.to_dense() if grad.is_sparse else grad)
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        return flat, State(state.params, self.buffers(state), state.layout)

    def buffers(self, state: State) -> dict[str, Tensor]:
        """Copies of the module's buffers as they are now, under the names of a state's."""
        return {name: self._buffers[name].read() for name in state.buffers}

    def evaluate(self, function: Function, state: State, batch: Batch) -> Any:
        """``function(module, batch)`` at a state; what it does to buffers is dropped."""
        self.put(state)
        return function(self.model, batch)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Make what a forward pass may draw in evaluation the same in every evaluation."""
        with seeded(0, "evaluation", 0):
            yield

    def counted(self) -> AbstractContextManager[None]:
        """Nothing: a run is by itself."""
        return nullcontext()


class _Place:
    """Where a buffer (or a parameter that is not trained) lies in the module."""

    def __init__(self, model: nn.Module, name: str, tensor: Tensor) -> None:
        prefix, _, self._key = name.rpartition(".")
        self._owner, self._tensor = model.get_submodule(prefix), tensor

    def write(self, value: Tensor) -> None:
        """Give it a value, in the tensor the module began with: a forward pass may have put in another."""
        if getattr(self._owner, self._key) is not self._tensor:
            setattr(self._owner, self._key, self._tensor)
        self._tensor.copy_(value)

    def read(self) -> Tensor:
        """A copy of its value."""
        found: Tensor = getattr(self._owner, self._key).detach().clone()
        return found


class _Call(nn.Module):
    """Holds the model under one name, so that functional_call can swap its weights around any function."""

    def __init__(self, model: nn.Module, function: Function) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, batch: Batch) -> Any:
        return self.function(self.model, batch)


class Stacked:
    """All runs in one call: a pure function of the weights, mapped over runs.

    Runs do not touch each other: the gradient of the summed losses with respect to one run's parameters is
    that run's gradient. A run alone is computed as the first of two where that gives other bits: products of
    a single matrix are rounded in another order than those of a stack. Memory: weights, gradients and
    activations of all runs at once.

    Args:
        model: The module; it is not written to.
        loss: ``loss(model, batch)``, a scalar.
    """

    def __init__(self, model: nn.Module, loss: Function) -> None:
        self.model, self.loss = model, loss
        self._calls: dict[Function, _Call] = {}
        self._alone = Alone()

    def gradient(self, state: State, batch: Batch, rows: Tensor | None, key: Key) -> tuple[Tensor, State]:
        """Gradient of each run's batch loss, [S, P]; buffers stay as they are.

        Raises:
            BadInput: The loss is no scalar or depends on no parameter.
        """

        def at(state: State, batch: Batch, rows: Tensor | None) -> Tensor:
            return self._gradient(state, batch, rows)

        if len(state.params) > 1:
            return at(state, batch, rows), state
        twins = twins_of(state), map_trees(twice, batch), None if rows is None else twice(rows)
        shapes = "gradient", rows is None, *shapes_of(batch)
        return self._alone(shapes, state, lambda: at(state, batch, rows), lambda: at(*twins)), state

    def _gradient(self, state: State, batch: Batch, rows: Tensor | None) -> Tensor:
        leaves = {
            name: view.detach().requires_grad_() for name, view in state.layout.views(state.params).items()
        }
        self.model.train()

        def loss_of(params: Tensors, buffers: Tensors, batch: Batch, rows: Tensor | None) -> Tensor:
            call = _Call(self.model, self.loss)
            with weighted(self.model, rows):
                found: Tensor = functional_call(call, _prefixed(params, buffers), (batch,))
            return found

        loss = vmap(loss_of, in_dims=(0, 0, 0, None if rows is None else 0))(
            leaves, state.buffers, batch, rows
        )
        if loss.dim() != 1:
            raise not_scalar(loss.shape[1:])
        if not loss.requires_grad:
            raise unconnected()
        grads = torch.autograd.grad(
            loss.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True
        )
        return torch.cat([grad.reshape(len(grad), -1) for grad in grads], -1)

    def evaluate(self, function: Function, state: State, batch: Batch) -> Any:
        """``function(module, batch)`` at the state of every run, on the same batch."""
        if len(state.params) > 1:
            return self._evaluate(function, state, batch)
        shapes = function, *shapes_of(batch)
        return self._alone(
            shapes,
            state,
            lambda: self._evaluate(function, state, batch),
            lambda: self._evaluate(function, twins_of(state), batch),
        )

    def _evaluate(self, function: Function, state: State, batch: Batch) -> Any:
        call = self._calls.setdefault(function, _Call(self.model, function))

        def at(params: Tensors, buffers: Tensors, batch: Batch) -> Any:
            return functional_call(call, _prefixed(params, buffers), (batch,))

        return vmap(at, in_dims=(0, 0, None))(state.layout.views(state.params), state.buffers, batch)

    def counted(self) -> AbstractContextManager[None]:
        """A run alone is computed as one."""
        return self._alone.counted()

    def reading(self) -> AbstractContextManager[None]:
        """Nothing: a network whose forward pass draws random numbers is not stacked."""
        return nullcontext()


def not_scalar(shape: torch.Size) -> BadInput:
    """The complaint about a loss that is not one number."""
    return BadInput("loss", tuple(shape), "a scalar: the mean over the batch")


def unconnected() -> BadInput:
    """The complaint about a loss without a way back to any parameter."""
    return Unfit(
        "gradient of the loss",
        "no parameter changes it",
        "a loss that is computed with the model it is given, and depends on its trained parameters",
    )


def _prefixed(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"model.{name}": tensor for part in (params, buffers) for name, tensor in part.items()}
