"""The one training loop. Seeds are stacked or looped over; every step is the same functional step."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.levers.base import Context, Part
from algobias.levers.optimizer import build_transform
from algobias.levers.registry import build_part
from algobias.levers.schedule import rate
from algobias.levers.step import GradFn, Sampler, State, Transform, Tree
from algobias.recipe import Recipe
from algobias.tasks.task import Task
from algobias.training.cost import StepCost, cost_of, measure_step
from algobias.training.device import exact_arithmetic
from algobias.training.evaluation import EvaluationSet
from algobias.training.horizon import Horizon
from algobias.training.memory import pack, select, unpack
from algobias.training.network import Network, own_randomness, stack
from algobias.training.observers import Check, Interrupted, Observer, Snapshot
from algobias.training.outcome import Curve, Outcome
from algobias.training.sampler import build_sampler

LOOP_REVISION = 1
"""Raised by hand when the loop leads to other results; part of every run's address."""

ASK_EVERY = 50
ASK_SECONDS = 0.5
"""Observers are asked whether to save or stop at every check, and between checks so often at least."""


def train(
    recipe: Recipe,
    task: Task,
    seeds: Sequence[int],
    *,
    device: str = "cpu",
    resume: Mapping[int, Snapshot] | None = None,
    observers: Sequence[Observer] = (),
) -> list[Outcome]:
    """Train one recipe with each of ``seeds``.

    The result of a seed does not depend, on one CPU to the last bit, on which other seeds are trained
    with it, nor on whether it was interrupted and resumed; on CUDA as far as
    :func:`~algobias.training.device.exact_arithmetic` goes. Memory: per stacked seed 4 P floats (weights,
    gradient, new weights, momentum; Adam one more) plus the activations of one batch.

    Args:
        recipe: What to train.
        task: Where data, network, loss and metric come from; ``recipe.task`` is its name.
        seeds: One run for each.
        device: A torch device.
        resume: Snapshots to go on from, by seed; all at the same update.
        observers: Told of checks, weights and snapshots; may ask to stop.

    Returns:
        One outcome per seed, in order.

    Raises:
        BadInput: The recipe is impossible for the task, or the task's loss or metric misbehaves.
        Interrupted: An observer asked to stop; snapshots have been handed out.
    """
    setup = Setup(recipe, task, torch.device(device))
    resume = resume or {}
    groups = [tuple(seeds)] if setup.network.stacked else [(seed,) for seed in seeds]
    outcomes: dict[int, Outcome] = {}
    with own_randomness(), exact_arithmetic(setup.network.device):
        for group in groups:
            for outcome in _train_group(setup, group, resume, observers):
                outcomes[outcome.seed] = outcome
    return [outcomes[seed] for seed in seeds]


class Setup:
    """Everything of a recipe that does not depend on the seed.

    Args:
        recipe: The recipe.
        task: Its task.
        device: Where tensors live.
    """

    def __init__(self, recipe: Recipe, task: Task, device: torch.device) -> None:
        if recipe.examples != len(task.train):
            raise BadInput(
                "recipe.examples", recipe.examples, f"the {len(task.train)} training examples of the task"
            )
        self.recipe, self.task = recipe, task
        parts: list[Part] = [build_part(spec) for spec in recipe.parts]
        used = task.used_index(recipe.data)
        context = Context(recipe, len(used), task.classes, task.labels, task.replace_labels)
        self.network = Network(task, recipe, parts, device)
        source = task.train.to(device)
        self.sampler: Sampler = build_sampler(
            source, used, recipe, parts, context, stacked=self.network.stacked
        )
        self.grad: GradFn = self.network.gradient
        self.transform: Transform = build_transform(recipe.optimizer, rate(recipe))
        for part in parts:
            self.grad = part.gradient(self.grad, context)
            self.transform = part.update(self.transform, context)
        fit = task.fit_index(used)
        self.fit_examples = EvaluationSet.of(source, fit, task.weight)
        self.test_examples = EvaluationSet.of(task.test.to(device), None, task.weight)
        self.horizon = Horizon(recipe)
        self._step_cost: StepCost | None = None

    def initial(self, seeds: Sequence[int]) -> State:
        """The untrained networks."""
        states = [self.network.initial(seed) for seed in seeds]
        return stack(states) if self.network.stacked else states[0]

    def step_cost(self) -> StepCost:
        """Measured cost of one update of one run; measured once."""
        if self._step_cost is None:
            state, network = self.initial((0,)), self.network
            self._step_cost = measure_step(
                state, self.sampler, self.grad, self.transform, 0, lambda: network.gradients
            )
        return self._step_cost


