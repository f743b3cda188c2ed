"""DropCompute: examples of a batch are left out at random, by content, or because a worker is late."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.levers.base import Card, Part, Stage
from algobias.levers.context import Context
from algobias.levers.division import Division
from algobias.levers.size import NoShare, between, rounded
from algobias.levers.step import Batch, Key, Sampler
from algobias.recipe import Recipe
from algobias.seeding.streams import generator
from algobias.tasks.keys import ink

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 500


class Dropped(Part):
    """Leave examples out of a batch; the gradient is the mean over those kept (Giladi et al. 2023).

    *At random*: every example with probability ``p``, afresh in each epoch. *By content*: only those whose
    key lies above its ``quantile`` over the training examples, with probability ``p``. *By a model of compute
    times*: with a ``threshold``, each of ``workers`` goes through its part of the batch in ``micro``
    micro-batches, and drops those that are not done when the threshold is over. A micro-batch takes a
    lognormal time with spread ``sigma``, of mean 1 / micro; with ``by``, in proportion to the mean key of its
    examples (slow means long), so that the content of what is dropped is biased. The first is never dropped.

    Attributes:
        threshold: Compute time at which workers stop, in multiples of a worker's mean time for its part.
        p: Probability to drop an example.
        by: What content drops an example: none (``none``), the sum of the input, pixels say (``ink``),
            or how much the example counts in the loss, unmasked tokens say (``length``).
        quantile: Only examples above this quantile of the key are dropped.
        workers: Workers of the model of compute times.
        micro: Micro-batches of each.
        sigma: Spread of the logarithm of a micro-batch's time.
        scale: What the gradient is: the mean over the examples kept, so that a worker counts by its
            realised batch (``kept``); the mean of the workers' own means, whatever each has kept
            (``worker``); or the sum over the planned number (``planned``).
    """

    name: ClassVar[str] = "drop_compute"
    positional: ClassVar[str | None] = "threshold"
    # 1 took the mean length over unused examples too; 2 let dropped examples in past the model's outputs
    revision: ClassVar[int] = 3

    threshold: float | None = Field(default=None, gt=0)
    p: float | None = Field(default=None, ge=0, le=1)
    by: Literal["none", "ink", "length"] = "none"
    quantile: float = Field(default=0.0, ge=0, lt=1)
    workers: int = Field(default=4, ge=1)
    micro: int = Field(default=4, ge=1)
    sigma: float = Field(default=0.5, ge=0, le=3)
    scale: Literal["kept", "worker", "planned"] = "kept"

    card: ClassVar[Card] = Card(
        summary="Leaves examples out of the batch: stragglers' micro-batches, at random or by content.",
        saves="time: nobody waits for the slowest worker; gradient evaluations of what is dropped",
        costs="a batch of random size: more gradient noise, and none of the dropped examples' signal",
        not_injected="what a script draws is its own: algobias.DropCompute goes into the script",
        acts_on=("gradients",),
        moves=("gradient_variance",),
        not_when=(
            "Dropping at random is harmless where the gradient is divided by the number kept (digits: "
            "half of 32 dropped, no gap). Dropping by content is not: with images of much ink dropped 95 "
            "% of the time digits lost 0.9 points, part of it for want of fit on what was dropped, which "
            "the mean training loss hides; look at the loss of the kept and of the dropped group (probe "
            "group_loss). Dividing by the planned number instead lowers the effective learning rate. Half "
            "again as many updates showed no effect on that loss (batch 16: 0.31 points, improvement 0.14 "
            "[-0.24, 0.51]); SAM gave back as much, to the baseline more."
        ),
        references=(
            "Giladi et al., DropCompute: simple and more robust distributed synchronous training via compute "
            "variance reduction, 2023",
        ),
        examples=(
            "drop_compute:p=0.5",
            "drop_compute:by=ink,quantile=0.6,p=0.95",
            "drop_compute:0.9,sigma=1",
            "drop_compute:p=0.5,scale=worker",
        ),
        gradients=0.5,
        controls=("lr:x0.5", "lr:x2", "budget:x1.5", "sam:0.1"),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> Dropped:
        """Nothing is ever dropped."""
        return cls(p=0.0)

    def part_of(self, fraction: float, recipe: Recipe) -> Dropped:
        """Linear in the share of the examples that is dropped: in the probability, or by another threshold.

        Raises:
            NoShare: Nothing is dropped, or the recipe drops examples already.
            BadInput: No threshold drops so many.
        """
        if not self.present(recipe).idle(recipe):
            raise NoShare("the recipe drops examples already, and how it does is a choice")
        if self.p is not None:
            return self.with_options(p=between(0.0, self.p, fraction))
        dropped = fraction * (1 - self.gradients_per_example())
        if dropped == 0:
            raise NoShare("at this threshold nothing is dropped")
        low, high = -7.0, 7.0  # logarithms of thresholds at which all but the first, and none, are dropped
        for _ in range(40):
            middle = (low + high) / 2
            tried = self.with_options(threshold=math.exp(middle))
            low, high = (middle, high) if 1 - tried.gradients_per_example() > dropped else (low, middle)
        found = self.with_options(threshold=rounded(math.exp(high)))
        if low == -7.0:
            raise BadInput("drop_compute", f"{100 * dropped:.3g} % dropped", "what a threshold can drop")
        return found

    def apply(self, recipe: Recipe) -> Recipe:
        """Append this part.

        Raises:
            BadInput: Neither or both of p and a threshold; workers and micro-batches that do not divide the
                examples of an update.
        """
        if (self.p is None) == (self.threshold is None):
            raise BadInput("drop_compute", self.spelling(), "one of p=... and a threshold")
        return super().apply(recipe)

    def divisions(self, batch: int) -> tuple[Division, ...]:
        """All examples of an update: into workers, and their micro-batches where times are modelled."""
        field = "drop_compute.workers"
        if self.threshold is not None:
            parts, written = self.workers * self.micro, f"{self.workers} x {self.micro}"
            return (Division(self.name, field, parts, "drawn", written),)
        return (Division(self.name, field, self.workers, "drawn"),) if self.scale == "worker" else ()

    def splits(self, recipe: Recipe) -> bool:
        """What is left of the batch stands for all of it."""
        return not self.idle(recipe)

    def gradients_per_example(self) -> float:
        """Expected share of the examples that is kept."""
        if self.p is not None:
            return 1 - self.p * (1 - self.quantile if self.by != "none" else 1.0)
        made = generator(0, "expected", 0).lognormal(-(self.sigma**2) / 2, self.sigma, (20_000, self.micro))
        assert self.threshold is not None
        return float(in_time(made / self.micro, self.threshold).mean())

    @property
    def stage(self) -> Stage:
        """Examples are left out of whatever batch there is."""
        return "weights"

    def sampler(self, sampler: Sampler, context: Context) -> Sampler:
        """Give every example of a batch its weight; 0 for those that are dropped.

        Raises:
            BadInput: ``by=length`` where all examples of the task count alike.
        """
        if self.p == 0:
            return sampler
        keys = None if self.by == "none" else self._keys(context)
        decide = (
            self._by_time(context, keys) if self.threshold is not None else self._at_random(context, keys)
        )

        def draw(update: int, seeds: tuple[int, ...]) -> tuple[Batch, Key]:
            batch, key = sampler(update, seeds)
            rows = key.index.reshape(len(seeds), -1).cpu()
            kept = torch.stack([decide(seed, key, row) for seed, row in zip(seeds, rows, strict=True)])
            weights = kept.float()
            if self.scale != "planned":
                weights = weights * _factors(kept, self.workers if self.scale == "worker" else 1)
            before = 1.0 if key.weights is None else key.weights
            return batch, replace(key, weights=weights.view(key.index.shape).to(key.index.device) * before)

        return draw

    def _at_random(self, context: Context, keys: Tensor | None) -> Callable[[int, Key, Tensor], Tensor]:
        assert self.p is not None
        chance = torch.full((context.recipe.examples,), self.p)
        if keys is not None:
            used = keys[context.used]
            chance = torch.where(keys > torch.quantile(used, self.quantile), self.p, 0.0)
        drawn: dict[int, tuple[int, Tensor]] = {}

        def decide(seed: int, key: Key, row: Tensor) -> Tensor:
            if seed not in drawn or drawn[seed][0] != key.epoch:
                uniform = generator(seed, "drop", key.epoch).random(context.recipe.examples)
                drawn[seed] = key.epoch, torch.from_numpy(uniform) >= chance.double()
            return drawn[seed][1][row]

        return decide

    def _by_time(self, context: Context, keys: Tensor | None) -> Callable[[int, Key, Tensor], Tensor]:
        threshold = self.threshold
        assert threshold is not None
        mean = 1.0 if keys is None else float(keys[context.used].mean())

        def decide(seed: int, key: Key, row: Tensor) -> Tensor:
            shape = (self.workers, self.micro)
            stream = generator(seed, "compute_times", key.update)
            times = stream.lognormal(-(self.sigma**2) / 2, self.sigma, shape) / self.micro
            if keys is not None:
                longer = keys[row].reshape(*shape, -1).mean(-1) / mean
                times = times * longer.clamp(min=0).numpy()
            done = torch.from_numpy(in_time(times, threshold))
            return done.unsqueeze(-1).expand(*shape, len(row) // (self.workers * self.micro)).reshape(-1)

        return decide

    def _keys(self, context: Context) -> Tensor:
        """The key of every training example, [n]."""
        if self.by == "length" and context.weight is None:
            raise BadInput("drop_compute.by", "length", "none or ink: all examples of this task count alike")
        keys = torch.zeros(context.recipe.examples)
        for start in range(0, len(context.used), CHUNK):
            index = context.used[start : start + CHUNK]
            batch = context.gather(index, (0,), 0)
            found = context.weight(batch) if self.by == "length" else ink(batch)
            keys[index] = found.detach().float().cpu()
        return keys


def in_time(times: np.ndarray, threshold: float) -> np.ndarray:
    """Which micro-batches are done before the threshold; the first always counts.

    Args:
        times: Of each micro-batch, [..., K].
        threshold: In the same unit.

    Returns:
        Booleans, [..., K].

    Example:
        >>> in_time(np.array([0.5, 0.3, 0.4]), 1.0).tolist()      # they are done at 0.5, 0.8 and 1.2
        [True, True, False]
    """
    done: np.ndarray = np.cumsum(times, axis=-1) <= threshold
    done[..., 0] = True
    return done


def step_time(times: np.ndarray, threshold: float) -> tuple[float, float]:
    """Mean time of a synchronous step over workers, without and with the threshold.

    A step takes as long as its slowest worker; under the threshold a worker stops there, or once its first
    micro-batch is done.

    Args:
        times: Of each micro-batch, [steps, workers, K].
        threshold: In the same unit.
    """
    whole = times.sum(-1)
    cut = np.minimum(whole, np.maximum(threshold, times[..., 0]))
    return float(whole.max(-1).mean()), float(cut.max(-1).mean())


def _factors(kept: Tensor, workers: int) -> Tensor:
    """What makes the sum over the examples kept, divided by their planned number, a mean of workers' means.

    Args:
        kept: Whether each example was kept, [S, B].
        workers: Consecutive parts of the batch; those that have kept nothing do not count.

    Returns:
        B / (W' kept_w) for every example of worker w, with W' workers that have kept something, [S, B].
    """
    parts = kept.reshape(len(kept), workers, -1)
    counts = parts.sum(-1, keepdim=True)
    at_work = (counts > 0).sum(1, keepdim=True).clamp(min=1)
    factors = kept.shape[-1] / (at_work * counts.clamp(min=1))
    return factors.expand(parts.shape).reshape(kept.shape)
