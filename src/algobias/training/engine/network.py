"""A task's network as a function of flat parameters alone, for one run or for runs stacked over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from algobias.components.ghost_norm import KINDS
from algobias.errors import BadInput
from algobias.levers.base import Part
from algobias.levers.step import Batch, Grads, Key, State, is_of_part
from algobias.own.user_code import UserFunction, raised_in
from algobias.put_back.attributes import Attributes
from algobias.quantised.draws import is_key
from algobias.recipe import Recipe
from algobias.seeding.states import seeded
from algobias.tasks.task import Task
from algobias.training.before.weighable import ALLOWED, EXAMPLES, weighing_fault
from algobias.training.engine.engines import Engine, Function, Looped, Stacked
from algobias.training.engine.layouts import layout_of, state_of
from algobias.training.engine.stacking import can_stack, displaced
from algobias.training.engine.weighting import kept_only, row_weights
from algobias.training.evaluation import EvaluationSet
from algobias.training.remember import alike, together, tried
from algobias.trees import to_device

TRIED = 1
"""Seed of the network with which it is tried out what may be shared."""

SAMPLE_CHARACTERS = 2_000
"""A task's sample is cut to so many characters."""


class Network:
    """Loss, gradient and metric of a task's model at given flat parameters.

    Memory: the template module, plus whatever the state holds; nothing that counts is kept between calls but
    ``gradients``, evaluations so far in examples of one run, and ``left_out``, those of them whose weight was
    0, for each run. The template is written to: it holds the weights that were asked for last.

    Args:
        task: The task.
        recipe: Its ``model`` field and ``engine`` are used.
        parts: Model surgery is applied in their order.
        device: Where tensors live.
    """

    def __init__(self, task: Task, recipe: Recipe, parts: Sequence[Part], device: torch.device) -> None:
        self.task = task
        self.recipe = recipe
        self.parts = tuple(parts)
        self.device = device
        self.template = self._build(0)
        self.layout = layout_of(self.template)
        self.gradients = 0
        self.left_out: Tensor | int = 0
        self._together: Function = together(task.loss, task.metric)
        self._shares: bool | None = None
        self._single = Looped(self.template, task.loss, self.layout)
        stacked = Stacked(self.template, task.loss)
        self.weighing = tuple(p.name for p in parts if p.stage == "weights" and not p.idle(recipe))
        self.stacked = recipe.engine == "stacked" or (
            recipe.engine == "auto"
            and can_stack(task, self.template, self._made)
            # an example that is left out of a loop is left out whatever the loss does
            and not (self.weighing and self.weighing_fault)
        )
        self._engine: Engine = stacked if self.stacked else self._single

    def _made(self, seed: int) -> nn.Module:
        with seeded(seed, "init", 0):
            model = self.task.build_model(self.recipe.model)
            for part in self.parts:
                model = part.model(model)
        return model

    def _build(self, seed: int) -> nn.Module:
        return self._made(seed).to(self.device)

    @property
    def size(self) -> int:
        """Number of trained parameters, P."""
        return self.layout.offsets[-1]

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the buffers that random numbers of its layers follow."""
        return tuple(name for name, _ in self.template.named_buffers() if is_key(name))

    @cached_property
    def weighing_fault(self) -> str | None:
        """Why single examples cannot be weighed at the outputs of this network, or None; tried out once."""
        source = self.task.train
        size = min(EXAMPLES, self.recipe.batch, max(1, len(source) // 2))
        rows = torch.linspace(0, len(source) - 1, 2 * size).long()
        batches = [to_device(source.gather(index, (0,), 0), self.device) for index in (rows[::2], rows[1::2])]
        return weighing_fault(self._build(TRIED), self.task.loss, batches[0], batches[1], size)

    def _require_weighing(self) -> None:
        if self.weighing_fault is not None:
            names = " and ".join(self.weighing) or "weights of examples"
            engine = " (engine: looped leaves examples out otherwise)" if self.stacked else ""
            raise BadInput(names, self.weighing_fault, ALLOWED + engine)

    def initial(self, seed: int) -> State:
        """The network of ``seed`` before training; params [P]."""
        return state_of(self._build(seed), self.layout)

    def added(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What parts add to the network where it begins with other weights than fresh ones: masks of those.

        Args:
            tensors: Parameters and buffers of one run, by name.
        """
        with seeded(0, "init", 0), torch.no_grad():
            model = self.task.build_model(self.recipe.model).to(self.device)
            for name, own in {**dict(model.named_parameters()), **dict(model.named_buffers())}.items():
                if name in tensors and tensors[name].shape == own.shape:
                    own.copy_(tensors[name])
            for part in self.parts:
                model = part.model(model)
        return {name: b.detach().clone() for name, b in model.named_buffers() if is_of_part(name)}

    def gradient(self, state: State, batch: Batch, key: Key) -> tuple[Grads, State]:
        """Gradient of the batch loss at ``state`` (train mode), [..., P], and the updated buffers.

        The global random state is set where runs are not stacked: call it inside :func:`own_randomness`.

        Raises:
            BadInput: The loss is no scalar or depends on no parameter, the forward pass writes to a
                parameter, or examples that count differently cannot be weighed (:attr:`weighing_fault`).
        """
        rows = None
        if key.weights is not None:
            kept = key.weights != 0
            left_out = (~kept).sum(-1)
            if key.workers > 1:
                left_out = left_out.reshape(-1, key.workers).sum(-1) if self.stacked else left_out
            self.left_out = self.left_out + left_out
            if self.stacked:
                rows = row_weights(batch, key.weights, kept, self.task.weight)
            else:
                batch, rows = kept_only(batch, key.weights, kept)
        self.gradients += key.index.shape[-1] * (key.workers if self.stacked else 1)
        if rows is not None and rows.shape[-1] == 0:
            return torch.zeros_like(state.params), state
        if rows is not None:
            self._require_weighing()
        with raised_in("gradient of the loss") if isinstance(self.task.loss, UserFunction) else nullcontext():
            grads, after = self._engine.gradient(state, batch, rows, key)
        if self.stacked and key.weights is not None:  # nothing is left of the batch: no gradient, as above
            grads = torch.where((key.weights != 0).any(-1, keepdim=True), grads, 0.0)
        return grads, after

    @torch.no_grad()
    def statistics(self, state: State, batches: Iterable[Batch]) -> dict[str, Tensor]:
        """The buffers of ``state`` with BatchNorm statistics that are plain means over these batches.

        Everything but the normalisations is in evaluation mode. Only where runs are not stacked (networks
        with BatchNorm never are).
        """
        norms: list[Any] = [module for module in self.template.modules() if isinstance(module, KINDS)]
        counts = {name for name in state.buffers if name.endswith("num_batches_tracked")}
        now = {name: torch.zeros_like(b) if name in counts else b for name, b in state.buffers.items()}
        shares, attributes = [norm.momentum for norm in norms], self._single.attributes
        self.template.eval()
        try:
            for norm in norms:
                norm.train()
                norm.momentum = None  # a cumulative mean
            self._single.attributes = Attributes(self.template.named_modules(), beyond=False)
            with self._engine.reading():
                for batch in batches:
                    self._engine.evaluate(self.task.loss, replace(state, buffers=now), batch)
                    now = self._single.buffers(state)
        finally:
            for norm, share in zip(norms, shares, strict=True):
                norm.momentum = share
            self._single.attributes = attributes
            self.template.eval()
        return {name: state.buffers[name] if name in counts else buffer for name, buffer in now.items()}

    @torch.no_grad()
    def loss(self, state: State, examples: EvaluationSet) -> Tensor:
        """Mean loss in evaluation mode over ``examples``, [...]."""
        with self._reading():
            values = [self._engine.evaluate(self.task.loss, state, row.batch) for row in examples.batches]
        return examples.mean(values)

    @torch.no_grad()
    def loss_and_metric(self, state: State, examples: EvaluationSet) -> tuple[Tensor, Tensor]:
        """:meth:`loss` and :meth:`metric`; where both call the model alike, and may, it runs once for both.

        Whether it may is tried out in the first call, on the first batch and with a network of its own.
        """
        if self._shares is None:
            self._shares = not self.task.corpus and self._agree(examples.batches[0].batch)
        if not self._shares:
            return self.loss(state, examples), self.metric(state, examples)
        losses, metrics = [], []
        with self._reading():
            for row in examples.batches:
                loss, metric = self._engine.evaluate(self._together, state, row.batch)
                losses.append(loss)
                metrics.append(self._checked(metric, row.length))
        return examples.mean(losses), examples.contributions(metrics)

    def _agree(self, batch: Batch) -> bool:
        """Whether loss and metric of a batch are the same with a shared forward pass and alone."""
        if isinstance(self.template, torch.jit.ScriptModule):
            return False
        state = displaced(self.initial(TRIED), TRIED)
        state = stack([state]) if self.stacked else state
        shared, alone = tried(self.task.loss, self.task.metric), (self.task.loss, self.task.metric)
        try:
            with self._reading():
                *values, same = self._engine.evaluate(shared, state, batch)
            plain = []
            for function in alone:
                with self._reading():
                    plain.append(self._engine.evaluate(function, state, batch))
            return bool(same.all()) and all(bool(alike(*pair)) for pair in zip(values, plain, strict=True))
        except Exception:  # what is wrong with the functions themselves shows where they are called alone
            return False

    @torch.no_grad()
    def metric(self, state: State, examples: EvaluationSet) -> Tensor:
        """Metric in evaluation mode of every example, [..., n]; of a corpus, one value, [..., 1].

        Where examples count differently, values are scaled so that their plain mean is the weighted one.
        """
        batches = [row.batch for row in examples.batches]
        with self._reading():
            if self.task.corpus:
                value = self._engine.evaluate(self.task.metric, state, batches)
                return torch.as_tensor(float(value), dtype=torch.float64).reshape(1)
            metrics = [self._engine.evaluate(self.task.metric, state, batch) for batch in batches]
        pairs = zip(metrics, examples.batches, strict=True)
        return examples.contributions([self._checked(metric, row.length) for metric, row in pairs])

    def counted(self) -> AbstractContextManager[None]:
        """What gradients are wrapped in whose operations and bytes are counted as those of one run."""
        return self._engine.counted()

    def _reading(self) -> AbstractContextManager[None]:
        self.template.eval()
        return self._engine.reading()

    def _checked(self, metric: Tensor, length: int) -> Tensor:
        if metric.dim() != 1 + int(self.stacked) or metric.shape[-1] != length:
            raise BadInput("metric", tuple(metric.shape), f"one value per example, shape ({length},)")
        return metric

    @torch.no_grad()
    def describe(
        self, state: State, examples: EvaluationSet, seed: int
    ) -> tuple[dict[str, float], str | None]:
        """The task's further metrics and its sample, of one run in evaluation mode.

        Args:
            state: Of one run, params [P].
            examples: What the metrics are of.
            seed: Randomness of a sample follows it.

        Raises:
            BadInput: A further metric is not one number, or the sample is not text.
        """
        if not self.task.also and self.task.sample is None:
            return {}, None
        self.template.eval()
        batches = [row.batch for row in examples.batches]
        found: dict[str, float] = {}
        for name, function in self.task.also.items():
            with self._single.reading():
                value = self._single.evaluate(function, state, batches)
            try:
                found[name] = float(value)
            except (TypeError, ValueError, RuntimeError) as error:
                raise BadInput(f"also[{name!r}]", type(value).__name__, "one number") from error
        if self.task.sample is None:
            return found, None
        sample = self.task.sample
        with seeded(seed, "sample", 0):
            text = self._single.evaluate(lambda model, _: sample(model), state, None)
        if not isinstance(text, str):
            raise BadInput("sample", type(text).__name__, "a function that returns a text")
        return found, text[:SAMPLE_CHARACTERS]


def stack(states: Sequence[State]) -> State:
    """Stack runs along a new leading axis."""
    first = states[0]
    buffers = {name: torch.stack([state.buffers[name] for state in states]) for name in first.buffers}
    return State(torch.stack([state.params for state in states]), buffers, first.layout)
