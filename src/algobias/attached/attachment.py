"""The attachment: everything that sits inside of a training run, put together."""

from __future__ import annotations

import atexit
import functools
import os
import sys
from collections.abc import Callable
from typing import Any, Literal

import torch

from algobias.attached.capture import compiled
from algobias.attached.events import Counters, End, TrainLoss
from algobias.attached.fit.loss import FitLoss
from algobias.attached.hand_updates import HandUpdates
from algobias.attached.journal import Journal
from algobias.attached.levers.base import Injected
from algobias.attached.levers.registry import read
from algobias.attached.listener import Listener
from algobias.attached.metrics import taps
from algobias.attached.orders import FitOrders, Orders
from algobias.attached.patch import replace
from algobias.attached.probed import reader_of
from algobias.attached.watched_run import WatchedRun
from algobias.errors import BadInput

COUNTED_EVERY = 100
"""Updates from one line of counters to the next; before the first, 1, 2, 4, ... 64: for short runs."""


def is_counted(updates: int) -> bool:
    """Whether counters are written after so many updates."""
    return updates % COUNTED_EVERY == 0 or (updates < COUNTED_EVERY and updates & (updates - 1) == 0)


class Attachment(WatchedRun, Listener):
    """Sit inside of a run: see its steps, calls and backward passes, and do what the orders say.

    Args:
        orders: What to do.
        journal: Where to write what happens.
    """

    def __init__(self, orders: Orders, journal: Journal) -> None:
        super().__init__(orders, journal)
        self.levers: list[Injected] = []
        self._misspelt: list[tuple[str, BadInput]] = []
        self.fit_loss: FitLoss | None = None
        self._non_finite = 0
        self._ended = False

    def install(self) -> None:
        """Put everything in its place."""
        # Who wants the next passes is known when all have been told of the step.
        self.steps.after_step, self.steps.after_update = self.stepped, self.updated
        self.steps.install()
        self.calls.install()
        self.backwards.install()
        compiled.install(self.calls, self.recorder)
        self._install_users_of_gradients()
        atexit.register(self.end, "exit")
        os.register_at_fork(after_in_child=self._forked)
        if self.orders.metrics:
            taps.install(self.heard)
        self._begin()

    def begin_again(self, orders: Orders) -> None:
        """Begin another training in this process, as if it were the first.

        Args:
            orders: What to do in it.
        """
        self.orders, self._non_finite, self._ended = orders, 0, False
        for part in (self.steps, self.backwards):
            part.restart()
        self.trained.forget()
        self.levers.clear()
        self._misspelt.clear()
        self._begin()

    def training_ended(self) -> None:
        """Take the last loss and tell how often levers acted: a training has ended, the process goes on."""
        self.recorder.stop()
        for listener in self.listeners:
            listener.at_end()

    def _begin(self) -> None:
        self.calls.restart()
        self.listeners[:] = [self.trained, HandUpdates(self), self]
        self._inject()
        self.started()
        for spelling, error in self._misspelt:
            self.refuse(spelling, str(error))
        self.record_if_wanted()

    def _inject(self) -> None:
        spellings = (*self.orders.levers, *(("sam:0",) if self.orders.null_control else ()))
        for spelling in spellings:
            try:
                self.levers += read(spelling, [lever.name for lever in self.levers])
            except BadInput as error:
                self._misspelt.append((spelling, error))
        for lever in self.levers:
            lever.begin(self)
            lever.at_update(0)
        self.listeners += self.levers
        self.fit_loss = None
        probes = self.orders.probes
        if self.orders.fit is not None or self.orders.replay or probes:
            replays = self.orders.replay or bool(probes)
            self.fit_loss = FitLoss(self.orders.fit or FitOrders(), self, replays)
            self.listeners.append(self.fit_loss)
            if probes:
                try:
                    self.fit_loss.readers.append(reader_of(self))
                except BadInput as error:
                    self._misspelt.append(("probes", error))

    def has_lever(self, name: str) -> bool:
        """Whether a lever of that name was injected."""
        return any(lever.name == name for lever in self.levers)

    def _forked(self) -> None:
        self._ended = False

    def reported(self, test_metric: float | None, train_loss: float | None) -> None:
        """Tell what the script reports itself; where no evaluation was seen, this is one."""
        if test_metric is not None:
            if self.fit_loss is not None:
                self.fit_loss.measure_if_due()
            self.heard("test_metric", test_metric, "report", None)
        if train_loss is not None:
            self.ensure_started()
            self.journal.write(TrainLoss(self.steps.updates, train_loss, None, None, None, exact=False))

    # -- moments ---------------------------------------------------------------------------------------------

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimizer work undisturbed."""
        self.calls.forget()
        self.recorder.stop()

    def after_backward(self) -> None:
        """Have calls that follow told."""
        self.calls.forget()

    def before_closure(self) -> None:
        """Record what is computed inside of a step."""
        self.record_if_wanted()

    def after_closure(self) -> None:
        """Let the optimizer work undisturbed."""
        self.calls.forget()
        self.recorder.stop()

    def stepped(self) -> None:
        """Record again, where somebody wants what comes."""
        self.recorder.next_step()
        self.record_if_wanted()

    def record_if_wanted(self) -> None:
        """Record from here on, or stop: as somebody wants it."""
        self.calls.forget()
        if self.backwards.wanted():
            self.recorder.start()
        else:
            self.recorder.stop()

    def updated(self) -> None:
        """Switch levers on and off; write counters now and then; end where that was ordered."""
        self.ensure_started()
        switched = [lever.at_update(self.steps.updates) for lever in self.levers]
        if any(switched):
            self.record_if_wanted()
        if is_counted(self.steps.updates):
            self.count()
        if self.orders.stop_after is not None and self.steps.updates >= self.orders.stop_after:
            self.end("stop_after")
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            # Not SystemExit: the script would go on to save, evaluate or retry.
            os._exit(0)

    def count(self) -> None:
        """Write the counters as they are."""
        self._non_finite += self.backwards.non_finite()
        steps = self.steps
        for lever in self.levers:
            lever.tell()
        self.journal.write(Counters(steps.updates, steps.lr, steps.steps, steps.skipped, self._non_finite))

    def end(self, reason: Literal["exit", "stop_after"]) -> None:
        """Write how the run ended, once."""
        if self._ended or (self._pid != os.getpid() and not self.journal.begun):
            return
        self._ended = True
        self.training_ended()
        if self.steps.updates or self.steps.steps:
            self.count()
        updates = self.steps.updates
        self.journal.write(End(updates, updates, self.trained.fingerprint(), reason))

    # -- who uses gradients ----------------------------------------------------------------------------------

    def _install_users_of_gradients(self) -> None:
        clip = torch.nn.utils.clip_grad
        for name in ("clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_"):
            if hasattr(clip, name):
                clipping = self._clipping(getattr(clip, name))
                replace(clip, name, clipping)
                replace(torch.nn.utils, name, clipping)
        scaler = torch.amp.GradScaler
        replace(scaler, "unscale_", self._unscaling(scaler.unscale_))
        replace(scaler, "step", self._stepping(scaler.step))
        replace(scaler, "scale", self._scaling(scaler.scale))

    def _clipping(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def clip(*args: Any, **options: Any) -> Any:
            with torch.no_grad():
                self.steps.gradients_used()
            self.steps.clipped = True
            return original(*args, **options)

        return clip

    def _unscaling(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def unscale_(scaler: torch.amp.GradScaler, *args: Any, **options: Any) -> Any:
            if self.steps.fresh and scaler.is_enabled():
                with torch.no_grad():
                    self.steps.gradients_used(scaler.get_scale())
            return original(scaler, *args, **options)

        return unscale_

    def _stepping(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def step(scaler: torch.amp.GradScaler, *args: Any, **options: Any) -> Any:
            if not scaler.is_enabled():
                return original(scaler, *args, **options)
            with self.steps.scaled_step():
                return original(scaler, *args, **options)

        return step

    def _scaling(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def scale(scaler: torch.amp.GradScaler, *args: Any, **options: Any) -> Any:
            if not self.recorder.recording:
                return original(scaler, *args, **options)
            bound = functools.partial(original, scaler)
            return self.recorder.whole("scale", bound, "torch.amp.GradScaler.scale", args, options)

        return scale
