"""The run that is sat inside of: its steps, calls and backward passes, and where it is told what happens."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from typing import Literal

import torch

from algobias.attached.capture.backwards import Backwards
from algobias.attached.capture.calls import Calls
from algobias.attached.capture.recorder import Recorder
from algobias.attached.events import Metric, Refused, Start
from algobias.attached.journal import Journal
from algobias.attached.listener import Listener
from algobias.attached.orders import Orders
from algobias.attached.steps import Steps
from algobias.attached.trained import Trained


class WatchedRun(ABC):
    """A training run as its listeners know it.

    Args:
        orders: What to do.
        journal: Where to write what happens.

    Attributes:
        listeners: Who is told of its moments, in this order.
        trained: The weights that are trained.
        recorder: What made a loss.
        steps: Steps of optimizers.
        calls: Calls of modules.
        backwards: Backward passes.
    """

    def __init__(self, orders: Orders, journal: Journal) -> None:
        self.orders, self.journal = orders, journal
        self.listeners: list[Listener] = []
        self.trained = Trained()
        self.recorder = Recorder()
        self.steps = Steps(self.listeners)
        self.calls = Calls(self.trained, self.recorder, self.listeners)
        self.backwards = Backwards(
            self.calls, self.recorder, self.steps.backward_begins, self.steps.backward_ended
        )
        self._pid = os.getpid()

    def has_lever(self, name: str) -> bool:
        """Whether a lever of that name was injected."""
        return False

    def started(self, parent: int | None = None) -> None:
        """Tell that this process is there."""
        rank = os.environ.get("RANK", "0")
        self.journal.write(
            Start(
                update=self.steps.updates,
                pid=os.getpid(),
                rank=int(rank) if rank.isdecimal() else 0,
                argv=tuple(getattr(sys, "argv", ())),
                torch=torch.__version__,
                threads=torch.get_num_threads(),
                parent=parent,
            )
        )

    def ensure_started(self) -> None:
        """Tell that a forked child is there, once it does something worth telling."""
        if self._pid != os.getpid():
            parent, self._pid = self._pid, os.getpid()
            self.started(parent)
            util = sys.modules.get("multiprocessing.util")
            if util is not None:  # its children skip atexit
                util.Finalize(None, self.end, args=("exit",), exitpriority=0)

    def refuse(self, what: str, why: str) -> None:
        """Tell that something is not done."""
        self.ensure_started()
        self.journal.write(Refused(self.steps.updates, what, why))

    def heard(self, name: str, value: float, source: str, step: float | None) -> None:
        """Tell of a number that the script told a logger."""
        self.ensure_started()
        self.journal.write(Metric(self.steps.updates, name, value, source, step))

    @abstractmethod
    def end(self, reason: Literal["exit", "stop_after"]) -> None:
        """Write how the run ended, once."""
