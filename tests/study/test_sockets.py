"""Workers that are real processes talk over the loopback interface alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from algobias.levers.registry import parse_many
from algobias.recipe import Recipe
from algobias.running.distributed.launch import ProcessLost, local_only, run_processes
from algobias.runs.observer import Interrupted
from algobias.tasks.registry import load_task

PROC = Path("/proc")
LISTENING = "0A"
LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
"""127.0.0.1, ::1 and 127.0.0.1 in version 6, as Linux writes them."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="reads Linux's socket table")


def offspring(parent: int) -> set[int]:
    """Processes that a process has started, and those that they have."""
    parents = {}
    for entry in PROC.glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found, fresh = set[int](), {parent}
    while fresh:
        fresh = {child for child, of in parents.items() if of in fresh} - found
        found |= fresh
    return found


def listening() -> dict[str, str]:
    """Local address of every listening socket, by its inode."""
    rows = [
        line.split() for name in ("tcp", "tcp6") for line in (PROC / "net" / name).read_text().splitlines()
    ]
    return {row[9]: row[1] for row in rows if len(row) > 9 and row[3] == LISTENING}


def sockets(process: int) -> Iterator[str]:
    """Inodes of the sockets that a process holds."""
    try:
        for descriptor in (PROC / str(process) / "fd").iterdir():
            target = os.readlink(descriptor)
            if target.startswith("socket:["):
                yield target[8:-1]
    except OSError:
        return


def addresses(processes: set[int]) -> set[str]:
    """Where these processes listen, without the port."""
    known = listening()
    held = {inode for process in processes for inode in sockets(process)}
    return {known[inode].partition(":")[0] for inode in held & known.keys()}


def recipe(updates: int) -> Recipe:
    made = load_task("digits").recipe()
    for lever in parse_many(f"batch:16+budget:updates={updates}+local_sgd:2,workers=2"):
        made = lever.apply(made)
    return made.edit(engine="processes")


def test_nothing_listens_but_on_the_loopback_interface(tmp_path: Path) -> None:
    heard: set[str] = set()
    steps = list[int]()

    def watched() -> bool:
        own = offspring(os.getpid())
        heard.update(addresses(own))
        steps.append(len(own))
        return bool(heard) and len(steps) > 5

    with pytest.raises(Interrupted):
        run_processes(recipe(20_000), "digits", 0, 2, tmp_path / "run", should_stop=watched)
    assert max(steps) >= 2
    assert heard, "gloo listens somewhere: the test must see it"
    assert heard <= set(LOOPBACK), heard
    assert not list((tmp_path / "run").glob("meeting-*"))


def test_the_interface_of_a_cluster_is_left_alone_elsewhere() -> None:
    """Only processes that this tool starts itself are kept to one machine: torchrun's are not."""
    before = dict(os.environ)
    assert set(local_only().values()) <= {"lo", "lo0"}
    assert dict(os.environ) == before


ALONE = """
import sys
from pathlib import Path
from algobias.running.distributed.launch import run_processes
from test_sockets import recipe
run_processes(recipe(1_000_000), "digits", 0, 2, Path(sys.argv[1]))
"""


@pytest.mark.wide
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, "-c", ALONE, str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 600
    while len(list((tmp_path / "run").glob("process*.log"))) < 2 or len(offspring(parent.pid)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = offspring(parent.pid)
    time.sleep(0.5)
    parent.kill()
    parent.wait()
    while any(alive(child) for child in children):
        assert time.monotonic() < deadline, "they train for nobody"
        time.sleep(0.05)


def alive(process: int) -> bool:
    try:
        state = (PROC / str(process) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.wide
def test_signals_are_left_to_the_one_that_started_them(tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM go to every process of a group: the run is ended in order by one of them."""
    sent = threading.Event()

    def asked() -> bool:
        if sent.is_set():
            return True
        if any(path.stat().st_size for path in (tmp_path / "run").glob("process0-*.safetensors")):
            for child in offspring(os.getpid()):
                os.kill(child, 2)
                os.kill(child, 15)
            sent.set()
        return False

    with pytest.raises(Interrupted):
        run_processes(
            recipe(50_000), "digits", 0, 2, tmp_path / "run", should_stop=asked, snapshot_seconds=0.1
        )
    assert sent.is_set()


def test_a_lost_process_is_named(tmp_path: Path) -> None:
    def kill() -> bool:
        for child in offspring(os.getpid()):
            os.kill(child, 9)
        return False

    with pytest.raises(ProcessLost, match="killed by signal 9"):
        run_processes(recipe(1_000), "digits", 0, 2, tmp_path / "run", should_stop=kill)
