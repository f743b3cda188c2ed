"""Speed and agreement of stacked and one-by-one training, beside plain PyTorch doing the same work.

For each network the same data, initial weights, batches and updates go through

* ``stacked N``: the package's step on N seeds at once (``torch.func.vmap``), N = 1, 2, 4, 8, 20;
* ``looped``: the package's step, one seed after the other;
* ``plain``: a script as anybody writes it, ``nn.Module``, ``torch.optim.SGD``, ``zero_grad``, ``backward``,
  ``step``, one seed after the other.

One process, one thread. What is timed is the training step alone (draw the batch, gradient, update), as the
loop makes it; evaluation at checks is the same work for everybody and left out. All ways take turns within
each round, and ratios are taken within a round, so a machine that is busy with other things slows all of
them. Few updates are enough for timing. BatchNorm in train mode cannot be stacked by ``vmap``.

    python benchmarks/engine.py            # minutes; needs FashionMNIST and CIFAR-10 below ALGOBIAS_DATA
    python benchmarks/engine.py --table    # the committed results as text
    python benchmarks/engine.py NAME...    # some of the networks or ``widths`` only, merged into the results

Writes ``benchmarks/results/engine.json``. ``widths`` finds the size of MLP up to which stacking pays: that is
``STACK_PARAMETERS`` in ``src/algobias/training/engine/stacking.py``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from algobias.models.mlp import mlp
from algobias.seeding.streams import generator
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.engine.stacking import STACK_PARAMETERS
from algobias.training.setup import Setup
from machine import machine

RESULTS = Path(__file__).parent / "results" / "engine.json"
STACKS = (1, 2, 4, 8, 20)
ROUNDS = 5
WIDTHS = (32, 64, 128, 200, 256, 360, 512, 724, 1024)


@dataclass(frozen=True)
class Case:
    """A network with its data.

    Attributes:
        task: As on the command line.
        batch: Examples per update.
        lr: Rate; momentum is 0.9.
        stacks: Whether vmap can stack it.
        updates: Updates of one timing, of one seed.
        sizes: Numbers of stacked seeds that are timed.
        compared: Updates after which weights are compared.
    """

    task: str
    batch: int
    lr: float
    stacks: bool
    updates: int
    sizes: tuple[int, ...] = STACKS
    compared: tuple[int, ...] = (1, 20)


FASHION = "fashion_mnist:train=1000,test=4000,pool=2,model="
CIFAR = "cifar10:train=2000,test=100,model=resnet,norm="
CASES = {
    "digits MLP, batch 16": Case("digits", 16, 0.05, True, 100),
    "digits MLP, batch 256": Case("digits", 256, 0.05, True, 20),
    "conv net, GroupNorm, batch 32": Case(FASHION + "convgn", 32, 0.02, True, 20),
    "conv net, GroupNorm, batch 250": Case(FASHION + "convgn", 250, 0.02, True, 5),
    "conv net, BatchNorm, batch 32": Case(FASHION + "convbn", 32, 0.02, False, 20),
    "conv net on 32x32, GroupNorm, batch 32": Case(
        CIFAR + "group,model=convnet", 32, 0.02, True, 5, compared=(1, 5)
    ),
    "ResNet-20, GroupNorm, batch 32": Case(CIFAR + "group", 32, 0.01, True, 1, (1, 2, 4), (1, 5)),
    "ResNet-20, BatchNorm, batch 32": Case(CIFAR + "batch", 32, 0.01, False, 1, compared=(1, 5)),
}


def setup_of(task: Task, batch: int, lr: float, engine: str) -> Setup:
    """The package's training of ``task``, at constant rate."""
    recipe = task.recipe().edit(
        batch=batch,
        engine=engine,
        optimizer__lr=lr,
        optimizer__weight_decay=0.0,
        schedule__name="constant",
        budget={"updates": 10_000},
    )
    return Setup(recipe, task, torch.device("cpu"))


class Ours:
    """The package's step on one group of seeds, as ``train`` makes it."""

    def __init__(self, setup: Setup, seeds: Sequence[int]) -> None:
        self.setup, self.seeds = setup, tuple(seeds)
        self.state = setup.initial(self.seeds)
        self.memory = setup.transform.init(self.state)
        self.update = 0

    def run(self, updates: int) -> None:
        setup = self.setup
        for _ in range(updates):
            batch, key = setup.sampler(self.update, self.seeds)
            grads, self.state = setup.grad(self.state, batch, key)
            self.state, self.memory = setup.transform.update(grads, self.memory, self.state)
            self.update += 1

    def weights(self) -> Tensor:
        """Parameters of every seed, [seeds, P]."""
        params = self.state.params
        return params if params.dim() == 2 else params[None]


