"""What the emulation of low precision costs: one training step against the same step in float32.

    python benchmarks/precision_step.py            # a few minutes on one core

One process, one thread, thread time, the best of several rounds; float32 and each set of operands take turns
in every round, so that what else the machine does meets all of them. Results go to
``benchmarks/results/precision_step.json``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from algobias.levers.registry import parse
from algobias.models.resnet import resnet
from algobias.models.transformer import GPT
from algobias.recipe import Recipe
from algobias.tasks.task import Task
from algobias.training.setup import Setup
from machine import machine

RESULTS = Path(__file__).parent / "results" / "precision_step.json"
SETS = ("int8", "grad-int4", "grad-luq", "fp8", "mxfp8", "mxfp4", "nvfp4")
ROUNDS, STEPS = 7, 4


def images(count: int, classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, 32, 32, generator=made), torch.randint(classes, (count,), generator=made)


def classified(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def right(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return 100.0 * (model(batch[0]).argmax(-1) == batch[1])


def next_token(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


def tokens_right(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return 100.0 * (model(batch[0]).argmax(-1) == batch[1]).float().mean(-1)


def problems() -> dict[str, tuple[Task, int]]:
    """Name -> task, and how many seeds are stacked (0: one run by itself)."""
    made = torch.Generator().manual_seed(0)
    text = torch.randint(65, (64, 128), generator=made), torch.randint(65, (64, 128), generator=made)
    rows = torch.randn(800, 64, generator=made), torch.randint(10, (800,), generator=made)
    words = {"optimizer": "sgd", "lr": 0.1, "updates": 10}

    def mlp() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))

    pictures = images(128)
    return {
        "ResNet-8, 32 images of 32x32": (
            Task("resnet", pictures, pictures, lambda: resnet(8), classified, right, {**words, "batch": 32}),
            0,
        ),
        "GPT, 2 layers of 256, 8 x 128 tokens": (
            Task(
                "gpt", text, text, lambda: GPT(65, 128, layers=2, width=256, heads=4, hidden=640),
                next_token, tokens_right, {**words, "batch": 8},
            ),
            0,
        ),
        "MLP 64-32-32-10, batch 16, 8 seeds stacked": (
            Task("mlp", rows, rows, mlp, classified, right, {**words, "batch": 16}),
            8,
        ),
    }  # fmt: skip


def stepper(task: Task, recipe: Recipe, seeds: int) -> Callable[[], object]:
    """One gradient of a recipe, ready to be called."""
    setup = Setup(recipe.edit(engine="stacked" if seeds else "looped"), task, torch.device("cpu"))
    numbers = tuple(range(seeds)) if seeds else (0,)
    state = setup.initial(numbers)
    batch, key = setup.sampler(0, numbers)
    return lambda: setup.grad(state, batch, key)


def main() -> None:
    torch.set_num_threads(1)
    found = []
    for name, (task, seeds) in problems().items():
        plain = task.recipe()
        steps = {"float32": stepper(task, plain, seeds)}
        steps |= {one: stepper(task, parse(f"precision:{one}").apply(plain), seeds) for one in SETS}
        best = dict.fromkeys(steps, float("inf"))
        for _ in range(ROUNDS):
            for one, step in steps.items():
                begun = time.thread_time()
                for _ in range(STEPS):
                    step()
                best[one] = min(best[one], (time.thread_time() - begun) / STEPS)
        ratios = {
            one: round(seconds / best["float32"], 2) for one, seconds in best.items() if one != "float32"
        }
        found.append({"network": name, "float32_ms": round(1e3 * best["float32"], 2), "times": ratios})
        print(name, found[-1], flush=True)
    RESULTS.write_text(
        json.dumps({"environment": machine(), "steps": found}, indent=1) + "\n", encoding="utf-8"
    )
    print(table(found))


def table(found: list[dict[str, object]]) -> str:
    """A line for each network."""
    lines = ["| network | float32, ms | " + " | ".join(SETS) + " |", "|" + "---|" * (2 + len(SETS))]
    for one in found:
        times: dict[str, float] = one["times"]  # type: ignore[assignment]
        cells = " | ".join(f"{times[each]:.1f}" for each in SETS)
        lines.append(f"| {one['network']} | {one['float32_ms']} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
