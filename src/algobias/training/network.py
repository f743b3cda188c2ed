"""A task's network as a pure function of flat parameters, for one run or for runs stacked over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils.data import default_collate

from algobias.errors import BadInput
from algobias.levers.base import Part
from algobias.levers.ghost_norm import KINDS
from algobias.levers.step import Batch, Grads, Key, Layout, State
from algobias.recipe import Recipe
from algobias.tasks.source import ItemSource
from algobias.tasks.task import Task
from algobias.tasks.trees import to_device
from algobias.training.evaluation import EvaluationSet
from algobias.training.remember import remembered
from algobias.training.seeding import reseed, seeded
from algobias.training.weighting import Scaled, kept_only, row_weights

STACK_PARAMETERS = 400_000
"""Up to this size stacked small networks are faster than one by one (benchmarks/README.md, engine)."""

SAMPLE_CHARACTERS = 2_000
"""A task's sample is cut to so many characters."""

_LOOPED = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.RNNBase,
    nn.modules.dropout._DropoutNd,
    nn.MultiheadAttention,
)


class _Call(nn.Module):
    """Holds the model under one name, so that functional_call can swap its weights around any function."""

    def __init__(self, model: nn.Module, function: Callable[[nn.Module, Any], Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, batch: Any) -> Any:
        return self.function(self.model, batch)


class Network:
    """Loss, gradient and metric of a task's model at given flat parameters.

    Memory: the template module, plus whatever the state holds; nothing is kept between calls but
    ``gradients``, evaluations so far in examples of one run, and ``left_out``, those of them whose weight was
    0, for each run.

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
        trained = {name: p for name, p in self.template.named_parameters() if p.requires_grad}
        if not trained:
            raise BadInput(
                "model", type(self.template).__name__, "a network with at least one trainable parameter"
            )
        kinds = {p.dtype for p in trained.values()}
        if len(kinds) > 1 or not next(iter(kinds)).is_floating_point:
            raise BadInput(
                "model", sorted(map(str, kinds)), "trainable parameters of one floating-point type"
            )
        shapes = tuple(p.shape for p in trained.values())
        offsets = np.cumsum([0, *(shape.numel() for shape in shapes)])
        self.layout = Layout(tuple(trained), shapes, tuple(int(offset) for offset in offsets))
        self.fixed = tuple(name for name, p in self.template.named_parameters() if not p.requires_grad)
        self.gradients = 0
        self.left_out: Tensor | int = 0
        self._weights: Tensor | None = None
        self._loss = _Call(self.template, self._weighted_loss)
        self._metric = _Call(self.template, task.metric)
        self._both = _Call(self.template, lambda net, batch: (task.loss(net, batch), task.metric(net, batch)))
        self.stacked = self._stacks() if recipe.engine == "auto" else recipe.engine == "stacked"

    def _build(self, seed: int) -> nn.Module:
        with seeded(seed, "init", 0):
            model = self.task.build_model(self.recipe.model)
            for part in self.parts:
                model = part.model(model)
        return model.to(self.device)

    @property
    def size(self) -> int:
        """Number of trained parameters, P."""
        return self.layout.offsets[-1]

    def initial(self, seed: int) -> State:
        """The network of ``seed`` before training; params [P]."""
        model = self._build(seed)
        named = dict(model.named_parameters())
        flat = torch.cat([named[name].detach().reshape(-1) for name in self.layout.names])
        buffers = {name: named[name].detach() for name in self.fixed}
        buffers |= {name: b.detach().clone() for name, b in model.named_buffers()}
        return State(flat, buffers, self.layout)

    def gradient(self, state: State, batch: Batch, key: Key) -> tuple[Grads, State]:
        """Gradient of the batch loss at ``state`` (train mode), [..., P], and the updated buffers.

        Stacked runs do not touch each other: the gradient of the summed losses with respect to one
        run's parameters is that run's gradient. The global random state is set where runs are not stacked:
        call it inside :func:`own_randomness`.
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
        leaves = {
            name: view.detach().requires_grad_() for name, view in state.layout.views(state.params).items()
        }
        self.template.train()
        if self.stacked:
            loss = vmap(self._call_loss, in_dims=(0, 0, 0, None if rows is None else 0))(
                leaves, state.buffers, batch, rows
            )
            buffers = state.buffers
        else:
            buffers = {name: b.clone() for name, b in state.buffers.items()}
            reseed(key.seeds[0], "model", key.update)
            loss = self._call_loss(leaves, buffers, batch, rows)
        if loss.dim() != int(self.stacked):
            raise BadInput("loss", tuple(loss.shape), "a scalar: the mean over the batch")
        grads = torch.autograd.grad(
            loss.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True
        )
        lead = state.params.shape[:-1]
        return torch.cat([g.reshape(*lead, -1) for g in grads], -1), replace(state, buffers=buffers)

    def _weighted_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The task's loss; gradients of single examples are scaled on their way back through the outputs."""
        if self._weights is None:
            return self.task.loss(model, batch)
        return self.task.loss(Scaled(model, self._weights), batch)

    def _call_loss(
        self,
        params: dict[str, Tensor],
        buffers: dict[str, Tensor],
        batch: Batch,
        weights: Tensor | None = None,
    ) -> Tensor:
        self._weights = weights
        try:
            result: Tensor = functional_call(self._loss, _prefixed(params, buffers), (batch,))
        finally:
            self._weights = None
        return result

    @torch.no_grad()
    def statistics(self, state: State, batches: Iterable[Batch]) -> dict[str, Tensor]:
        """The buffers of ``state`` with BatchNorm statistics that are plain means over these batches.

        Everything but the normalisations is in evaluation mode. Only where runs are not stacked (networks
        with BatchNorm never are).
        """
        norms: list[Any] = [module for module in self.template.modules() if isinstance(module, KINDS)]
        found = {name: buffer.clone() for name, buffer in state.buffers.items()}
        for name, buffer in found.items():
            if name.endswith("num_batches_tracked"):
                buffer.zero_()
        shares = [norm.momentum for norm in norms]
        self.template.eval()
        try:
            for norm in norms:
                norm.train()
                norm.momentum = None  # a cumulative mean
            for batch in batches:
                self._call_loss(state.layout.views(state.params), found, batch)
        finally:
            for norm, share in zip(norms, shares, strict=True):
                norm.momentum = share
            self.template.eval()
        return {
            name: state.buffers[name] if name.endswith("num_batches_tracked") else buffer
            for name, buffer in found.items()
        }

    @torch.no_grad()
    def loss(self, state: State, examples: EvaluationSet) -> Tensor:
        """Mean loss in evaluation mode over ``examples``, [...]."""
        return examples.mean([self._evaluate(self._call_loss, state, row.batch) for row in examples.batches])

    @torch.no_grad()
    def loss_and_metric(self, state: State, examples: EvaluationSet) -> tuple[Tensor, Tensor]:
        """:meth:`loss` and :meth:`metric` in one pass; where both call the model alike it runs once."""
        if self.task.corpus:
            return self.loss(state, examples), self.metric(state, examples)
        losses, metrics = [], []
        with remembered(self.template):
            for row in examples.batches:
                loss, metric = self._evaluate(self._call_both, state, row.batch)
                losses.append(loss)
                metrics.append(self._checked(metric, row.length))
        return examples.mean(losses), examples.contributions(metrics)

    @torch.no_grad()
    def metric(self, state: State, examples: EvaluationSet) -> Tensor:
        """Metric in evaluation mode of every example, [..., n]; of a corpus, one value, [..., 1].

        Where examples count differently, values are scaled so that their plain mean is the weighted one.
        """
        if self.task.corpus:
            value = self._evaluate(self._call_metric, state, [row.batch for row in examples.batches])
            return torch.as_tensor(float(value), dtype=torch.float64).reshape(1)
        metrics = []
        for row in examples.batches:
            metric = self._evaluate(self._call_metric, state, row.batch)
            metrics.append(self._checked(metric, row.length))
        return examples.contributions(metrics)

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
        params = _prefixed(state.layout.views(state.params), state.buffers)
        self.template.eval()
        batches = [row.batch for row in examples.batches]
        found: dict[str, float] = {}
        for name, function in self.task.also.items():
            value = functional_call(_Call(self.template, function), params, (batches,))
            try:
                found[name] = float(value)
            except (TypeError, ValueError, RuntimeError) as error:
                raise BadInput(f"also[{name!r}]", type(value).__name__, "one number") from error
        if self.task.sample is None:
            return found, None
        sample = self.task.sample
        with seeded(seed, "sample", 0):
            text = functional_call(_Call(self.template, lambda model, _: sample(model)), params, (None,))
        if not isinstance(text, str):
            raise BadInput("sample", type(text).__name__, "a function that returns a text")
        return found, text[:SAMPLE_CHARACTERS]

    def _evaluate(self, call: Callable[..., Any], state: State, batch: Batch) -> Any:
        self.template.eval()
        params = state.layout.views(state.params)
        if self.stacked:
            call = vmap(call, in_dims=(0, 0, None))
        return call(params, state.buffers, batch)

    def _call_metric(self, params: dict[str, Tensor], buffers: dict[str, Tensor], batch: Batch) -> Tensor:
        result: Tensor = functional_call(self._metric, _prefixed(params, buffers), (batch,))
        return result

    def _call_both(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor], batch: Batch
    ) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = functional_call(self._both, _prefixed(params, buffers), (batch,))
        return found

    def _stacks(self) -> bool:
        """Whether seeds are trained as one stack: small networks whose layers vmap runs fast."""
        if self.task.corpus or self.size > STACK_PARAMETERS:
            return False
        if any(
            isinstance(module, _LOOPED) or not getattr(module, "stacks", True)
            for module in self.template.modules()
        ):
            return False
        source = self.task.train
        if isinstance(source, ItemSource) and source.collate is not default_collate:
            return False  # it may pad to the longest of each batch, and seeds draw different batches
        state = stack([self.initial(0), self.initial(1)])
        index = torch.arange(min(2, len(self.task.train)))
        try:
            batch = to_device(self.task.train.gather(index.expand(2, -1), (0, 1), 0), self.device)
            self.template.eval()
            params = state.layout.views(state.params)
            vmap(self._call_loss)(params, state.buffers, batch)
            vmap(self._call_metric)(params, state.buffers, batch)
        except RuntimeError:
            # Data-dependent control flow, random numbers inside, or an operation without a batching rule.
            return False
        return True


def _prefixed(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"model.{name}": tensor for part in (params, buffers) for name, tensor in part.items()}


def stack(states: Sequence[State]) -> State:
    """Stack runs along a new leading axis."""
    first = states[0]
    buffers = {name: torch.stack([state.buffers[name] for state in states]) for name in first.buffers}
    return State(torch.stack([state.params for state in states]), buffers, first.layout)
