"""What is known of a run while it is trained: its checks, what is kept, how it is saved and restored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from algobias.errors import BadInput
from algobias.json_values import JsonObject, JsonValue
from algobias.levers.step import State, Tree
from algobias.runs.observer import Check, Observer, Snapshot
from algobias.runs.outcome import Curve, Outcome
from algobias.training.cost import StepCost, cost_of
from algobias.training.memory import pack, unpack
from algobias.training.setup import Setup


@dataclass
class Record:
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

    def numbers(self) -> JsonObject:
        """What a snapshot keeps of it besides tensors and checks, JSON types only."""
        return {
            "kept_at": self.kept_at,
            "trivial": self.trivial,
            "gradients": self.gradients,
            "seconds": self.seconds,
            "also": {**self.also},
            "sample": self.sample,
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Take over what a snapshot knows."""
        numbers = snapshot.numbers
        gradients, also, sample = numbers["gradients"], numbers.get("also", {}), numbers.get("sample")
        if type(gradients) is not int or not isinstance(also, dict) or not isinstance(sample, str | None):
            raise TypeError("gradients, also or sample of another type")
        self.checks = list(snapshot.checks)
        self.kept_at, self.trivial = _number(numbers["kept_at"]), _number(numbers["trivial"])
        self.gradients, self.seconds = gradients, _number(numbers["seconds"])
        self.per_example = snapshot.tensors.get("per_example")
        self.also = {name: _number(value) for name, value in also.items()}
        self.sample = sample


def _number(value: JsonValue) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} where a number was saved")
    return value


def check(
    setup: Setup, records: Sequence[Record], update: int, weights: State, observers: Sequence[Observer]
) -> None:
    """Evaluate all runs, add a row to each curve, and keep weights that are worth it."""
    loss, metric = setup.network.loss_and_metric(weights, setup.fit_examples)
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
            one = one_of(setup, weights, row)
            record.also, record.sample = setup.network.describe(one, setup.test_examples, record.seed)
        for observer in observers:
            observer.on_check(record.seed, check)
        if planned or losses[row] <= record.kept_at / 2 or setup.horizon.next_stop(record.checks) is None:
            record.kept_at = losses[row]
            tensors = tensors_of(setup, weights, row)
            for observer in observers:
                observer.on_weights(record.seed, update, tensors)


def tensors_of(setup: Setup, weights: State, row: int) -> dict[str, Tensor]:
    """Parameters and buffers of one run by name; copies."""
    one = one_of(setup, weights, row)
    tensors = {name: view.detach().clone() for name, view in one.layout.views(one.params).items()}
    return tensors | {name: buffer.detach().clone() for name, buffer in one.buffers.items()}


def one_of(setup: Setup, weights: State, row: int) -> State:
    """One run's state, params [P]."""
    if not setup.network.stacked:
        return weights
    buffers = {name: buffer[row] for name, buffer in weights.buffers.items()}
    return State(weights.params[row], buffers, weights.layout)


def save(
    setup: Setup, record: Record, update: int, state: State, memory: Tree, observers: Sequence[Observer]
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


def restore(
    setup: Setup, records: Sequence[Record], state: State, memory: Tree, resume: Mapping[int, Snapshot]
) -> tuple[int, State, Tree]:
    """Put snapshots of all runs of a group back in place."""
    missing = [record.seed for record in records if record.seed not in resume]
    updates = {resume[record.seed].update for record in records if record.seed in resume}
    if missing or len(updates) != 1:
        raise BadInput("resume", sorted(updates), "snapshots of every seed of the call, at one update")
    snapshots = [resume[record.seed] for record in records]
    try:
        for record, snapshot in zip(records, snapshots, strict=True):
            record.restore(snapshot)
        state, memory = unpack(snapshots, state, memory, setup.network.stacked)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        told = f"{type(error).__name__}: {error}"
        raise BadInput("checkpoint", told, "a snapshot as it was saved; remove it to start over") from error
    return updates.pop(), state, memory


def outcome_of(setup: Setup, step_cost: StepCost, record: Record) -> Outcome:
    """What the run leaves behind."""
    checks = record.checks
    curve = Curve(
        np.array([check.update for check in checks], dtype=np.int64),
        np.array([check.train_loss for check in checks], dtype=np.float64),
        np.array([check.train_metric for check in checks], dtype=np.float64),
        np.array([check.test_metric for check in checks], dtype=np.float64),
    )
    planned = next((row for row, check in enumerate(checks) if check.planned), len(checks) - 1)
    updates = checks[-1].update
    cost = cost_of(
        step_cost,
        setup.recipe,
        setup.network.layout,
        updates=updates,
        gradients=record.gradients,
        seconds=record.seconds,
    )
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
