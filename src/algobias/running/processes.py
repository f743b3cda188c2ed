"""What a pool needs from the operating system: how many processes, started how, interrupted how."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, ModuleType

Handler = Callable[[int, FrameType | None], object] | int | None
"""What is done at a signal, as Python's ``signal`` has it."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def available_cores() -> int:
    """Cores this process may use: its affinity, and the container's quota where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, math.ceil(int(quota) / int(period))))
    return cores


class Terminated(KeyboardInterrupt):
    """SIGTERM: somebody who is not at the keyboard wants the program to end, in order."""


class Pressed:
    """Whether the program has been asked to end, and how.

    Attributes:
        why: What is to be raised, or None.
    """

    why: type[KeyboardInterrupt] | None = None


@contextmanager
def asked_to_end() -> Iterator[Pressed]:
    """Note the first Ctrl-C, or SIGTERM, inside; the second one is raised as usual.

    SIGTERM is noted only where somebody has asked for it to be raised (:func:`raise_on_sigterm`): a program
    that uses this package as a library ends as it always does.
    """
    pressed = Pressed()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    before: dict[int, Handler] = {}

    def note(number: int, frame: FrameType | None) -> None:
        if pressed.why is not None:
            raise pressed.why
        pressed.why = Terminated if number == signal.SIGTERM else KeyboardInterrupt

    before[signal.SIGINT] = signal.signal(signal.SIGINT, note)
    if signal.getsignal(signal.SIGTERM) is _terminate:
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, note)
    try:
        yield pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.default_int_handler)


@contextmanager
def raise_on_sigterm() -> Iterator[None]:
    """Inside, SIGTERM is raised as :class:`Terminated`, as Ctrl-C is as KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


@contextmanager
def clean_start() -> Iterator[None]:
    """Inside, new processes have one thread, are deaf to Ctrl-C at once and import no main program."""
    kept: dict[str, str | None] = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    main = sys.modules["__main__"]
    handler: Handler = None
    in_main_thread = threading.current_thread() is threading.main_thread()
    try:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
        sys.modules["__main__"] = ModuleType("__main__")
        if in_main_thread:
            handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        yield
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)
        sys.modules["__main__"] = main
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
