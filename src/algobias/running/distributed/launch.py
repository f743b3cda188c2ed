"""Start the processes of one run, watch them, and say clearly when one of them is lost."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from algobias.errors import from_plain
from algobias.kept.outcomes import outcome_from
from algobias.recipe import Recipe
from algobias.runs.observer import Interrupted
from algobias.runs.outcome import Outcome
from algobias.training.processes.rank import SNAPSHOT_SECONDS
from algobias.whole_files import PRIVATE_FILE, PRIVATE_FOLDER, disk, new_file, replace_file

POLL_SECONDS = 0.1
GRACE_SECONDS = 5.0
STOPPED, BAD_INPUT, ORPHANED = 75, 2, 76
"""Exit codes of a process that was asked to stop, that refuses its input, that has lost its parent."""
MEETING = "meeting-"
"""How the file begins by which the processes of one attempt find each other."""
LOOPBACK = ("lo", "lo0")
"""What Linux and macOS call the interface that no other machine reaches."""
INTERFACE_VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


class ProcessLost(RuntimeError):
    """A process of a run ended before the run did; snapshots of the run are in order."""


def run_processes(
    recipe: Recipe,
    task: str,
    seed: int,
    count: int,
    folder: Path,
    *,
    data: Path | None = None,
    device: str = "cpu",
    should_stop: Callable[[], bool] = lambda: False,
    snapshot_seconds: float = SNAPSHOT_SECONDS,
) -> Outcome:
    """Train one seed over ``count`` processes of this machine.

    They find each other by a file in ``folder`` and talk over the loopback interface alone: nobody on another
    machine can reach them. They end when this process does, however it ends.

    Args:
        recipe: With the part that shares out the work.
        task: The task as text.
        seed: Seed of the run.
        count: Number of processes.
        folder: Where the processes keep snapshots and the outcome; a run that was cut off goes on from there.
        data: Folder of the data sets.
        device: ``cpu`` (gloo), or ``cuda`` (NCCL, process i on device i).
        should_stop: Asked all the time; a run that is stopped can be gone on with.
        snapshot_seconds: At least so long from one snapshot to the next.

    Raises:
        BadInput: The processes refuse the recipe or the task.
        Interrupted: ``should_stop`` said so.
        ProcessLost: A process was killed or failed; says which, and how.
    """
    stop, asked = folder / "stop", folder / "recipe.json"
    with disk(folder):
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        for old in (stop, *folder.glob(f"{MEETING}*")):  # of an attempt that was killed
            old.unlink(missing_ok=True)
        replace_file(asked, json.dumps(recipe.resolved()).encode())
        logs = [new_file(folder / f"process{rank}.log") for rank in range(count)]
    # Never the name of an earlier attempt, whose processes may still be about to end.
    meeting = folder / f"{MEETING}{secrets.token_hex(8)}"
    command = [sys.executable, "-m", "algobias.running.distributed", task, "--recipe", str(asked)]
    command += ["--seed", str(seed), "--out", str(folder), "--device", device, "--meeting", str(meeting)]
    command += ["--snapshot-seconds", str(snapshot_seconds)]
    command += [] if data is None else ["--data", str(data)]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(count):
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "OMP_NUM_THREADS": 1}
            environment = {**os.environ, **{key: str(value) for key, value in place.items()}, **local_only()}
            started.append(
                subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.PIPE,  # ends with this process, and they with it
                    stdout=logs[rank],
                    stderr=subprocess.STDOUT,
                )
            )
        _watch(started, folder, stop, should_stop)
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()
            assert process.stdin is not None
            process.stdin.close()
        for log in logs:
            log.close()
        meeting.unlink(missing_ok=True)
    outcome = outcome_from(json.loads((folder / "outcome.json").read_text(encoding="utf-8")), None)
    for leftover in (*folder.glob("process*"), asked):
        leftover.unlink(missing_ok=True)
    return outcome


def _watch(
    started: Sequence[subprocess.Popen[bytes]], folder: Path, stop: Path, should_stop: Callable[[], bool]
) -> None:
    """Return once all have ended well."""
    while True:
        codes = [process.poll() for process in started]
        bad = [(rank, code) for rank, code in enumerate(codes) if code not in (None, 0)]
        if bad:
            # the others notice that one is gone and fail as well: the first to fail is the one that is told
            rank, code = next(((r, c) for r, c in bad if c == BAD_INPUT), bad[0])
            assert code is not None
            _end(started)
            if code == STOPPED:
                raise Interrupted
            raise _told(folder, rank, code, len(started))
        if all(code == 0 for code in codes):
            return
        if should_stop() and not stop.exists():
            stop.touch(PRIVATE_FILE)
        time.sleep(POLL_SECONDS)


def _end(started: Sequence[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + GRACE_SECONDS
    for process in started:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))


def _told(folder: Path, rank: int, code: int, count: int) -> Exception:
    """What is raised for a process that ended with ``code``."""
    said = folder / f"process{rank}.error.json"
    if code == BAD_INPUT and said.exists():
        return from_plain(json.loads(said.read_text(encoding="utf-8")))
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    lines = (folder / f"process{rank}.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = f": {lines[-1]}" if lines and code > 0 else ""
    return ProcessLost(
        f"process {rank} of {count} {how}{last}; what all processes had saved is in order, and the same "
        "command goes on from there"
    )


def local_only() -> dict[str, str]:
    """Environment that keeps gloo and NCCL on the loopback interface; empty where it has no usual name."""
    names = {name for _, name in socket.if_nameindex()}
    loopback = next((name for name in LOOPBACK if name in names), None)
    return {} if loopback is None else dict.fromkeys(INTERFACE_VARIABLES, loopback)
