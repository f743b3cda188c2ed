"""Calls of modules from outside of any module, seen at ``nn.Module.__call__``."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from algobias.attached.capture.recorder import Recorder
from algobias.attached.listener import Listener
from algobias.attached.trained import Trained


class Calls:
    """Tell listeners of the outermost calls of modules, and let them be recorded.

    The class attribute is replaced once, for good: every subclass looks it up anew after a change, and global
    module hooks would not see named arguments. Only the thread that installs it is listened to. Of training
    calls listeners are told once for each module; where one of them hears more than that, once again after
    each backward pass, update or evaluation. A script may call a thousand small modules in a step.

    Args:
        trained: Knows which modules are trained.
        recorder: Records calls while it is recording.
        listeners: Told of every outermost call, in this order.

    Attributes:
        inside: Whether the script is inside of a call, of a backward pass, or of something of ours.
    """

    def __init__(self, trained: Trained, recorder: Recorder, listeners: Sequence[Listener]) -> None:
        self.trained, self.recorder, self.listeners = trained, recorder, listeners
        self.inside = False
        self.thread = threading.get_ident()
        self._told: dict[int, weakref.ref[nn.Module]] = {}

    def install(self) -> None:
        """Replace ``nn.Module.__call__`` by one that also tells of calls."""
        original: Callable[..., Any] = nn.Module.__call__
        is_compiling, is_grad_enabled = torch.compiler.is_compiling, torch.is_grad_enabled
        get_ident, calls, recorder, told = threading.get_ident, self, self.recorder, self._told

        @functools.wraps(original)
        def _wrapped_call_impl(module: nn.Module, *args: Any, **options: Any) -> Any:
            # In this order: is_compiling costs as much as all the rest. What is compiled runs inside.
            # Torch's own is called, not written out, though that costs as much again: its frame belongs
            # into tracebacks.
            if calls.inside or is_compiling():
                return original(module, *args, **options)
            if (
                id(module) in told
                and not recorder.recording
                and is_grad_enabled()
                and get_ident() == calls.thread
            ):
                calls.inside = True
                try:
                    return original(module, *args, **options)
                finally:
                    calls.inside = False
            return calls.outermost(original, module, args, options)

        nn.Module.__call__ = _wrapped_call_impl  # type: ignore[method-assign]

    def restart(self) -> None:
        """Have told nobody of any module: another training begins in this process."""
        self._told.clear()

    def forget(self) -> None:
        """Tell listeners of every module again, where any of them hears more than the first call."""
        if any(listener.hears_calls for listener in self.listeners):
            self._told.clear()

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Tell nobody of what is called inside, and record nothing of it."""
        before, self.inside = self.inside, True
        recording = self.recorder.recording and self.recorder.stop()
        try:
            yield
        finally:
            self.inside = before
            if recording:
                self.recorder.start()

    def outermost(
        self, original: Callable[..., Any], module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        """Carry out a call that is not inside of another."""
        if threading.get_ident() != self.thread:
            return original(module, *args, **options)
        self.inside = True
        try:
            if not torch.is_grad_enabled():
                return self._without_gradients(original, module, args, options)
            for listener in self.listeners:
                listener.training_call(module)
            if not self.recorder.recording:
                self._told[id(module)] = weakref.ref(module, functools.partial(self._gone, id(module)))
                return original(module, *args, **options)
            kind = type(module)
            return self.recorder.whole(
                "module",
                functools.partial(original, module),
                f"{kind.__module__}.{kind.__qualname__}",
                args,
                options,
                module,
            )
        finally:
            self.inside = False

    def _gone(self, number: int, module: object) -> None:
        self._told.pop(number, None)

    def _without_gradients(
        self, original: Callable[..., Any], module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        self.forget()
        with ExitStack() as stack:
            if self.recorder.recording and self.recorder.stop():
                stack.callback(self.recorder.start)
            if self.trained.contains(module):
                for listener in self.listeners:
                    context = listener.evaluation(module)
                    if context is not None:
                        stack.enter_context(context)
            else:
                for listener in self.listeners:
                    listener.foreign_evaluation(module)
            return original(module, *args, **options)
