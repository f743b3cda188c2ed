"""The one training loop. Seeds are stacked or looped over; every step is the same functional step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from algobias.levers.step import State, Tree
from algobias.recipe import Recipe
from algobias.runs.observer import Interrupted, Observer, Snapshot
from algobias.runs.outcome import Outcome
from algobias.seeding.states import own_randomness
from algobias.tasks.task import Task
from algobias.training.before.trivial import trivial_metrics
from algobias.training.device import exact_arithmetic
from algobias.training.memory import select
from algobias.training.origin import begin
from algobias.training.records import Record, check, outcome_of, restore, save, tensors_of
from algobias.training.setup import Setup

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


def _train_group(
    setup: Setup, seeds: tuple[int, ...], resume: Mapping[int, Snapshot], observers: Sequence[Observer]
) -> list[Outcome]:
    step_cost = setup.step_cost()
    state = setup.initial(seeds)
    memory = setup.transform.init(state)
    records = [Record(seed) for seed in seeds]
    update = 0
    if any(seed in resume for seed in seeds):
        update, state, memory = restore(setup, records, state, memory, resume)
    else:
        trivial = trivial_metrics(setup, state)
        for row, record in enumerate(records):
            record.trivial = trivial[row]
        if setup.recipe.origin is not None:
            update, state = begin(setup, records, state, observers, train)
            memory = setup.transform.init(state)
            first = setup.evaluated(setup.transform.weights(state, memory), seeds)
            check(setup, records, update, first, observers)
    outcomes: list[Outcome] = []
    clock = time.perf_counter()

    while True:
        stops = [setup.horizon.next_stop(record.checks) for record in records]
        ended = [row for row, stop in enumerate(stops) if stop is None]
        if ended:
            for row in ended:
                save(
                    setup,
                    records[row],
                    update,
                    *select(state, memory, [row], setup.network.stacked),
                    observers,
                )
                outcomes.append(outcome_of(setup, step_cost, records[row]))
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
            batch, key = setup.sampler(update - setup.offset, seeds)
            grads, after = setup.grad(setup.transform.at(state, memory, key), batch, key)
            state, memory = setup.transform.update(grads, memory, replace(state, buffers=after.buffers))
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
            weights = setup.evaluated(setup.transform.weights(state, memory), seeds)
            check(setup, records, update, weights, observers)
        if _asked(observers):
            for row, record in enumerate(records):
                save(setup, record, update, *select(state, memory, [row], setup.network.stacked), observers)
            if any(observer.should_stop() for observer in observers):
                raise Interrupted


def _asked(observers: Sequence[Observer]) -> bool:
    return any(observer.wants_snapshot() or observer.should_stop() for observer in observers)


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
    weights = setup.evaluated(setup.transform.weights(state, memory), seeds)
    for row, seed in enumerate(seeds):
        tensors = tensors_of(setup, weights, row)
        for observer in wanting:
            observer.on_live_weights(seed, update, tensors)
    return time.perf_counter() - start
