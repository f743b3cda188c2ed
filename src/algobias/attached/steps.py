"""Steps of optimizers, counted from outside, and the moments around them."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from algobias.attached.listener import Listener

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Steps:
    """Count the steps of a run and tell listeners of the moments around them.

    A wrapper around an optimizer (Lookahead) is an optimizer too, whose step contains another: only the
    outermost step counts. The *main* optimizer is the first that stepped, and after it is gone the next one.

    Args:
        listeners: Told of every moment, in this order.

    Attributes:
        updates: Steps of the main optimizer; where there is none, updates by hand.
        own: The same, with those that were withheld.
        steps: Steps of all optimizers.
        skipped: Steps that a gradient scaler left out.
        lr: Learning rate of the main group at the last step of the main optimizer.
        fresh: Whether a backward pass has ended whose gradients nobody has used yet.
        clipped: Whether the script has clipped gradients by itself.
        entered: Steps that have begun, of wrapped optimizers too.
        after_step: Called after every step, when all listeners have been told of it, and after one that was
            withheld.
        after_update: Called after every step of the main optimizer, after that.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.listeners = listeners
        self.updates = self.own = self.steps = self.skipped = 0
        self.lr: float | None = None
        self.fresh = self.clipped = False
        self.after_step: Callable[[], None] = lambda: None
        self.after_update: Callable[[], None] = lambda: None
        self._main: weakref.ref[Optimizer] | None = None
        self._stack: list[tuple[int, CodeType]] = []
        self._withheld = False
        self.entered = 0

    def install(self) -> None:
        """Listen to all optimizers, there already or made later."""
        register_optimizer_step_pre_hook(self._before)
        register_optimizer_step_post_hook(self._after)

    def restart(self) -> None:
        """Count from 0: another training begins in this process."""
        self.updates = self.own = self.steps = self.skipped = 0
        self.lr = None
        self.fresh = self.clipped = False
        self._main = None

    def backward_begins(self, roots: Sequence[Tensor]) -> None:
        """A backward pass of the script's is about to begin, at these tensors."""
        for listener in self.listeners:
            listener.before_backward(roots)

    def backward_ended(self) -> None:
        """A backward pass of the script's has ended."""
        self.fresh = True
        for listener in self.listeners:
            listener.after_backward()

    def gradients_used(self, scale: float = 1.0) -> None:
        """Somebody is about to use the gradients: to clip, unscale or step. The first use tells listeners."""
        if not self.fresh:
            return
        self.fresh = False
        for listener in self.listeners:
            listener.gradients(scale)

    @contextmanager
    def scaled_step(self) -> Iterator[None]:
        """A step that a gradient scaler may leave out; put around it."""
        before = self.entered
        yield
        if self.entered == before:
            self.skipped += 1

    def _before(
        self, optimizer: Optimizer, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Arguments | None:
        wrapper = sys._getframe(1)
        nested = self._is_inside_of_a_step(wrapper)
        self.entered += 1
        if not nested and self._stack:  # a step has ended with an exception
            self._stack.clear()
            self._end_step()
        self._stack.append((id(wrapper), wrapper.f_code))
        changed = None
        if not nested:
            self._withheld = False
            changed = self._with_closure(optimizer, args, options)
            if changed is None:
                self._use(optimizer)
        for listener in self.listeners:
            listener.before_step(optimizer)
        if self._main is None or self._main() is None:
            self._main = weakref.ref(optimizer)
        if self.is_main(optimizer):
            self.lr = _rate(optimizer)
        return changed

    def _use(self, optimizer: Optimizer) -> None:
        if isinstance(optimizer, torch.optim.LBFGS):
            for listener in self.listeners:
                listener.without_one_gradient()
            return
        self.gradients_used()
        for listener in self.listeners:
            if listener.final_gradients(optimizer):
                self._withheld = True
                break

    def _with_closure(
        self, optimizer: Optimizer, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Arguments | None:
        """Arguments whose closure uses the gradients that it has made; None where there is no closure."""
        closure = args[1] if len(args) > 1 else options.get("closure")
        if not callable(closure):
            return None

        def used() -> Any:
            for listener in self.listeners:
                listener.before_closure()
            try:
                loss = closure()
            finally:
                for listener in self.listeners:
                    listener.after_closure()
            with torch.no_grad():
                self._use(optimizer)
            return loss

        if len(args) > 1:
            return (args[0], used, *args[2:]), options
        return args, {**options, "closure": used}

    def _after(self, optimizer: Optimizer, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        if self._stack:
            self._stack.pop()
        if self._stack:
            return
        self._end_step()
        self.own += self.is_main(optimizer)
        if self._withheld:
            self.after_step()
            return
        self.steps += 1
        for listener in self.listeners:
            listener.after_step(optimizer)
        self.after_step()
        if self.is_main(optimizer):
            self.updates += 1
            self.after_update()

    def update_by_hand(self) -> None:
        """Count an update that no optimizer has made; nobody could change it or leave it out."""
        self.fresh = False
        self.updates += 1
        self.own += 1
        for listener in self.listeners:
            listener.after_hand_update()
        self.after_step()
        self.after_update()

    def _end_step(self) -> None:
        for listener in reversed(self.listeners):
            listener.step_ended()

    def main(self) -> Optimizer | None:
        """The optimizer whose steps are the updates; None: there is none, or it is gone."""
        return None if self._main is None else self._main()

    def is_main(self, optimizer: Optimizer) -> bool:
        """Whether it is the one whose steps are the updates."""
        return self._main is not None and self._main() is optimizer

    def _is_inside_of_a_step(self, wrapper: FrameType) -> bool:
        if not self._stack:
            return False
        frame = wrapper.f_back
        while frame is not None:
            if (id(frame), frame.f_code) == self._stack[0]:
                return True
            frame = frame.f_back
        return False


def _rate(optimizer: Optimizer) -> float | None:
    rate = optimizer.param_groups[0].get("lr") if optimizer.param_groups else None
    return None if rate is None else float(rate)
