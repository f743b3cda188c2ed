"""One run of a command: its process group, its outputs, its end. No torch, and little besides.

The command is started word for word in a process group of its own. Its outputs go into files, with marks
that tell when which byte of the standard output came. All processes of the group end with it, with the
worker, and with whoever started the worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import IO

from algobias.jobs.job import ERRORS, GROUP, MARKS, ORDERS, OUTPUT, Job, Result
from algobias.whole_files import disk

GRACE = 5.0
"""Seconds that a process group has between SIGTERM and SIGKILL."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""Set where the user has not: runs share the machine."""

RUN = "ALGOBIAS_RUN"
"""The variable by which processes of a run are known, whatever session they have made for themselves."""

CHILD_SUBREAPER = 36
"""Linux's PR_SET_CHILD_SUBREAPER."""

WATCH = 0.5
"""Seconds between two looks whether whoever started the worker is still there."""


def carry_out(path: Path, *, alone: bool = False) -> Result:
    """Run the job in a file, and write how it ended into its folder.

    Args:
        path: The job.
        alone: This process does nothing else. On Linux it becomes the parent of all processes of the run
            whose own has gone, and ends them too, whatever session and variables they have made themselves.

    Raises:
        BadInput: Not a job.
        StoreError: The disk is full or cannot be written to.
    """
    job = Job.read(path)
    adopts = alone and adopt()
    started = time.monotonic()
    with disk(job.folder):
        for name in (OUTPUT, ERRORS):
            (job.folder / name).write_bytes(b"")
    with open(job.folder / OUTPUT, "ab") as output, open(job.folder / ERRORS, "ab") as errors:
        try:
            process = subprocess.Popen(
                job.words,
                cwd=job.cwd,
                env=environment(job),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            result = Result(None, None, 0.0, started, f"{job.words[0]} cannot be started: {reason}")
            result.write(job.folder)
            return result
        (job.folder / GROUP).write_text(str(process.pid))

        def end() -> None:
            end_group(process.pid)
            end_strays(job.folder)
            if adopts:
                end_children()

        with _ending(end):
            result = _followed(job, process, output, started, end)
    result.write(job.folder)
    return result


def environment(job: Job) -> dict[str, str]:
    """The variables of a job's command.

    Threads are set to one where nobody has said otherwise, and output is written as it comes. Where
    something sits inside, its folder goes in front of ``PYTHONPATH``.
    """
    variables = {**ONE_THREAD, "PYTHONUNBUFFERED": "1", **os.environ, **job.environment}
    variables[RUN] = str(job.folder)
    if job.orders is not None:
        site = str(Path(__file__).parent.parent / "attached" / "site")
        theirs = variables.get("PYTHONPATH")
        variables["PYTHONPATH"] = site if not theirs else f"{site}{os.pathsep}{theirs}"
        variables["ALGOBIAS_ATTACH"] = str(job.folder / ORDERS)
    return variables


def _followed(
    job: Job,
    process: subprocess.Popen[bytes],
    output: IO[bytes],
    started: float,
    end: Callable[[], None],
) -> Result:
    """Write what a process says until it ends, and end what it leaves behind."""
    assert process.stdout is not None
    over = threading.Event()
    timer = None
    if job.max_seconds is not None:
        timer = threading.Timer(job.max_seconds, _too_long, (over, process.pid))
        timer.start()
    reader = threading.Thread(target=_copy, args=(process.stdout, output, job.folder / MARKS), daemon=True)
    reader.start()
    try:
        code = process.wait()
    finally:
        if timer is not None:
            timer.cancel()
        end()
    # A process that left the group may hold the pipe for ever.
    reader.join(GRACE)
    seconds = time.monotonic() - started
    reason = f"it took longer than {job.max_seconds:g} s" if over.is_set() else None
    if code < 0:
        return Result(None, -code, seconds, started, reason)
    return Result(code, None, seconds, started, reason)


def _too_long(over: threading.Event, group: int) -> None:
    """End a run whose time is over."""
    over.set()
    end_group(group)


def _copy(source: IO[bytes], output: IO[bytes], marks: Path) -> None:
    """Copy an output as it comes; a mark tells for each piece how many bytes there were, and when."""
    size = 0
    with open(marks, "w", encoding="ascii") as noted, contextlib.suppress(ValueError, OSError):
        while piece := os.read(source.fileno(), 1 << 16):
            came = time.monotonic()
            size += len(piece)
            output.write(piece)
            output.flush()
            noted.write(f"{size} {came:.4f}\n")
            noted.flush()


def end_group(group: int, grace: float = GRACE) -> None:
    """End all processes of a group: SIGTERM, and SIGKILL for those that are still there after the grace."""
    for number, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, 1.0)):
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            return
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-group, os.WNOHANG)
            try:
                os.killpg(group, 0)
            except (ProcessLookupError, PermissionError):
                return
            time.sleep(0.02)


def end_strays(folder: Path) -> None:
    """End processes of a run that have left its group, with SIGKILL; where there is no ``/proc``, none.

    Args:
        folder: The folder of the run.
    """
    mark = f"{RUN}={folder}".encode()
    for place in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError, ValueError):
            if mark in place.read_bytes().split(b"\0") and int(place.parent.name) != os.getpid():
                os.kill(int(place.parent.name), signal.SIGKILL)


def adopt() -> bool:
    """Make this process the parent of its descendants whose own parent has gone; False where it cannot be."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        import ctypes

        done: int = ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1, 0, 0, 0)
        return sys.platform == "linux" and done == 0
    return False


def end_children() -> None:
    """End all children of this process, with SIGKILL; theirs become its own, and are ended in their turn."""
    deadline = time.monotonic() + GRACE
    while (children := _children()) and time.monotonic() < deadline:
        for child in children:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)


def _children() -> list[int]:
    children = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name, in brackets, may hold blanks and brackets; state and parent follow it.
            parent = int(place.read_text(errors="replace").rpartition(")")[2].split()[1])
            if parent == os.getpid():
                children.append(int(place.parent.name))
    return children


@contextlib.contextmanager
def _ending(end_run: Callable[[], None]) -> Iterator[None]:
    """Inside, a signal to this process ends the run before it ends this process."""

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        end_run()
        os._exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with(parent: int) -> None:
    """Have this process end, as SIGTERM ends it, soon after the one that started it has gone.

    Args:
        parent: Its process id.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def main(arguments: list[str]) -> int:
    """Carry out the job in a file; ``--parent PID`` ends it with that process.

    Returns:
        0 where the run has ended, however; its result tells how.
    """
    if "--parent" in arguments:
        at = arguments.index("--parent")
        end_with(int(arguments[at + 1]))
        del arguments[at : at + 2]
    result = carry_out(Path(arguments[0]), alone=True)
    print(json.dumps({"code": result.code, "signal": result.signal, "seconds": result.seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