class Plain:
    """The same work as a plain PyTorch script."""

    def __init__(self, task: Task, setup: Setup, seed: int) -> None:
        self.seed, self.batch = seed, setup.recipe.batch
        self.x, self.y = task.train.gather(torch.arange(len(task.train)), (seed,), 0)
        self.per_epoch = len(self.x) // self.batch
        self.model = task.build_model(setup.recipe.model)
        start = setup.network.initial(seed)
        views = start.layout.views(start.params)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(views[name].reshape(parameter.shape))
        self.names = start.layout.names
        self.model.train()
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=setup.recipe.optimizer.lr, momentum=setup.recipe.optimizer.momentum
        )
        self.update = 0
        self.order = torch.empty(0, dtype=torch.int64)

    def run(self, updates: int) -> None:
        for _ in range(updates):
            epoch, position = divmod(self.update, self.per_epoch)
            if position == 0:
                self.order = torch.from_numpy(generator(self.seed, "order", epoch).permutation(len(self.x)))
            index = self.order[position * self.batch : (position + 1) * self.batch]
            loss = nn.functional.cross_entropy(self.model(self.x[index]), self.y[index])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.update += 1

    def weights(self) -> Tensor:
        """Parameters, [1, P]."""
        named = dict(self.model.named_parameters())
        return torch.cat([named[name].detach().reshape(-1) for name in self.names])[None]


Runner = Ours | Plain


def ways_of(task: Task, case: Case) -> dict[str, tuple[int, Callable[[], Runner]]]:
    """Way -> (seeds, how to start it)."""
    looped = setup_of(task, case.batch, case.lr, "looped")
    ways: dict[str, tuple[int, Callable[[], Runner]]] = {
        "plain": (1, lambda: Plain(task, looped, 0)),
        "looped": (1, lambda: Ours(looped, (0,))),
    }
    if case.stacks:
        stacked = setup_of(task, case.batch, case.lr, "stacked")
        for size in case.sizes:
            ways[f"stacked {size}"] = (size, lambda size=size: Ours(stacked, range(size)))
    return ways


def speeds(
    ways: Mapping[str, tuple[int, Callable[[], Runner]]], updates: int, rounds: int
) -> dict[str, list[float]]:
    """Seed-updates per second of every way in every round; the ways take turns."""
    running = {name: (size, start()) for name, (size, start) in ways.items()}
    for _, runner in running.values():
        runner.run(2)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        # Backwards every other round, so that a drift of the machine favours nobody.
        order = list(running.items())[:: 1 if number % 2 == 0 else -1]
        for name, (size, runner) in order:
            started = time.perf_counter()
            runner.run(updates)
            found[name].append(size * updates / (time.perf_counter() - started))
    return found


def agreement(task: Task, case: Case, updates: int) -> dict[str, Any]:
    """Largest difference of any weight, over the largest weight, to plain PyTorch, after so many updates."""
    ways = ways_of(task, case)
    chosen = ["looped"] + (["stacked 4"] if case.stacks else [])
    reached = {}
    for name in ["plain", *chosen]:
        runner = ways[name][1]()
        runner.run(updates)
        reached[name] = runner.weights()[0].double()
    pairs = [(name, "plain") for name in chosen] + ([("stacked 4", "looped")] if case.stacks else [])
    scale = float(reached["plain"].abs().max())
    return {
        "updates": updates,
        "largest_relative_difference": {
            f"{one} - {other}": float((reached[one] - reached[other]).abs().max()) / scale
            for one, other in pairs
        },
    }


def summary(found: Mapping[str, Sequence[float]], against: str) -> dict[str, Any]:
    """Medians over rounds, and medians of the ratios within a round."""
    return {
        way: {
            "seed_updates_per_second": round(statistics.median(values), 2),
            f"ratio_to_{against}": round(
                statistics.median(a / b for a, b in zip(values, found[against], strict=True)), 3
            ),
            "rounds": [round(value, 2) for value in values],
        }
        for way, values in found.items()
    }


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """One network: speeds and agreement."""
    task = load_task(case.task)
    setup = setup_of(task, case.batch, case.lr, "auto")
    found = speeds(ways_of(task, case), case.updates, rounds)
    return {
        "task": case.task,
        "batch": case.batch,
        "parameters": setup.network.size,
        "stacks_by_rule": setup.network.stacked,
        "updates_timed": case.updates,
        "ways": summary(found, "plain"),
        "agreement": [agreement(task, case, updates) for updates in case.compared],
    }


