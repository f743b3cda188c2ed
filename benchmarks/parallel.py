"""What simulating workers costs, and what each building block adds to an update.

    python benchmarks/parallel.py            # about two minutes
    python benchmarks/parallel.py --loading  # only the row of RepeatAugment, put into the committed results
    python benchmarks/parallel.py --table    # the committed results as text

*Simulation*: time of an update of local SGD with W workers (each B examples) against W updates of separate
networks with B examples, on the digits MLP; alone and with eight seeds stacked. *Blocks*: time of an update
of a plain torch loop with and without the block; for RepeatAugment an epoch of indices through a DataLoader
without training, over as many of torch's RandomSampler. Both sides take turns in one process with one thread;
medians of ratios over rounds.

Writes ``benchmarks/results/parallel.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

RESULTS = Path(__file__).parent / "results" / "parallel.json"
ROUNDS = 9


def ratio(one: Callable[[], None], two: Callable[[], None], rounds: int = ROUNDS) -> dict[str, float]:
    """Seconds of both, and the median over rounds of first over second; they take turns."""
    one()
    two()
    times: list[tuple[float, float]] = []
    for _ in range(rounds):
        spent = []
        for run in (one, two):
            start = time.perf_counter()
            run()
            spent.append(time.perf_counter() - start)
        times.append((spent[0], spent[1]))
    return {
        "seconds": statistics.median(a for a, _ in times),
        "reference_seconds": statistics.median(b for _, b in times),
        "ratio": statistics.median(a / b for a, b in times),
    }


def updates(recipe: Any, task: Any, seeds: tuple[int, ...], count: int) -> Callable[[], None]:
    """So many updates of a recipe, from the start."""
    from algobias.training.setup import Setup

    setup = Setup(recipe, task, torch.device("cpu"))
    state = setup.initial(seeds)
    memory = setup.transform.init(state)

    def run() -> None:
        now, kept = state, memory
        for update in range(count):
            batch, key = setup.sampler(update, seeds)
            grads, after = setup.grad(setup.transform.at(now, kept, key), batch, key)
            now, kept = setup.transform.update(grads, kept, replace(now, buffers=after.buffers))

    return run


def simulation(workers: int, seeds: int, count: int = 20) -> dict[str, float]:
    """One simulated run of W workers against W runs with a worker's batch, one after the other."""
    from algobias.levers.registry import parse
    from algobias.tasks.registry import load_task

    task = load_task("digits")
    engine = "stacked" if seeds > 1 else "looped"
    common = task.recipe().edit(batch=4 * workers, engine=engine)
    single = updates(task.recipe().edit(batch=4, engine=engine), task, tuple(range(seeds)), count)
    together = updates(
        parse(f"local_sgd:16,workers={workers}").apply(common), task, tuple(range(seeds)), count
    )

    def separate() -> None:
        for _ in range(workers):
            single()

    return ratio(together, separate)


