"""Exponential moving average of the weights, evaluated in place of the weights."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from algobias.lazy import attributes_from, torch
from algobias.levers.base import Card, Part
from algobias.levers.context import Context
from algobias.levers.size import kept
from algobias.levers.step import Grads, Key, State, Transform, Tree
from algobias.recipe import Recipe


class WeightAverage(Part):
    """Evaluate an exponential moving average of the weights; training itself is unchanged.

    Floating-point buffers (BatchNorm statistics) are averaged with the same shares.

    Attributes:
        decay: Share of the old average kept at each update, bias-corrected; about 1/(1 - decay) updates
            are averaged.
    """

    name: ClassVar[str] = "ema"
    positional: ClassVar[str | None] = "decay"

    decay: float = Field(ge=0, lt=1)

    card: ClassVar[Card] = Card(
        summary="Evaluates a bias-corrected exponential average of the weights instead of the last ones.",
        saves="updates of a decaying schedule: the average is about as good as a decayed rate",
        costs="memory for one copy of the weights, one pass over them at each update",
        injected="algobias.EMA, updated after each step and applied around each evaluation",
        acts_on=("readout",),
        moves=("top_eigenvalue", "trace"),
        not_when=(
            "Averages the noise of the last updates away and nothing else: it does not change where "
            "training goes. Of no use after a schedule that has decayed to zero, or in a full-batch run; "
            "in a short run a decay near 1 averages over the whole descent and is worse than the last "
            "weights. Never evaluate averaged weights with unaveraged BatchNorm statistics (here both are "
            "averaged). Against a large batch it did nothing certain: digits 16 to 256, R 0.07 [-0.04, "
            "0.16]."
        ),
        references=(
            "Polyak, Juditsky, Acceleration of stochastic approximation by averaging, 1992",
            "Izmailov et al., Averaging weights leads to wider optima and better generalization, 2018",
            "Morales-Brotons, Vogels, Hendrikx, Exponential moving average of weights in deep learning, 2024",
        ),
        examples=("ema:0.99", "ema:0.9"),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> WeightAverage:
        """An average of the newest weights alone."""
        return cls(decay=0.0)

    def part_of(self, fraction: float, recipe: Recipe) -> WeightAverage:
        """Geometric in 1 - decay, the inverse of the number of updates averaged."""
        return self.with_options(decay=kept(self.size_from(recipe, "decay"), self.decay, fraction))

    def update(self, transform: Transform, context: Context) -> Transform:
        """Keep the average in the memory, and hand it out for evaluation."""
        from algobias.components.ema import as_averaged, continuous, newest_share

        def init(state: State) -> Tree:
            return {
                "inner": transform.init(state),
                "count": 0,
                "params": as_averaged(state.params),
                "buffers": continuous(state.buffers),
            }

        def update(grads: Grads, memory: Tree, state: State) -> tuple[State, Tree]:
            after, inner = transform.update(grads, memory["inner"], state)
            count = memory["count"] + 1
            share = newest_share(self.decay, count)
            floats, old = continuous(after.buffers), memory["buffers"]
            return after, {
                "inner": inner,
                "count": count,
                "params": torch.lerp(memory["params"], as_averaged(after.params), share),
                "buffers": {name: torch.lerp(old[name], floats[name], share) for name in floats},
            }

        def weights(state: State, memory: Tree) -> State:
            inner = transform.weights(state, memory["inner"])
            buffers = {name: kept.to(inner.buffers[name].dtype) for name, kept in memory["buffers"].items()}
            params = memory["params"].to(inner.params.dtype)
            return replace(inner, params=params, buffers={**inner.buffers, **buffers})

        def at(state: State, memory: Tree, key: Key) -> State:
            return transform.at(state, memory["inner"], key)

        return Transform(init, update, weights, at)


__getattr__ = attributes_from(
    __name__,
    {
        "algobias.components.ema": (
            "EMA",
            "newest_share",
        )
    },
)