def wide_task(width: int) -> Task:
    """The digits with an MLP of another width."""
    digits = load_task("digits")
    (x, y), (z, t) = (
        source.gather(torch.arange(len(source)), (0,), 0) for source in (digits.train, digits.test)
    )
    return Task(
        f"digits, width {width}",
        train=(x, y),
        test=(z, t),
        model=partial(mlp, 64, (width, width), 10),
        loss=classification_loss,
        metric=accuracy,
        recipe={"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "batch": 16, "epochs": 40},
        trivial=10.0,
        classes=10,
    )


def widths(rounds: int) -> dict[str, Any]:
    """Stacked against looped for MLPs of growing width, batch 16 and 256."""
    rows = []
    for batch in (16, 256):
        for width in WIDTHS:
            case = Case("digits", batch, 0.05, True, 0, (4, 20))
            ways = ways_of(wide_task(width), case)
            size = setup_of(wide_task(width), batch, 0.05, "looped").network.size
            # About a twentieth of a second of one seed's updates on an idle core.
            updates = max(2, round(40 / (1 + (size * batch) / 4e5)))
            found = summary(speeds(ways, updates, rounds), "looped")
            rows.append({"batch": batch, "width": width, "parameters": size, "ways": found})
            shown = {way: one["ratio_to_looped"] for way, one in found.items()}
            print(f"width {width}, batch {batch}, {size} parameters: {shown}", flush=True)
    return {"stack_parameters": STACK_PARAMETERS, "rows": rows}


def table(result: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    columns = ["plain", "looped", *(f"stacked {size}" for size in STACKS)]
    lines = [
        "Seed-updates per second (ratio to plain PyTorch within a round), medians:",
        "",
        f"| network | parameters | {' | '.join(columns)} |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for name, one in result.get("networks", {}).items():
        cells = []
        for way in columns:
            found = one["ways"].get(way)
            cells.append(
                f"{found['seed_updates_per_second']:.4g} ({found['ratio_to_plain']:.2f})" if found else ""
            )
        chosen = "stacked" if one["stacks_by_rule"] else "looped"
        lines.append(f"| {name} (rule: {chosen}) | {one['parameters']} | {' | '.join(cells)} |")
    lines += [
        "",
        "Largest difference of any weight over the largest weight:",
        "",
        "| network | updates | looped - plain | stacked - plain | stacked - looped |",
        "|---|---|---|---|---|",
    ]
    for name, one in result.get("networks", {}).items():
        for after in one["agreement"]:
            found = after["largest_relative_difference"]
            cells = [
                f"{found[pair]:.1e}" if pair in found else ""
                for pair in ("looped - plain", "stacked 4 - plain", "stacked 4 - looped")
            ]
            lines.append(f"| {name} | {after['updates']} | {' | '.join(cells)} |")
    if "widths" in result:
        lines += [
            "",
            "MLPs 64-h-h-10, speed over one by one (the rule stacks up to "
            f"{result['widths']['stack_parameters']} parameters):",
            "",
            "| batch | h | parameters | stacked 4 | stacked 20 |",
            "|---|---|---|---|---|",
        ]
        for row in result["widths"]["rows"]:
            ratios = [row["ways"][f"stacked {size}"]["ratio_to_looped"] for size in (4, 20)]
            shown = " | ".join(f"{ratio:.2f}" for ratio in ratios)
            lines.append(f"| {row['batch']} | {row['width']} | {row['parameters']} | {shown} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks, or widths; default: all")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--table", action="store_true", help="print the results that are there")
    given = parser.parse_args()
    known = [*CASES, "widths"]
    for name in given.names:
        if name not in known:
            parser.error(f"unknown name {name!r}; one of {'; '.join(known)}")
    result: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not given.table:
        torch.set_num_threads(1)
        result["what"] = "seed-updates per second of the training step, one process, one thread, ways in turn"
        result["environment"] = machine()
        for name in given.names or known:
            if name == "widths":
                result["widths"] = widths(given.rounds)
            else:
                result.setdefault("networks", {})[name] = measure(CASES[name], given.rounds)
                print(name, "done", flush=True)
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
