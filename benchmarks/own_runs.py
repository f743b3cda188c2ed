"""Runs of scripts that nobody edited: plainly or with something inside, every backward pass compared."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import algobias.attached
from algobias.attached.events import Applied, End, Events, Refused, read
from algobias.attached.orders import VARIABLE, Orders

SITE = Path(algobias.attached.__file__).parent / "site"
COMPARED = "ALGOBIAS_BENCHMARK_COMPARED"

COMPARING = f'''
"""Compare every pass with its replay, not the first ones and samples; count them in a file of the process."""
import json, os
from algobias.attached.arrival import when_imported

counts = {{"passes": 0, "equal": 0}}


def note():
    with open(os.path.join(os.environ["{COMPARED}"], f"{{os.getpid()}}.json"), "w") as file:
        json.dump(counts, file)


def install(torch):
    from algobias.attached.capture import backwards

    backwards.CHECKED_AT_FIRST = 10**9
    seen_pass, checked = backwards.Backwards.seen_pass, backwards.checked

    def seen(self, args, options):
        counts["passes"] += 1
        try:
            return seen_pass(self, args, options)
        finally:
            note()

    def compared(*args):
        checked(*args)
        counts["equal"] += 1

    backwards.Backwards.seen_pass, backwards.checked = seen, compared


when_imported("torch", install)
'''
"""A ``sitecustomize`` that is run after ours, in the place of one of the user's."""


@dataclass(frozen=True)
class Ran:
    """How a script ran.

    Attributes:
        out: What it printed.
        events: What was written inside.
        seconds: How long it took.
        equal: Passes whose loss and gradient a replay has given again, bit for bit.
        passes: All passes; 0 where nobody compared.
    """

    out: str
    events: Events
    seconds: float
    equal: int = 0
    passes: int = 0

    @property
    def printed(self) -> list[str]:
        """The lines that tell the weights at the end, of the shapes that are ours."""
        return sorted(line for line in self.out.splitlines() if "weights " in line)

    @property
    def weights(self) -> list[str | None]:
        """The hashes of weights at the end, as they were taken inside."""
        return [event.weights for event in self.events.of(End)]

    @property
    def refused(self) -> dict[str, str]:
        """What was refused, and why."""
        return {event.what: event.why for event in self.events.of(Refused)}

    @property
    def applied(self) -> dict[str, int]:
        """How often each lever had acted at the end."""
        return {event.lever: event.count for event in self.events.of(Applied)}


def launch(
    words: list[str], folder: Path, cwd: Path, orders: Orders | None = None, *, compare: bool = False
) -> Ran:
    """Run a command, with orders for what sits inside, or without anything.

    Args:
        words: The command.
        folder: For what is written about it.
        cwd: Where it runs.
        orders: None: nothing sits inside.
        compare: Compare every backward pass with its replay.

    Raises:
        RuntimeError: It did not end well; has its last lines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    variables = {k: v for k, v in os.environ.items() if k != VARIABLE} | {"OMP_NUM_THREADS": "1"}
    front = []
    if orders is not None:
        orders.write(folder / "orders.json")
        variables[VARIABLE] = str(folder / "orders.json")
        front.append(str(SITE))
    counts = folder / "compared"
    if compare:
        counts.mkdir()
        (folder / "comparing").mkdir()
        (folder / "comparing" / "sitecustomize.py").write_text(COMPARING, encoding="utf-8")
        front.append(str(folder / "comparing"))
        variables[COMPARED] = str(counts)
    variables["PYTHONPATH"] = os.pathsep.join([*front, *filter(None, [os.environ.get("PYTHONPATH")])])
    begun = time.perf_counter()
    done = subprocess.run(words, cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError("; ".join(done.stderr.strip().splitlines()[-3:]))
    seconds = round(time.perf_counter() - begun, 2)
    events = read(folder / "events") if orders is not None else Events()
    every = [json.loads(path.read_text(encoding="utf-8")) for path in counts.glob("*.json")]
    return Ran(
        done.stdout,
        events,
        seconds,
        sum(counted["equal"] for counted in every),
        sum(counted["passes"] for counted in every),
    )


def orders_in(folder: Path, **fields: object) -> Orders:
    """Orders whose events go below a folder."""
    return Orders(str(folder / "events"), **fields)  # type: ignore[arg-type]