def blocks() -> dict[str, dict[str, float]]:
    """An update of a plain loop with each building block over one without."""
    from algobias.components.delay import DelayedGradients, ShiftedMomentum
    from algobias.components.drop_compute import DropCompute
    from algobias.components.error_feedback import ErrorFeedback
    from algobias.components.ghost_norm import ghost_batch_norm
    from algobias.components.local_sgd import LocalSGD
    from algobias.components.sam import SAM

    torch.manual_seed(0)
    x, y = torch.randn(64, 1, 14, 14), torch.randint(0, 10, (64,))

    def network() -> nn.Module:
        torch.manual_seed(0)
        layers = (
            nn.Conv2d(1, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(1152, 64),
            nn.ReLU(),
        )
        return nn.Sequential(*layers, nn.Linear(64, 10))

    def loop(net: nn.Module, optimizer: Any, more: Callable[[], None] = lambda: None) -> Callable[[], None]:
        def run() -> None:
            for _ in range(20):
                nn.functional.cross_entropy(net(x), y).backward()
                more()
                optimizer.step()
                optimizer.zero_grad()

        return run

    def sgd(net: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)

    def plain() -> Callable[[], None]:
        net = network()
        return loop(net, sgd(net))

    found: dict[str, dict[str, float]] = {}
    net = network()
    ghost_batch_norm(net, 16)
    found["GhostBatchNorm, chunks of 16 of 64"] = ratio(loop(net, sgd(net)), plain())
    net = network()
    delayed = DelayedGradients(sgd(net), 4)

    def stale() -> None:
        for _ in range(20):
            with delayed.stale():
                nn.functional.cross_entropy(net(x), y).backward()
            delayed.step()
            delayed.zero_grad()

    found["DelayedGradients, 4 updates"] = ratio(stale, plain())
    other = network()
    inner = torch.optim.SGD(other.parameters(), lr=1e-4)  # the momentum is the block's
    found["ShiftedMomentum, 4 updates"] = ratio(loop(other, ShiftedMomentum(inner, 0.9, 4)), plain())
    pair = [network() for _ in range(2)]
    steps = [sgd(one) for one in pair]
    averager = LocalSGD(pair, steps, every=4)

    def local() -> None:
        for _ in range(20):
            for one, step in zip(pair, steps, strict=True):
                nn.functional.cross_entropy(one(x), y).backward()
                step.step()
                step.zero_grad()
            averager.step()

    def two() -> None:
        plain_run()
        plain_run()

    plain_run = plain()
    found["LocalSGD, 2 replicas, H = 4 (over two plain loops)"] = ratio(local, two)
    fed = network()
    found["ErrorFeedback, signs"] = ratio(loop(fed, ErrorFeedback(sgd(fed), "sign")), plain())
    sharp, drop = network(), DropCompute(float("inf"))
    optimizer = sgd(sharp)
    sam = SAM(sharp, optimizer, rho=0.05)

    def flat() -> None:
        for _ in range(20):
            nn.functional.cross_entropy(sharp(x), y).backward()
            with sam.perturbed():
                nn.functional.cross_entropy(sharp(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()

    found["SAM (two gradients an update)"] = ratio(flat, plain())
    micro, step = network(), None
    step = sgd(micro)

    def accumulate(with_drop: bool) -> Callable[[], None]:
        def run() -> None:
            for _ in range(20):
                parts = list(zip(x.split(16), y.split(16), strict=True))
                for a, b in drop.until_late(parts) if with_drop else parts:
                    nn.functional.cross_entropy(micro(a), b).backward()
                if with_drop:
                    drop.scale(micro.parameters())
                step.step()
                step.zero_grad()

        return run

    found["DropCompute, 4 micro-batches (over plain accumulation)"] = ratio(
        accumulate(True), accumulate(False)
    )
    return found


def loading() -> dict[str, dict[str, float]]:
    """One epoch through a DataLoader: 4 copies of 4,096 examples against as many random indices."""
    from torch.utils.data import DataLoader, RandomSampler

    from algobias.components.repeat_augment import RepeatAugment

    data, copies = torch.arange(4096), 4
    order = RepeatAugment(len(data), copies)
    repeated = DataLoader(data, batch_size=64, sampler=order)
    shuffled = DataLoader(data, batch_size=64, sampler=RandomSampler(data, num_samples=copies * len(data)))

    def ours() -> None:
        for _ in order.follow(repeated):
            pass

    def theirs() -> None:
        for _ in shuffled:
            pass

    return {"RepeatAugment, 4 copies, loading alone (over RandomSampler)": ratio(ours, theirs, 4 * ROUNDS)}


def table(found: dict[str, Any]) -> str:
    """Both tables as Markdown."""
    lines = ["| simulated | time over separate replicas |", "|---|---|"]
    lines += [f"| {name} | {one['ratio']:.2f} |" for name, one in found["simulation"].items()]
    lines += ["", "| block | time of an update over one without |", "|---|---|"]
    lines += [f"| {name} | {one['ratio']:.2f} |" for name, one in found["blocks"].items()]
    return "\n".join(lines)


def main() -> None:
    from machine import machine

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--loading", action="store_true")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(RESULTS.read_text(encoding="utf-8"))))
        return
    torch.set_num_threads(1)
    if options.loading:
        found = json.loads(RESULTS.read_text(encoding="utf-8"))
        found["blocks"] |= loading()
    else:
        cases = [(workers, seeds) for seeds in (1, 8) for workers in (2, 4, 8, 16)]
        found = {
            "environment": machine(),
            "simulation": {f"{w} workers, {s} seed{'s' * (s > 1)}": simulation(w, s) for w, s in cases},
            "blocks": blocks() | loading(),
        }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
