"""Networks that strangers write: each is trained as plain PyTorch does to rounding, or refused beforehand.

For each of the networks of ``foreign_networks.py`` the check that begins an audit is made. What it lets
through is compared with plain PyTorch: the gradient of one batch at displaced weights with
``loss.backward()`` on a network of its own, and weights and buffers after five updates with a plain loop.
``measure`` reads the norm of the gradient in evaluation mode beside that of ``loss.backward()``.

    python benchmarks/foreign_models.py            # seconds
    python benchmarks/foreign_models.py --table    # the committed results as text

Writes ``benchmarks/results/foreign_models.json``.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from algobias.errors import BadInput
from algobias.levers.step import State
from algobias.probes.measure import measure
from algobias.seeding.states import own_randomness, reseed, seeded
from algobias.tasks.task import Task
from algobias.training.before.soundness import check_network
from algobias.training.engine.stacking import displaced
from algobias.training.setup import Setup
from foreign_networks import CLASSES, REAL, TOKENS, TOKENS_LONG, VOCABULARY, WIDTH
from machine import machine

RESULTS = Path(__file__).parent / "results" / "foreign_models.json"
UPDATES, SEED, RATE, MOMENTUM = 5, 3, 0.05, 0.9
EXACT = 2e-5
"""Largest relative error that is rounding, in float32; in bfloat16 the rounding of its weights."""


def loss(model: Any, batch: Any) -> Tensor:
    value = functional.cross_entropy(model(batch[0]), batch[1])
    return value + getattr(model, "auxiliary", 0.0)


def metric(model: Any, batch: Any) -> Tensor:
    return (model(batch[0]).argmax(-1) == batch[1]).double()


def task_of(build: Callable[[], nn.Module], tokens: bool) -> Task:
    """Sixty-four examples that nothing can be learnt from."""
    made = torch.Generator().manual_seed(0)
    x = (
        torch.randint(VOCABULARY, (64, TOKENS_LONG), generator=made)
        if tokens
        else torch.randn(64, WIDTH, generator=made)
    )
    y = torch.randint(CLASSES, (64,), generator=made)
    words = {"optimizer": "sgd", "momentum": MOMENTUM, "lr": RATE, "batch": 16, "epochs": 2}
    return Task("foreign", (x, y), (x, y), build, loss, metric, words, trivial=100 / CLASSES)


def examine(build: Callable[[], nn.Module], tokens: bool) -> dict[str, Any]:
    """What becomes of one network: refused with a message, or trained in an engine with these errors."""
    task = task_of(build, tokens)
    try:
        check_network(task.recipe(), task)
    except BadInput as error:
        return {"status": "refused", "message": str(error)}
    setup = Setup(task.recipe(), task, torch.device("cpu"))
    errors = {"gradient": gradient_error(setup), "updates": updates_error(setup)}
    rounding = EXACT if setup.initial((SEED,)).params.dtype != torch.bfloat16 else 16 * 2**-8
    return {
        "status": "exact" if max(errors.values()) <= rounding else "WRONG",
        "engine": "stacked" if setup.network.stacked else "looped",
        **{name: float(f"{error:.1e}") for name, error in errors.items()},
        "reading": reading(task, build),
    }


def plain_network(setup: Setup, state: State | None = None) -> nn.Module:
    """A network of its own, as anybody would make it, with the weights of a state copied in."""
    with seeded(SEED, "init", 0):
        model = setup.task.model()
    named = dict(model.named_parameters())
    if state is not None:
        with torch.no_grad():
            for name, value in state.layout.views(state.params).items():
                named[name].copy_(value)
    return model.train()


def gradient_error(setup: Setup) -> float:
    """Relative error of the gradient of one batch at displaced weights."""
    network, seeds = setup.network, (SEED, SEED + 1) if setup.network.stacked else (SEED,)
    single = displaced(network.initial(SEED), SEED)
    state = setup.initial(seeds)
    params = torch.stack([single.params, state.params[1]]) if network.stacked else single.params
    batch, key = setup.sampler(0, seeds)
    model = plain_network(setup, single)
    with own_randomness():
        grads, _ = network.gradient(state.with_params(params), batch, key)
        reseed(SEED, "model", 0)
        loss(model, own_batch(setup, 0)).backward()
    named = dict(model.named_parameters())
    expected = [named[name].grad for name in single.layout.names]
    pairs = zip(expected, single.layout.names, strict=True)
    dense = [torch.zeros_like(named[name]) if g is None else g.to_dense() for g, name in pairs]
    return distance(grads[0] if network.stacked else grads, torch.cat([g.reshape(-1) for g in dense]))


def updates_error(setup: Setup) -> float:
    """Largest relative error of weights and buffers after some updates, beside a loop with torch.optim."""
    seeds = (SEED, SEED + 1) if setup.network.stacked else (SEED,)
    state = setup.initial(seeds)
    memory = setup.transform.init(state)
    model = plain_network(setup)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=RATE, momentum=MOMENTUM)
    with own_randomness():
        for update in range(UPDATES):
            batch, key = setup.sampler(update, seeds)
            grads, after = setup.grad(state, batch, key)
            state, memory = setup.transform.update(
                grads, memory, State(state.params, after.buffers, state.layout)
            )
        for update in range(UPDATES):
            reseed(SEED, "model", update)
            optimizer.zero_grad()
            loss(model, own_batch(setup, update)).backward()
            for p in trained:
                p.grad = p.grad.to_dense() if p.grad is not None else torch.zeros_like(p)
            optimizer.step()
    row = (lambda t: t[0]) if setup.network.stacked else (lambda t: t)
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    found = {**state.layout.views(row(state.params)), **{name: row(b) for name, b in state.buffers.items()}}
    return max(distance(value, named[name].detach()) for name, value in found.items())


def own_batch(setup: Setup, update: int) -> Any:
    """The batch of one seed, whatever it is stacked with."""
    batch, _ = setup.sampler(update, (SEED,))
    return tuple(part[0] for part in batch) if setup.network.stacked else batch


def distance(one: Tensor, other: Tensor) -> float:
    size = float(other.double().norm())
    return float((one.double() - other.double()).norm()) / (size or 1.0)


def reading(task: Task, build: Callable[[], nn.Module]) -> str | float:
    """Relative error of a measured gradient norm in evaluation mode, or why there is none."""
    with seeded(SEED, "init", 0):
        model = build().eval()
    batch = task.train.data  # type: ignore[attr-defined]
    found = measure(model, [batch], loss, ["gradient_norm"])[0]
    if found.value is None:
        return str(found.reason)
    value = loss(model, batch)
    value.backward()
    grads = [p.grad.to_dense().reshape(-1).double() for p in model.parameters() if p.grad is not None]
    return float(f"{abs(found.value / float(torch.cat(grads).norm()) - 1):.1e}")


def examine_all() -> dict[str, dict[str, Any]]:
    """Every network, in order."""
    torch.set_num_threads(1)
    with warnings.catch_warnings(action="ignore"):  # torch on its own older ways
        networks = [(name, build, False) for name, build in REAL.items()]
        networks += [(name, build, True) for name, build in TOKENS.items()]
        return {name: examine(build, tokens) for name, build, tokens in networks}


def table(found: dict[str, dict[str, Any]]) -> str:
    lines = ["| network | becomes | gradient | 5 updates | why |", "|---|---|---|---|---|"]
    for name, row in found.items():
        if row["status"] == "refused":
            lines.append(f"| {name} | refused | | | {row['message']} |")
        else:
            told = f"{row['status']}, {row['engine']}"
            lines.append(f"| {name} | {told} | {row['gradient']:.0e} | {row['updates']:.0e} | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true")
    if parser.parse_args().table:
        print(table(json.loads(RESULTS.read_text())["networks"]))
        return
    found = examine_all()
    RESULTS.write_text(json.dumps({"machine": machine(), "networks": found}, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
