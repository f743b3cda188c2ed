"""Optimizers around optimizers: what they all share, so that each is used as any optimizer is."""

from __future__ import annotations

import contextlib
import inspect
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.amp.grad_scaler import OptState
from torch.optim.optimizer import StateDict

from algobias.components.given import check_optimizer
from algobias.errors import BadInput

Closure = Callable[[], "Tensor | float | None"]


class Wrapper(torch.optim.Optimizer):
    """An optimizer around an optimizer, which remembers tensors of the shapes of the parameters.

    Groups, state, defaults and hooks are those of the optimizer inside. Learning rate schedulers take the
    wrapper or the optimizer inside. A gradient scaler takes the wrapper, in ``unscale_`` as in ``step``:
    ``scaler.step(wrapper)``, or ``wrapper.step(scaler)``, which also sees where the optimizer inside was
    unscaled; ``scaler.step(wrapper.optimizer)`` would pass the wrapper by.

    Attributes:
        optimizer: The optimizer that is wrapped, which may be a wrapper too.

    Raises:
        BadInput: An optimizer that cannot step without a closure, such as LBFGS; SAM twice.
    """

    _repeats: ClassVar[bool] = False
    """Whether :meth:`_passes` calls the closure more than once; of such wrappers there is one at most."""

    # A fused optimizer inside takes scaled gradients; a wrapper works on what they stand for.
    _step_supports_amp_scaling = False

    def __init__(self, optimizer: torch.optim.Optimizer, slots: int = 0) -> None:
        # Not torch's own initialisation: everything that it makes belongs to the optimizer inside.
        check_optimizer("optimizer", optimizer)
        self.optimizer = optimizer
        self._past: deque[list[Tensor]] = deque(maxlen=slots)
        self._check_inside()

    def _check_inside(self) -> None:
        """Refuse optimizers with which a closure would do something else than a loop by hand."""
        for own in innermost(self):
            closure = inspect.signature(own.step).parameters.get("closure")
            if closure is not None and closure.default is inspect.Parameter.empty:
                allowed = "an optimizer that steps with the gradients there are, not one that needs a closure"
                raise BadInput("optimizer", type(own).__name__, allowed)
        repeating = [type(layer).__name__ for layer in layers(self) if layer._repeats]
        if len(repeating) > 1:
            raise BadInput("optimizer", ", ".join(repeating), f"a single {repeating[0]}")

    def __getattr__(self, name: str) -> object:
        if name == "optimizer":  # a copy that has no attributes yet
            raise AttributeError(name)
        return getattr(self.optimizer, name)

    def __getstate__(self) -> StateDict:
        # A scheduler puts a step of its own there, which refers to the object it was made for.
        return {name: value for name, value in self.__dict__.items() if name != "step"}

    def __setstate__(self, state: StateDict) -> None:
        # Torch's own would put hooks around this step too, which the optimizer inside calls already.
        self.__dict__.update(state)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.optimizer!r})"

    def inside(self) -> list[torch.optim.Optimizer]:
        """The optimizers that are wrapped."""
        return [self.optimizer]

    @property
    def param_groups(self) -> list[StateDict]:  # type: ignore[override]
        """Those of the optimizer inside."""
        return self.optimizer.param_groups

    @property
    def state(self) -> Mapping[Tensor, StateDict]:  # type: ignore[override]
        """What the optimizer inside remembers."""
        return self.optimizer.state

    def add_param_group(self, param_group: StateDict) -> None:
        """Give the optimizer inside more parameters; they count as new from then on."""
        self.optimizer.add_param_group(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients, or fill them with zeros."""
        self.optimizer.zero_grad(set_to_none)

    def step(  # type: ignore[override]
        self,
        closure: Closure | torch.amp.GradScaler | None = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> Tensor | float | None:
        """Update the weights with the gradients there are.

        Args:
            closure: Computes the gradients first, as with any optimizer; or, in its place, the scaler.
            scaler: The gradient scaler that scaled the loss, if any; ``scaler.update()`` is the caller's.
                Where a gradient is not finite the update is skipped and counts for nothing.

        Returns:
            What the closure returned; None without one.

        Raises:
            RuntimeError: A closure together with a scaler, as torch has it.
        """
        if isinstance(closure, torch.amp.GradScaler):
            closure, scaler = None, closure
        if scaler is not None and scaler.is_enabled():
            if closure is not None:
                raise RuntimeError("a closure cannot be used together with a gradient scaler")
            taken_over(scaler, self)
            return scaler.step(self)
        result = None if closure is None else self._evaluated(closure)
        with torch.no_grad():
            self._update()
        return result

    def _evaluated(
        self, closure: Closure, scaler: torch.amp.GradScaler | None = None
    ) -> Tensor | float | None:
        """Call a closure as a loop by hand does it: at the place, and as often, as any wrapper says."""
        chain = layers(self)
        # Places lie around all passes: old weights put in place later would undo a perturbation.
        with contextlib.ExitStack() as places:
            for layer in chain:
                places.enter_context(layer._place())
            return next((layer for layer in chain if layer._repeats), self)._passes(closure, scaler)

    def _place(self) -> contextlib.AbstractContextManager[None]:
        """Context in which the weights are those whose gradient this wrapper wants."""
        return contextlib.nullcontext()

    def _passes(self, closure: Closure, scaler: torch.amp.GradScaler | None) -> Tensor | float | None:
        """Call a closure as often as this wrapper needs, and return what it returned first."""
        with torch.enable_grad():
            return closure()

    def _update(self) -> None:
        """Step with the gradients there are, which no scaler scales any more."""
        raise NotImplementedError

    def _first(self, parameter: Tensor) -> Tensor:
        """What is remembered of a parameter before its first update."""
        raise NotImplementedError

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def _memory(self) -> deque[list[Tensor]]:
        """One list of tensors for each update that is remembered, for all parameters there are now.

        Nothing is kept before the first call: until then weights may be loaded, or moved elsewhere.
        """
        if not self._past.maxlen:
            return self._past
        parameters = self._parameters()
        known = len(self._past[0]) if self._past else 0
        if len(parameters) < known:
            raise RuntimeError(f"the optimizer had {known} parameters and has {len(parameters)} now")
        if len(parameters) > known:
            more = [self._first(parameter) for parameter in parameters[known:]]
            past: Iterable[list[Tensor]] = self._past or [[]] * self._past.maxlen
            self._past = deque([[*old, *more] for old in past], maxlen=self._past.maxlen)
        return self._past

    def _remembered(self) -> list[list[Tensor]]:
        if self._past:
            return [list(old) for old in self._past]
        return [[self._first(parameter) for parameter in self._parameters()]] * (self._past.maxlen or 0)

    def state_dict(self) -> StateDict:
        """Everything that is needed to go on exactly, besides the module's own state."""
        return {"optimizer": self.optimizer.state_dict(), "past": self._remembered()}

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            BadInput: The state of another delay, or of other parameters.
        """
        self._load(state_dict["past"])
        self.optimizer.load_state_dict(state_dict["optimizer"])

    def _load(self, past: list[list[Tensor]], field: str = "past") -> None:
        parameters = self._parameters()
        wanted = [tuple(parameter.shape) for parameter in parameters]
        for old in past:
            if (shapes := [tuple(tensor.shape) for tensor in old]) != wanted:
                raise BadInput(field, shapes, f"tensors of the shapes of the parameters, {wanted}")
        # Copies, where and as precise as they are kept: the state may have been read onto another device.
        first = [self._first(parameter) for parameter in parameters]
        kept = [
            [tensor.detach().to(like, copy=True) for tensor, like in zip(old, first, strict=True)]
            for old in past
        ]
        self._past = deque(kept, maxlen=self._past.maxlen)


def layers(optimizer: torch.optim.Optimizer) -> list[Wrapper]:
    """Every wrapper around the optimizers that update weights, from the outermost inwards."""
    if not isinstance(optimizer, Wrapper):
        return []
    return [optimizer, *(layer for part in optimizer.inside() for layer in layers(part))]


def innermost(optimizer: torch.optim.Optimizer) -> list[torch.optim.Optimizer]:
    """The optimizers that update weights, without what is wrapped around them."""
    if not isinstance(optimizer, Wrapper):
        return [optimizer]
    return [one for part in optimizer.inside() for one in innermost(part)]


def is_unscaled(scaler: torch.amp.GradScaler | None, optimizer: torch.optim.Optimizer) -> bool:
    """Whether a scaler has unscaled an optimizer's gradients since its last update, as before clipping."""
    if scaler is None or not scaler.is_enabled():
        return False
    # There is no public way to ask; unscale_ itself divides where it was not called before.
    state = scaler._per_optimizer_states.get(id(optimizer))
    return state is not None and state["stage"] is OptState.UNSCALED


def unscale_again(scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer) -> None:
    """Unscale gradients that came after those that a scaler has unscaled, before it steps."""
    scaler._per_optimizer_states.pop(id(optimizer), None)
    scaler.unscale_(optimizer)


def taken_over(scaler: torch.amp.GradScaler | None, optimizer: torch.optim.Optimizer) -> bool:
    """Tell a scaler what was unscaled inside a wrapper, so that it is not unscaled again.

    Returns:
        Whether the gradients of the optimizer are unscaled.
    """
    if scaler is None or not scaler.is_enabled():
        return False
    if is_unscaled(scaler, optimizer):
        return True
    if not isinstance(optimizer, Wrapper):
        return False
    inside = optimizer.inside()
    done = [taken_over(scaler, one) for one in inside]
    if not any(done):
        return False
    states, overflows = scaler._per_optimizer_states, dict[torch.device, Tensor]()
    for one, unscaled in zip(inside, done, strict=True):
        if not unscaled:
            scaler.unscale_(one)
        for device, overflow in states[id(one)]["found_inf_per_device"].items():
            overflows[device] = overflows.get(device, 0) + overflow
    states[id(optimizer)] = {"stage": OptState.UNSCALED, "found_inf_per_device": overflows}
    return True


def precise(dtype: torch.dtype) -> torch.dtype:
    """A type in which small increments are not lost: float32 for half precision, others as they are."""
    return torch.promote_types(dtype, torch.float32) if dtype.is_floating_point else dtype


def entries(grad: Tensor) -> Tensor:
    """The numbers a gradient is made of: its values where it is sparse, each index once."""
    return grad.coalesce().values() if grad.is_sparse else grad


def all_finite(grads: Iterable[Tensor]) -> bool:
    """Whether no gradient has an infinity or a NaN."""
    finite = [entries(grad).isfinite().all() for grad in grads]
    return not finite or bool(torch.stack([flag.to(finite[0].device) for flag in finite]).all())
