"""Largest stable learning rate with stale gradients: the training loop against the exact thresholds.

One network of 41 weights, each with a quadratic loss of its own sharpness, from 1 % below to 1 % above the
threshold of theory in steps of 0.05 %, is trained by ``train`` with the delay lever. The threshold found is
midway between the sharpest weight that shrinks and the next one, which grows.

    python benchmarks/delay_thresholds.py              # delays 0 to 32, three kinds of momentum
    python benchmarks/delay_thresholds.py --delays 0 1 8
    python benchmarks/delay_thresholds.py --table      # the committed results as text

Writes ``benchmarks/results/delay_thresholds.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from algobias.levers.registry import parse
from algobias.tasks.task import Task
from algobias.theory.stability import Algorithm
from algobias.training.loop import train

RESULTS = Path(__file__).parent / "results" / "delay_thresholds.json"
KINDS = {"none": (0.0, False), "heavy ball": (0.9, False), "shifted": (0.9, True)}
OFFSETS = torch.linspace(-0.01, 0.01, 41, dtype=torch.float64)


class Weights(nn.Module):
    """Weights that all start at 1."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(len(OFFSETS), dtype=torch.float64))


def quadratic(sharpness: Tensor, updates: int) -> Task:
    """Sum over weights of sharpness w^2 / 2; data are there in name only."""
    x = torch.zeros(2, 1, dtype=torch.float64)
    return Task(
        "quadratic",
        x,
        x,
        Weights,
        lambda model, batch: (sharpness * model.w.square()).sum() / 2 + 0 * batch.sum(),
        lambda model, batch: -(sharpness * model.w.square()).sum() + 0 * batch[:, 0],
        {"lr": 1.0, "batch": 2, "updates": updates},
        trivial=-1.0,
    )


class Envelope:
    """Largest size of every weight in the second and in the last quarter of the updates."""

    def __init__(self, updates: int) -> None:
        self.updates = updates
        self.middle = self.late = torch.zeros(len(OFFSETS), dtype=torch.float64)

    def wants_weights(self, update: int) -> bool:
        return 0.25 <= update / self.updates < 0.5 or update > 0.75 * self.updates

    def on_live_weights(self, seed: int, update: int, tensors: dict[str, Tensor]) -> None:
        size = tensors["w"].abs()
        if update < 0.5 * self.updates:
            self.middle = torch.maximum(self.middle, size)
        else:
            self.late = torch.maximum(self.late, size)

    def wants_snapshot(self) -> bool:
        return False

    should_stop = wants_snapshot

    def on_check(self, *given: Any) -> None: ...

    on_weights = on_snapshot = on_check


def threshold(delay: int, momentum: float, shifted: bool) -> dict[str, Any]:
    """Critical product of the training loop, and of theory."""
    exact = Algorithm(momentum, delay=delay, shifted=shifted).critical_product
    updates = 1500 + 300 * delay
    task = quadratic(exact * (1 + OFFSETS), updates)
    recipe = task.recipe().edit(optimizer__momentum=0.0 if shifted else momentum, engine="looped")
    text = f"delay:{delay}"
    if shifted:  # this option keeps lr / (1 - m), so that 1 / (1 - m) becomes 1
        text += f",momentum=shifted,shift={momentum}"
        recipe = recipe.edit(optimizer__lr=1 / (1 - momentum))
    watch = Envelope(updates)
    train(parse(text).apply(recipe), task, (0,), observers=(watch,))
    shrinks = (watch.late < watch.middle).tolist()
    count = sum(shrinks)
    assert shrinks == sorted(shrinks, reverse=True), "stable below and unstable above one sharpness"
    assert 0 < count < len(OFFSETS), "a threshold within one percent of theory's"
    found = exact * (1 + float(OFFSETS[count - 1] + OFFSETS[count]) / 2)
    return {"delay": delay, "theory": exact, "found": found, "error": found / exact - 1, "updates": updates}


def table(results: dict[str, Any]) -> str:
    """The results as a table for reading."""
    lines = ["delay  " + "".join(f"{kind:>28}" for kind in KINDS)]
    for rows in zip(*(results[kind] for kind in KINDS), strict=True):
        cells = "".join(f"{row['found']:>18.6f} ({row['error']:+.3%})" for row in rows)
        lines.append(f"{rows[0]['delay']:>5}  {cells}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--delays", type=int, nargs="+", default=list(range(33)))
    parser.add_argument("--table", action="store_true", help="print the committed results")
    asked = parser.parse_args()
    if asked.table:
        print(table(json.loads(RESULTS.read_text())))
        return
    torch.set_num_threads(1)
    started = time.perf_counter()
    results: dict[str, Any] = {
        kind: [threshold(delay, *numbers) for delay in asked.delays] for kind, numbers in KINDS.items()
    }
    results["largest_error"] = max(abs(row["error"]) for kind in KINDS for row in results[kind])
    results["seconds"] = round(time.perf_counter() - started, 1)
    print(table(results))
    if asked.delays == list(range(33)):
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
