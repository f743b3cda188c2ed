"""What a predictor that knows nothing scores, where the task does not say it."""

from __future__ import annotations

import math
from itertools import pairwise
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from algobias.levers.step import State
from algobias.tasks.task import Task
from algobias.training.setup import Setup

SEEDS = 8
STANDARD_ERRORS = 4.0

_KNOWING: WeakKeyDictionary[Task, dict[str, bool]] = WeakKeyDictionary()


def trivial_metrics(setup: Setup, state: State) -> list[float]:
    """Test metric of a predictor that knows nothing: the task's own, or the untrained network's.

    Args:
        setup: The task and its network.
        state: The untrained networks, params [S, P] or [P].

    Returns:
        One number for each run; NaN where it is not known, because the network starts from trained weights.
    """
    given = setup.task.trivial_metric()
    runs = state.params.shape[0] if setup.network.stacked else 1
    if given is not None:
        return [float(given)] * runs
    if starts_trained(setup):
        return [math.nan] * runs
    values: list[float] = _scores(setup, state).tolist()
    return values


def starts_trained(setup: Setup) -> bool:
    """Whether the network knows something before it is trained, as one that is fine-tuned does.

    Weights that are drawn at random are as good in one order as in another. So a network starts trained if
    its test metric is better than that of the same weights in random order (each tensor shuffled in itself)
    in every one of :data:`SEEDS` seeds, which has a chance of 1/256 otherwise, and on average by more than
    :data:`STANDARD_ERRORS` standard errors of the difference of the two means.

    Cost: two passes over the test examples for each seed until one is not better; once per task and model.
    """
    known = _KNOWING.setdefault(setup.task, {})
    model = setup.recipe.model.model_dump_json()
    if model not in known:
        known[model] = _starts_trained(setup)
    return known[model]


def _starts_trained(setup: Setup) -> bool:
    scores = []
    for seed in range(SEEDS):
        state = setup.initial((seed,))
        own, shuffled = (float(_scores(setup, one)) for one in (state, _shuffled(state, seed)))
        if not own > shuffled:
            return False
        scores.append((own, shuffled))
    both = torch.tensor(scores, dtype=torch.float64)
    own, shuffled = both.mean(0).tolist()
    return bool(own - shuffled > STANDARD_ERRORS * float((both.var(0).sum() / SEEDS).sqrt()))


def _scores(setup: Setup, state: State) -> Tensor:
    """Test metric of every run, [S]."""
    return setup.network.metric(state, setup.test_examples).mean(-1).reshape(-1).double().cpu()


def _shuffled(state: State, seed: int) -> State:
    """The same weights, each tensor's in random order."""
    draw = torch.Generator().manual_seed(seed)
    order = [
        start + torch.randperm(end - start, generator=draw) for start, end in pairwise(state.layout.offsets)
    ]
    return state.with_params(state.params[..., torch.cat(order).to(state.params.device)])
