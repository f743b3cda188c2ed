"""Everything of a recipe that does not depend on the seed, ready to train."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from algobias.errors import BadInput
from algobias.levers.base import Part
from algobias.levers.context import Context
from algobias.levers.hooks import handing_on
from algobias.levers.learning_rate import rate
from algobias.levers.order import check_order
from algobias.levers.portions import check_portions
from algobias.levers.registry import build_part
from algobias.levers.step import GradFn, Sampler, State, Transform
from algobias.levers.update.optimizer import build_transform
from algobias.recipe import Recipe
from algobias.tasks.task import Task
from algobias.training.before.sums import require_mean
from algobias.training.cost import StepCost, measure_step
from algobias.training.engine.network import Network, stack
from algobias.training.evaluation import EvaluationSet
from algobias.training.horizon import Horizon
from algobias.training.sampler import build_sampler


class Setup:
    """Everything of a recipe that does not depend on the seed.

    Args:
        recipe: The recipe.
        task: Its task.
        device: Where tensors live.

    Raises:
        BadInput: The recipe is impossible for the task.
    """

    def __init__(self, recipe: Recipe, task: Task, device: torch.device) -> None:
        if recipe.examples != len(task.train):
            raise BadInput(
                "recipe.examples", recipe.examples, f"the {len(task.train)} training examples of the task"
            )
        check_order(recipe.parts)
        self.recipe, self.task = recipe, task
        parts: list[Part] = [build_part(spec) for spec in recipe.parts]
        check_portions(recipe)
        used = task.used_index(recipe.data)
        source = task.train.to(device)
        self.network = Network(task, recipe, parts, device)
        context = Context(
            recipe,
            len(used),
            task.classes,
            task.labels,
            task.replace_labels,
            weight=task.weight,
            used=used,
            all_labels=task.all_labels("train", read=False),
            gather=source.gather,
            keys=self.network.keys,
        )
        self.parts, self.context = parts, context
        self.sampler: Sampler = build_sampler(
            source, used, recipe, parts, context, stacked=self.network.stacked
        )
        self.grad: GradFn = self.network.gradient
        self.transform: Transform = build_transform(recipe.optimizer, rate(recipe))
        for part in parts:
            self.grad = part.gradient(self.grad, context)
            given = handing_on(self.transform, type(part))
            changed = part.update(given, context)
            self.transform = self.transform if changed is given else changed
        if self.network.weighing:
            _ = self.network.weighing_fault  # found out now, not in a step whose cost is measured
        require_mean([part.name for part in parts if part.splits(recipe)], self.network)
        fit = task.fit_index(used)
        self.fit_examples = EvaluationSet.of(source, fit, task.weight)
        self.test_examples = EvaluationSet.of(task.test.to(device), None, task.weight)
        self.horizon = Horizon(recipe)
        self.offset = 0 if recipe.origin is None else recipe.origin.updates - recipe.origin.start
        self._step_cost: StepCost | None = None

    def initial(self, seeds: Sequence[int]) -> State:
        """The untrained networks."""
        states = [self.network.initial(seed) for seed in seeds]
        return stack(states) if self.network.stacked else states[0]

    def evaluated(self, weights: State, seeds: tuple[int, ...]) -> State:
        """The network that is evaluated where the transform hands out ``weights``."""
        for part in self.parts:
            weights = part.readout(weights, self.network.statistics, self.context, seeds)
        return weights

    def step_cost(self) -> StepCost:
        """Measured cost of one update of one run; measured once."""
        if self._step_cost is None:
            state, network = self.initial((0,)), self.network
            with network.counted():
                self._step_cost = measure_step(
                    state,
                    self.sampler,
                    self.grad,
                    self.transform,
                    0,
                    lambda: network.gradients,
                    network.template,
                )
        return self._step_cost
