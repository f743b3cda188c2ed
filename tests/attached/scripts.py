"""Small training scripts, run as a user runs them: in a process of their own, plainly or attached."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import algobias.attached
from algobias.attached.events import Applied, End, Events, Refused, read
from algobias.attached.orders import VARIABLE, FitOrders, Orders
from attached.zygote import Zygote

SITE = Path(algobias.attached.__file__).parent / "site"

HEAD = """
import hashlib, sys
import torch, torch.nn as nn, torch.nn.functional as F

torch.manual_seed(0)
X = torch.randn(96, 12)
Y = X[:, :4].argmax(1)


def say(*modules):
    every = hashlib.sha256()
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            every.update(tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    print("weights", every.hexdigest())
"""
"""What most scripts begin with: data, and a line that says which weights a script ended with."""

CLASSIFIER = (
    HEAD
    + """
net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for step in range(6):
    net.train()
    rows = torch.randperm(96)[:32]
    optimizer.zero_grad()
    F.cross_entropy(net(X[rows]), Y[rows]).backward()
    optimizer.step()
    net.eval()
    with torch.no_grad():
        print("accuracy", (net(X).argmax(1) == Y).float().mean().item())
say(net)
"""
)


@dataclass(frozen=True)
class Ran:
    """How a script ran.

    Attributes:
        code: Its exit code.
        out: What it printed.
        err: What it printed as errors.
        events: What was written from inside.
    """

    code: int
    out: str
    err: str
    events: Events

    @property
    def end(self) -> End:
        """How its main process ended."""
        assert self.events.main is not None, self.err
        return self.events.main.of(End)[-1]

    def refused(self) -> dict[str, str]:
        """What was refused, and why."""
        return {event.what: event.why for event in self.events.of(Refused)}

    def applied(self) -> dict[str, int]:
        """How often each lever had acted at the end."""
        return {event.lever: event.count for event in self.events.of(Applied)}


def run(
    folder: Path,
    source: str,
    *args: str,
    attach: bool = True,
    fit: FitOrders | None = None,
    environment: dict[str, str] | None = None,
    fresh: bool = False,
    loaded: tuple[str, ...] = (),
    **orders: Any,
) -> Ran:
    """Run a script, attached or plainly.

    Args:
        folder: Where the script and what is written go.
        source: The script.
        args: Its arguments.
        attach: Whether anything sits inside of it.
        fit: Orders for the fit set.
        environment: More variables.
        loaded: Modules that the copied process has loaded besides torch.
        fresh: In a process started anew, which loads torch by itself; else in a copy of one that has.
        orders: Fields of the orders.
    """
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "script.py"
    script.write_text(source, encoding="utf-8")
    events = folder / "events"
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", VARIABLE)}
    variables |= {"OMP_NUM_THREADS": "1", **(environment or {})}
    if attach:
        Orders(str(events), fit=fit, **orders).write(folder / "orders.json")
        variables[VARIABLE] = str(folder / "orders.json")
        before = variables.get("PYTHONPATH")
        variables["PYTHONPATH"] = str(SITE) if before is None else f"{SITE}{os.pathsep}{before}"
    if not fresh:
        return Ran(*_zygote(*loaded).run(folder, ["script.py", *args], variables), read(events))
    done = subprocess.run(
        [sys.executable, "script.py", *args],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr, read(events))


@functools.cache
def _zygote(*modules: str) -> Zygote:
    return Zygote(*modules)
