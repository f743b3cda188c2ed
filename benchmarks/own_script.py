"""What sitting inside of a training script costs: time of steps, memory that is held.

    python benchmarks/own_script.py                  # every case; minutes
    python benchmarks/own_script.py --rounds 8       # fewer rounds
    python benchmarks/own_script.py --only modules   # cases whose name has this; others stay as they were
    python benchmarks/own_script.py --table          # the committed results as tables

Each case is one training loop, in one process for each way to run it, which all wait and take turns: *plain*,
nothing inside; *armed*, sitting inside after the training examples have been captured, as a run does between
its evaluations; *captured*, armed and every tenth step captured, without any replay. Each has its turn in
a round, in an order that rotates, and ratios are taken within rounds. Times are processor time of a
process of one thread: the machine may be busy. Written: ``results/own_script.json``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RESULTS = Path(__file__).parent / "results" / "own_script.json"
ROUNDS = 40
TURN = 0.1
"""Seconds of a turn, at least."""

KINDS = ("plain", "armed", "captured")
BATCH, INPUTS, CLASSES, CALLS = 64, 64, 10, 1000
EXAMPLES = 512
"""Of the fit set that the armed runs keep."""

EVERY = 10

Step = Callable[[], None]


@dataclass(frozen=True)
class Case:
    """A training loop.

    Attributes:
        name: What it is called.
        width: Of the layers.
        depth: How many there are.
        aim: The step that it stands for, in milliseconds; None: none in particular.
    """

    name: str
    width: int
    depth: int
    aim: float | None = None


CASES = (
    Case("step of 1 ms", 128, 4, aim=1),
    Case("step of 5 ms", 480, 4, aim=5),
    Case("step of 20 ms", 1024, 4, aim=20),
    Case("1,000 modules in one call", 8, CALLS),
)


def step_of(case: Case) -> Step:
    """Make a training loop; returns one step of it, on batches that go round."""
    torch.manual_seed(0)
    data = [(torch.randn(BATCH, INPUTS), torch.randint(CLASSES, (BATCH,))) for _ in range(EXAMPLES // BATCH)]
    layers: list[nn.Module] = [nn.Linear(INPUTS, case.width)]
    for place in range(case.depth):
        # Where there are many, most do next to nothing, as they do in large models' small parts.
        layers.append(
            nn.Identity() if case.depth == CALLS and place % 10 else nn.Linear(case.width, case.width)
        )
        if case.depth != CALLS:
            layers.append(nn.ReLU())
    layers.append(nn.Linear(case.width, CLASSES))
    net = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    count = 0

    def step() -> None:
        nonlocal count
        inputs, targets = data[count % len(data)]
        count += 1
        optimizer.zero_grad()
        F.cross_entropy(net(inputs), targets).backward()
        optimizer.step()

    return step


def serve(case: Case, kind: str) -> None:
    """Be a process that trains for a while whenever it is told to, and says how long that took."""
    torch.set_num_threads(1)
    step = step_of(case)
    for _ in range(2 * EXAMPLES // BATCH + 4):  # past what is captured at first
        step()
    if kind == "captured":
        capture_every_tenth()
        for _ in range(3 * EVERY + 1):  # the first three of a run are compared with a replay
            step()
    print(json.dumps({"held": held(), "kept": kept()}), flush=True)
    for line in sys.stdin:
        steps = int(line)
        begun = time.process_time()
        for _ in range(steps):
            step()
        print((time.process_time() - begun) / steps, flush=True)


def capture_every_tenth() -> None:
    """Want the passes of every tenth step, and do nothing with them."""
    from algobias.attached.arm import attachment
    from algobias.attached.capture.graph import BackwardPass

    run = attachment()
    if run is None:
        raise RuntimeError("nothing sits in this process")

    class Tenth:
        def wants(self) -> bool:
            return run.steps.steps % EVERY == 0

        def take(self, backward_pass: BackwardPass) -> None:
            pass

        def lose(self, why: str) -> None:
            raise RuntimeError(why)

    run.backwards.takers.append(Tenth())
    run.record_if_wanted()


def held() -> int:
    """Bytes of all tensors that are alive, each storage once."""
    gc.collect()
    storages = {}
    for known in gc.get_objects():
        if issubclass(type(known), Tensor):
            storage = known.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def kept() -> int:
    """Bytes of the training examples that are kept for the loss."""
    arm = sys.modules.get("algobias.attached.arm")
    run = arm.attachment() if arm is not None else None
    if run is None or run.fit_loss is None:
        return 0
    tensors = {t.untyped_storage().data_ptr(): t for each in run.fit_loss._own for t in each.tensors}
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors.values())


@dataclass(frozen=True)
class Row:
    """What was seen of a case.

    Attributes:
        case: Its name.
        milliseconds: Processor time of a plain step, median over rounds.
        armed: Time over that of a plain step, of every round.
        captured: The same, with every tenth step captured.
        held: Bytes of tensors that the armed process holds beyond the plain one.
        kept: Bytes of the training examples among them.
    """

    case: str
    milliseconds: float
    armed: list[float]
    captured: list[float]
    held: int
    kept: int


class Worker:
    """A process that waits for its turns.

    Args:
        case: What it trains.
        kind: How.
        folder: For its orders and events.
    """

    def __init__(self, case: Case, kind: str, folder: Path) -> None:
        variables = {**os.environ, "OMP_NUM_THREADS": "1"}
        if kind != "plain":
            variables |= _orders(folder)
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", kind, "--only", case.name],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.told: dict[str, int] = json.loads(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("a process has ended")
        return line

    def turn(self, steps: int) -> float:
        """Train for so many steps; seconds of each."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return float(self._line())

    def end(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def _orders(folder: Path) -> dict[str, str]:
    import algobias.attached
    from algobias.attached.orders import VARIABLE, FitOrders, Orders

    orders = Orders(str(folder / "events"), fit=FitOrders(examples=EXAMPLES), replay=True)
    orders.write(folder / "orders.json")
    site = str(Path(algobias.attached.__file__).parent / "site")
    path = os.pathsep.join(filter(None, [site, os.environ.get("PYTHONPATH")]))
    return {VARIABLE: str(folder / "orders.json"), "PYTHONPATH": path}


def look(case: Case, rounds: int) -> Row:
    """Let the processes of a case take turns."""
    with tempfile.TemporaryDirectory() as top, ExitStack() as stack:
        workers = {}
        for kind in KINDS:
            folder = Path(top, kind)
            folder.mkdir()
            workers[kind] = Worker(case, kind, folder)
            stack.callback(workers[kind].end)
        first = workers["plain"].turn(2 * EVERY)
        steps = EVERY * max(1, round(TURN / first / EVERY))
        times: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for number in range(rounds):
            for place in range(len(KINDS)):
                kind = KINDS[(number + place) % len(KINDS)]
                times[kind].append(workers[kind].turn(steps))
        ratios = {
            kind: [round(a / b, 5) for a, b in zip(times[kind], times["plain"], strict=True)]
            for kind in KINDS
        }
        return Row(
            case.name,
            round(1000 * statistics.median(times["plain"]), 4),
            ratios["armed"],
            ratios["captured"],
            workers["armed"].told["held"] - workers["plain"].told["held"],
            workers["armed"].told["kept"],
        )


def bounds(ratios: list[float]) -> tuple[float, float]:
    """95 % interval of the median: order statistics, by the normal approximation of the binomial law."""
    ordered = sorted(ratios)
    reach = 0.98 * len(ordered) ** 0.5
    low = max(0, int(len(ordered) / 2 - reach) - 1)
    return ordered[low], ordered[len(ordered) - 1 - low]


def more(row: dict[str, Any], kind: str) -> float:
    """Milliseconds that a step takes beyond a plain one: the median ratio, of the median plain step."""
    beyond: float = (statistics.median(row[kind]) - 1) * row["milliseconds"]
    return beyond


def table(results: dict[str, Any]) -> str:
    """The results in Markdown."""
    lines = [
        "| loop | plain step, ms | armed | more, ms | tenth step captured | more, ms | held, kB | kept, kB |",
        "|" + "---|" * 8,
    ]
    for row in results["rows"]:
        cells = [row["case"], f"{row['milliseconds']:.3g}"]
        for kind in KINDS[1:]:
            low, high = bounds(row[kind])
            cells.append(f"{_percent(statistics.median(row[kind]))} [{_percent(low)}, {_percent(high)}]")
            cells.append(f"{more(row, kind):.2f}")
        cells += [f"{row['held'] / 1000:.1f}", f"{row['kept'] / 1000:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def keep(rows: list[Row]) -> dict[str, Any]:
    """Write rows in the place of those of the same cases; others stay."""
    from machine import machine

    known: dict[str, Any] = {}
    if RESULTS.exists():
        known = {row["case"]: row for row in json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]}
    known |= {row.case: asdict(row) for row in rows}
    ordered = [known[case.name] for case in CASES if case.name in known]
    results = {"machine": machine() | {"threads": 1}, "batch": BATCH, "examples": EXAMPLES, "rows": ordered}
    RESULTS.write_text(json.dumps(results) + "\n", encoding="utf-8")
    return results


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="part of the names of the cases wanted")
    parser.add_argument("--table", action="store_true", help="print the committed results")
    parser.add_argument("--worker", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve(next(case for case in CASES if case.name == options.only), options.worker)
        return
    if options.table:
        print(table(json.loads(RESULTS.read_text(encoding="utf-8"))))
        return
    rows = []
    for case in CASES:
        if options.only in case.name:
            rows.append(look(case, options.rounds))
            print(json.dumps(asdict(rows[-1])), flush=True)
    print(table(keep(rows)))


if __name__ == "__main__":
    main()
