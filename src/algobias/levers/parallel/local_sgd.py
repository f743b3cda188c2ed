"""Local SGD: workers that go their own way and are averaged every H updates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from algobias.lazy import torch
from algobias.levers.base import Arranged, Card, Part, Stage
from algobias.levers.context import Context
from algobias.levers.division import Division
from algobias.levers.learning_rate import rate, warmup_updates
from algobias.levers.parallel.class_shards import from_class_shards
from algobias.levers.parallel.workers import (
    all_reduce_bytes,
    mean_state,
    shares,
    spread,
    worker_gradients,
)
from algobias.levers.size import whole_between
from algobias.levers.step import Batch, GradFn, Grads, Key, Layout, Sampler, State, Transform, Tree
from algobias.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

LONGEST_ROUND = 10**9
"""Local updates of a round at a rate of 0."""


class LocalUpdates(Part):
    """W workers make H updates each on their own part of the batches, then weights are averaged.

    The recipe's batch is the common one. What is evaluated is the mean of the workers, also between two
    averages. Memory: W times weights and optimizer memory.

    Attributes:
        every: H, local updates between two averages; 1 is synchronous.
        workers: How many workers there are, W; divides the batch.
        momentum: What becomes of the optimizer's memory at an average: ``average`` it too, ``keep`` each
            worker's own, or ``reset`` it to zero.
        buffers: What becomes of BatchNorm statistics at an average: ``average`` them too, or ``keep``
            each worker's own, of which the mean is evaluated.
        alpha: Above 0: the quadratic synchronisation rule. A round that starts at update t has
            ``max(every, floor((alpha / lr_t)^2))`` local updates, so that they get longer as the rate
            decays; during the warm-up lr_t is the full rate. In the unit of the learning rate.
        post: Synchronous at first, for so many updates (a whole number), or a share of the planned ones
            (below 1): post-local SGD.
        outer: What is done with the mean of the workers' moves: nothing more (``none``), or it is a
            gradient for an outer optimizer (``nesterov``, as in DiLoCo).
        outer_lr: Learning rate of the outer optimizer.
        outer_momentum: Momentum of the outer optimizer.
        shards: What workers draw from: all of them from all examples (``shared``), or each from a shard
            of its own, of W that sorting the examples by class gives (``classes``).
    """

    name: ClassVar[str] = "local_sgd"
    positional: ClassVar[str | None] = "every"
    revision: ClassVar[int] = 3  # 1 undid what earlier parts had made of the batch, 2 shared dropout masks

    every: int = Field(ge=1)
    workers: int = Field(default=4, ge=1, le=65_536)
    momentum: Literal["average", "keep", "reset"] = "average"
    buffers: Literal["average", "keep"] = "average"
    alpha: float = Field(default=0.0, ge=0)
    post: float = Field(default=0.0, ge=0)
    outer: Literal["none", "nesterov"] = "none"
    outer_lr: float = Field(default=0.7, gt=0)
    outer_momentum: float = Field(default=0.9, ge=0, lt=1)
    shards: Literal["shared", "classes"] = "shared"

    card: ClassVar[Card] = Card(
        summary="Workers train on their own for H updates between two averages of their weights.",
        saves="communication: one average of the weights instead of H of the gradients",
        costs="replicas drift apart between averages; memory of each worker's own weights and momentum",
        not_injected="a script's workers are its own: algobias.LocalSGD goes into the script",
        acts_on=("data", "gradients", "weights", "statistics"),
        moves=("weight_norm", "distance_from_init", "top_eigenvalue", "trace"),
        not_when=(
            "The averages slow the fit: on digits with 4 workers, H = 64 needs 1.7 times the updates to "
            "the same training loss. The bias does not simply get worse with H: at half the rate, H = 64 "
            "was 0.58 points better than synchronous SGD, at H = 16 there was no gap, so H and the rate "
            "want to be tuned together. With shards by class the replicas pull in different directions: 8 "
            "workers and H = 16 lost 2.2 points, 0.34 of them at matched fit; H = 4 gave back 0.85 [0.43, "
            "2.06] of that for 3.5 times the bytes, half the rate nothing certain (0.52 [-0.05, 1.05])."
        ),
        references=(
            "Stich, Local SGD converges fast and communicates little, 2019",
            "Lin, Stich, Patel, Jaggi, Don't use large mini-batches, use local SGD, 2020 (post-local)",
            "Douillard et al., DiLoCo: distributed low-communication training of language models, 2023 "
            "(outer)",
            "Gu, Lyu, Arora, Huang, A quadratic synchronization rule for distributed deep learning, 2024 "
            "(alpha)",
        ),
        examples=(
            "local_sgd:16,workers=4",
            "local_sgd:4,workers=4,momentum=reset,post=0.5",
            "local_sgd:8,workers=2,outer=nesterov",
            "local_sgd:4,workers=4,alpha=0.2",
            "local_sgd:8,workers=2,shards=classes",
        ),
        controls=("lr:x0.5", "lr:x2", "local_sgd:16,workers=4", "local_sgd:64,workers=4,post=0.5", "sam:0.1"),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> LocalUpdates:
        """An average after every update of a single worker."""
        return cls(every=1, workers=1)

    def part_of(self, fraction: float, recipe: Recipe) -> LocalUpdates:
        """Geometric in the local updates between two averages, from averages after each; as many workers."""
        return self.with_options(every=whole_between(self.size_from(recipe, "every"), self.every, fraction))

    def idle(self, recipe: Recipe) -> bool:
        """A single worker, of whose memory nothing is lost and whose moves nobody rescales."""
        return self == type(self).neutral(recipe)

    @property
    def one_gradient_each(self) -> bool:
        """Each worker steps with its own."""
        return True

    @property
    def wants_one_gradient(self) -> bool:
        """It shares the work out itself."""
        return True

    def cannot_follow(self, earlier: Arranged) -> bool:
        """Other ways to share the work out do not go with it; an average would be reset with the memory."""
        reset = earlier.name == "ema" and self.momentum == "reset"
        return reset or earlier.name in ("workers", "delay") or super().cannot_follow(earlier)

    @property
    def shards_examples(self) -> bool:
        """Where examples are shared out by class."""
        return self.shards != "shared"

    def divisions(self, batch: int) -> tuple[Division, ...]:
        """The gradient's work; the batch itself where each worker draws from its own shard."""
        own = Division(self.name, "local_sgd.workers", self.workers)
        return (own, replace(own, of="batch")) if self.shards_examples else (own,)

    def splits(self, recipe: Recipe) -> bool:
        """Each worker has a part of the batch."""
        return self.workers > 1

    @property
    def plain(self) -> bool:
        """Whether nothing differs from the recipe without this part."""
        return self.workers == 1 and self.outer == "none" and self.momentum != "reset"

    def switch(self, recipe: Recipe) -> int:
        """Updates of the beginning that are synchronous."""
        return round(self.post * recipe.planned_updates) if 0 < self.post < 1 else int(self.post)

    def averages(self, recipe: Recipe) -> Callable[[int], bool]:
        """Whether weights are averaged after an update (counted from 0 where this run began)."""
        switch = self.switch(recipe)
        if self.alpha == 0:
            return lambda update: update < switch or (update + 1) % self.every == 0
        lr, warm = (
            rate(recipe),
            warmup_updates(recipe) - (0 if recipe.origin is None else recipe.origin.start),
        )
        ends: set[int] = set()
        start = switch

        def at(update: int) -> bool:
            nonlocal start
            while start <= update:
                now = lr(max(start, warm - 1))
                longest = LONGEST_ROUND if now <= 0 else min(LONGEST_ROUND, (self.alpha / now) ** 2)
                start += max(self.every, math.floor(longest * (1 + 1e-12)))
                ends.add(start - 1)
            return update < switch or update in ends

        return at

    @property
    def stage(self) -> Stage:
        """Shards say which examples are drawn."""
        return "examples"

    def sampler(self, sampler: Sampler, context: Context) -> Sampler:
        """Draw each worker's examples from its own shard, where they are by class.

        Raises:
            BadInput: The task has no class labels, or a shard has fewer examples than a worker's batch.
        """
        if self.shards == "shared" or self.workers == 1:
            return sampler
        return from_class_shards(sampler, context, self.workers)

    def gradient(self, grad: GradFn, context: Context) -> GradFn:
        """Every worker's gradient on its part of the batch."""
        if self.plain:
            return grad

        def local(state: State, batch: Batch, key: Key) -> tuple[Grads, State]:
            seeds_axis = state.params.dim() > 2
            grads, after = worker_gradients(grad, self.workers, seeds_axis)(state, batch, key)
            share = shares(context, batch, self.workers, seeds_axis)
            if share is not None:  # a worker with more tokens counts more, as in the mean over the batch
                grads = grads * (share * self.workers).unsqueeze(-1).to(grads)
            return grads, after

        return local

    def update(self, transform: Transform, context: Context) -> Transform:
        """Keep every worker's weights and memory; average when it is time."""
        if self.plain:
            return transform
        switch, workers = self.switch(context.recipe), self.workers
        averages = self.averages(context.recipe)

        def init(state: State) -> Tree:
            wide = spread(state, workers)
            memory: dict[str, Any] = {
                "count": 0,
                "params": wide.params.clone(),
                "buffers": {name: buffer.clone() for name, buffer in wide.buffers.items()},
                "inner": transform.init(wide),
            }
            if self.outer == "nesterov":
                memory["anchor"], memory["outer"] = state.params, torch.zeros_like(state.params)
            return memory

        def replicas(state: State, memory: Tree) -> State:
            return replace(state, params=memory["params"], buffers=memory["buffers"])

        def at(state: State, memory: Tree, key: Key) -> State:
            return transform.at(replicas(state, memory), memory["inner"], key)

        def update(grads: Grads, memory: Tree, state: State) -> tuple[State, Tree]:
            # buffers come from the forward passes of the workers, weights from the memory
            wide, inner = transform.update(grads, memory["inner"], replace(state, params=memory["params"]))
            after: dict[str, Any] = {"count": memory["count"] + 1}
            mean = mean_state(wide)
            if averages(memory["count"]):
                if self.outer == "nesterov" and memory["count"] >= switch:
                    move = memory["anchor"] - mean.params
                    velocity = torch.add(move, memory["outer"], alpha=self.outer_momentum)
                    step = torch.add(move, velocity, alpha=self.outer_momentum)
                    mean = replace(mean, params=torch.add(memory["anchor"], step, alpha=-self.outer_lr))
                    after["outer"] = velocity
                together = spread(mean, workers)
                kept = wide.buffers if self.buffers == "keep" else together.buffers
                wide = replace(wide, params=together.params.clone(), buffers=kept)
                inner = torch.utils._pytree.tree_map(lambda leaf: self._remembered(leaf, wide.params), inner)
                if self.outer == "nesterov":
                    after["anchor"] = mean.params
            after |= {"params": wide.params, "buffers": dict(wide.buffers), "inner": inner}
            return replace(state, params=mean.params, buffers=mean.buffers), {
                key: after.get(key, memory[key]) for key in memory
            }

        def weights(state: State, memory: Tree) -> State:
            return mean_state(transform.weights(replicas(state, memory), memory["inner"]))

        return Transform(init, update, weights, at)

    def _remembered(self, leaf: Any, params: Tensor) -> Any:
        """A tensor of the optimizer's memory after an average."""
        if self.momentum == "keep" or not isinstance(leaf, torch.Tensor) or leaf.shape != params.shape:
            return leaf
        if self.momentum == "reset":
            return torch.zeros_like(leaf)
        return leaf.mean(-2, keepdim=True).expand_as(leaf).clone()

    def bytes_sent(self, layout: Layout, updates: int, recipe: Recipe) -> float:
        """A ring all-reduce of the weights, and of the memory if that is averaged, per average."""
        count = sum(map(self.averages(recipe), range(updates)))
        tensors = 1 + (self.momentum == "average" and _tensors(recipe))
        return count * tensors * all_reduce_bytes(layout.offsets[-1], self.workers)


def _tensors(recipe: Recipe) -> int:
    """Tensors of the size of the weights that the optimizer remembers."""
    return 2 if recipe.optimizer.name in ("adam", "adamw") else int(recipe.optimizer.momentum > 0)