@dataclass
class _Record:
    """What is known of one seed's run while it is being trained."""

    seed: int
    checks: list[Check] = field(default_factory=list)
    kept_at: float = math.inf
    trivial: float = math.nan
    gradients: int = 0
    seconds: float = 0.0
    per_example: Tensor | None = None
    also: dict[str, float] = field(default_factory=dict)
    sample: str | None = None

    def numbers(self) -> dict[str, Any]:
        return {
            "kept_at": self.kept_at,
            "trivial": self.trivial,
            "gradients": self.gradients,
            "seconds": self.seconds,
            "also": self.also,
            "sample": self.sample,
        }


def _train_group(
    setup: Setup, seeds: tuple[int, ...], resume: Mapping[int, Snapshot], observers: Sequence[Observer]
) -> list[Outcome]:
    step_cost = setup.step_cost()
    state = setup.initial(seeds)
    memory = setup.transform.init(state)
    records = [_Record(seed) for seed in seeds]
    update = 0
    if any(seed in resume for seed in seeds):
        update, state, memory = _restore(setup, records, state, memory, resume)
    else:
        trivial = _trivial(setup, state)
        for row, record in enumerate(records):
            record.trivial = trivial[row]
    outcomes: list[Outcome] = []
    clock = time.perf_counter()

    while True:
        stops = [setup.horizon.next_stop(record.checks) for record in records]
        ended = [row for row, stop in enumerate(stops) if stop is None]
        if ended:
            for row in ended:
                _save(
                    setup,
                    records[row],
                    update,
                    *select(state, memory, [row], setup.network.stacked),
                    observers,
                )
                outcomes.append(_outcome(setup, step_cost, records[row]))
            going = [row for row, stop in enumerate(stops) if stop is not None]
            if not going:
                return outcomes
            state, memory = select(state, memory, going, setup.network.stacked)
            records = [records[row] for row in going]
            stops = [stops[row] for row in going]
        seeds = tuple(record.seed for record in records)
        last = min(stop for stop in stops if stop is not None)

        before = setup.network.gradients
        setup.network.left_out = 0
        checked = False
        while not checked:
            batch, key = setup.sampler(update, seeds)
            grads, state = setup.grad(state, batch, key)
            state, memory = setup.transform.update(grads, memory, state)
            update += 1
            clock += _show(setup, seeds, update, state, memory, observers)
            checked = update in setup.horizon.checks or update >= last
            overdue = update % ASK_EVERY == 0 or time.perf_counter() - clock > ASK_SECONDS
            if overdue and not checked and _asked(observers):
                break
        now = time.perf_counter()
        left_out = torch.as_tensor(setup.network.left_out).expand(len(records)).tolist()
        for record, skipped in zip(records, left_out, strict=True):
            record.gradients += setup.network.gradients - before - skipped
            record.seconds += (now - clock) / len(records)
        clock = now

        if checked:
            _check(setup, records, update, setup.transform.weights(state, memory), observers)
        if _asked(observers):
            for row, record in enumerate(records):
                _save(setup, record, update, *select(state, memory, [row], setup.network.stacked), observers)
            if any(observer.should_stop() for observer in observers):
                raise Interrupted


def _asked(observers: Sequence[Observer]) -> bool:
    return any(observer.wants_snapshot() or observer.should_stop() for observer in observers)


def _check(
    setup: Setup, records: Sequence[_Record], update: int, weights: State, observers: Sequence[Observer]
) -> None:
    """Evaluate all runs, add a row to each curve, and keep weights that are worth it."""
    loss = setup.network.loss(weights, setup.fit_examples)
    metric = setup.network.metric(weights, setup.fit_examples)
    test = setup.network.metric(weights, setup.test_examples)
    losses = loss.reshape(-1).tolist()
    train_metrics = metric.mean(-1).reshape(-1).tolist()
    test_metrics = test.mean(-1).reshape(-1).tolist()
    for row, record in enumerate(records):
        reached = any(check.planned for check in record.checks)
        finite = math.isfinite(losses[row])
        planned = not reached and (not finite or setup.horizon.is_planned_end(update, losses[row]))
        check = Check(update, losses[row], train_metrics[row], test_metrics[row], planned)
        record.checks.append(check)
        if planned:
            record.per_example = test.reshape(-1, test.shape[-1])[row].float().cpu()
            one = _one(setup, weights, row)
            record.also, record.sample = setup.network.describe(one, setup.test_examples, record.seed)
        for observer in observers:
            observer.on_check(record.seed, check)
        if planned or losses[row] <= record.kept_at / 2 or setup.horizon.next_stop(record.checks) is None:
            record.kept_at = losses[row]
            tensors = _tensors(setup, weights, row)
            for observer in observers:
                observer.on_weights(record.seed, update, tensors)


