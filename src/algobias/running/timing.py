"""How long an update of a recipe takes, how large its weights are, and whether its seeds are stacked."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from algobias.recipe import Recipe
from algobias.running.arms import Arms
from algobias.seeding.states import own_randomness
from algobias.training.device import exact_arithmetic, one_thread, wait_for
from algobias.training.setup import Setup


def measure_update(
    arms: Arms, recipe: Recipe, known: dict[str, tuple[float, int, bool]]
) -> tuple[float, int, bool]:
    """Measure seconds of one update of one run, bytes of its weights, and whether seeds are stacked.

    Args:
        arms: Recipes by arm.
        recipe: The run's; updates of its origin cost what that recipe's do.
        known: What has been measured: recipes that differ in their length alone are the same here.
    """
    key = recipe.model_dump_json(exclude={"budget", "origin"})
    if key not in known:
        setup = Setup(recipe, arms.task, torch.device(arms.spec.device))
        with one_thread():
            known[key] = _timed(setup, arms.spec.seed)
    seconds, size, stacked = known[key]
    if recipe.origin is not None:
        before = recipe.origin.updates / recipe.planned_end
        seconds += before * (measure_update(arms, recipe.origin.recipe, known)[0] - seconds)
    return seconds, size, stacked


def _timed(setup: Setup, seed: int) -> tuple[float, int, bool]:
    with own_randomness(), exact_arithmetic(setup.network.device):
        state = setup.initial((seed,))
        memory = setup.transform.init(state)
        times = []
        for update in range(6):
            started = time.perf_counter()
            batch, key = setup.sampler(update, (seed,))
            grads, after = setup.grad(setup.transform.at(state, memory, key), batch, key)
            setup.transform.update(grads, memory, replace(state, buffers=after.buffers))
            wait_for(setup.network.device)
            times.append(time.perf_counter() - started)
    size = state.params.nbytes + sum(buffer.nbytes for buffer in state.buffers.values())
    # The first is slower than the rest; the median of the others is what an update takes.
    return sorted(times[1:])[2], size, setup.network.stacked