def _show(
    setup: Setup,
    seeds: tuple[int, ...],
    update: int,
    state: State,
    memory: Tree,
    observers: Sequence[Observer],
) -> float:
    """Hand the weights of all runs to the observers that want to see them now; seconds this took."""
    wanting = [observer for observer in observers if observer.wants_weights(update)]
    if not wanting:
        return 0.0
    start = time.perf_counter()
    weights = setup.transform.weights(state, memory)
    for row, seed in enumerate(seeds):
        tensors = _tensors(setup, weights, row)
        for observer in wanting:
            observer.on_live_weights(seed, update, tensors)
    return time.perf_counter() - start


def _tensors(setup: Setup, weights: State, row: int) -> dict[str, Tensor]:
    """Parameters and buffers of one run by name; copies."""
    one = _one(setup, weights, row)
    tensors = {name: view.detach().clone() for name, view in one.layout.views(one.params).items()}
    return tensors | {name: buffer.detach().clone() for name, buffer in one.buffers.items()}


def _one(setup: Setup, weights: State, row: int) -> State:
    """One run's state, params [P]."""
    if not setup.network.stacked:
        return weights
    buffers = {name: buffer[row] for name, buffer in weights.buffers.items()}
    return State(weights.params[row], buffers, weights.layout)


def _save(
    setup: Setup, record: _Record, update: int, state: State, memory: Tree, observers: Sequence[Observer]
) -> None:
    """Hand out a snapshot of one run."""
    if not observers:
        return
    tensors, numbers = pack(state, memory)
    if record.per_example is not None:
        tensors["per_example"] = record.per_example
    snapshot = Snapshot(update, tensors, {**numbers, **record.numbers()}, tuple(record.checks))
    for observer in observers:
        observer.on_snapshot(record.seed, snapshot)


def _restore(
    setup: Setup, records: Sequence[_Record], state: State, memory: Tree, resume: Mapping[int, Snapshot]
) -> tuple[int, State, Tree]:
    """Put snapshots of all runs of a group back in place."""
    missing = [record.seed for record in records if record.seed not in resume]
    updates = {resume[record.seed].update for record in records if record.seed in resume}
    if missing or len(updates) != 1:
        raise BadInput("resume", sorted(updates), "snapshots of every seed of the call, at one update")
    snapshots = [resume[record.seed] for record in records]
    for record, snapshot in zip(records, snapshots, strict=True):
        record.checks = list(snapshot.checks)
        record.kept_at = snapshot.numbers["kept_at"]
        record.trivial = snapshot.numbers["trivial"]
        record.gradients = snapshot.numbers["gradients"]
        record.seconds = snapshot.numbers["seconds"]
        record.per_example = snapshot.tensors.get("per_example")
        record.also = dict(snapshot.numbers.get("also", {}))
        record.sample = snapshot.numbers.get("sample")
    state, memory = unpack(snapshots, state, memory, setup.network.stacked)
    return updates.pop(), state, memory


def _trivial(setup: Setup, state: State) -> list[float]:
    """Test metric of a predictor that knows nothing: the task's own, or the untrained network's."""
    given = setup.task.trivial_metric()
    rows = state.params.shape[0] if setup.network.stacked else 1
    if given is not None:
        return [float(given)] * rows
    test = setup.network.metric(state, setup.test_examples)
    values: list[float] = test.mean(-1).reshape(-1).tolist()
    return values


def _outcome(setup: Setup, step_cost: StepCost, record: _Record) -> Outcome:
    checks = record.checks
    curve = Curve(
        np.array([check.update for check in checks], dtype=np.int64),
        np.array([check.train_loss for check in checks], dtype=np.float64),
        np.array([check.train_metric for check in checks], dtype=np.float64),
        np.array([check.test_metric for check in checks], dtype=np.float64),
    )
    planned = next((row for row, check in enumerate(checks) if check.planned), len(checks) - 1)
    cost = cost_of(step_cost, updates=checks[-1].update, batch=setup.recipe.batch, numbers=record.numbers())
    return Outcome(
        seed=record.seed,
        curve=curve,
        planned=planned,
        diverged=not math.isfinite(checks[-1].train_loss),
        trivial_metric=record.trivial,
        cost=cost,
        per_example=None if record.per_example is None else record.per_example.numpy(),
        also=record.also,
        sample=record.sample,
    )
