"""Exponential moving average of the weights, evaluated in place of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from algobias.errors import BadInput
from algobias.levers.base import Card, Context, Part
from algobias.levers.replicas import is_continuous
from algobias.levers.size import kept
from algobias.levers.step import Grads, Key, State, Transform, Tree
from algobias.levers.wrapper import precise
from algobias.recipe import Recipe


def newest_share(decay: float, count: int) -> float:
    """Share of the newest weights in the bias-corrected average after ``count`` updates.

    The average of w_1 ... w_t is ``sum_s decay^(t-s) w_s / sum_s decay^(t-s)``, so that
    ``average += (1 - decay) / (1 - decay^t) (w_t - average)``. The first share is 1: the initial weights
    never enter. Without the correction, decay^t of the average would still be the untrained network,
    30 % of it after the 120 updates of a large-batch run at 0.99: exactly the runs one wants to compare.

    Args:
        decay: In [0, 1); 0 makes the average the newest weights themselves.
        count: Updates averaged, from 1.
    """
    return (1 - decay) / (1 - decay**count)


class EMA:
    """Average of a module's weights and floating-point buffers, for any training loop.

    The average is bias-corrected (see :func:`newest_share`) and kept in float32 where weights are less
    precise: an increment of 1 - decay would be lost in bfloat16. Complex numbers are averaged as real ones
    are; integer buffers are taken over as they are.

    Args:
        module: The module being trained.
        decay: In [0, 1).

    Raises:
        BadInput: The decay is out of range.

    Example:
        >>> import torch
        >>> net = torch.nn.Linear(2, 1); ema = EMA(net, decay=0.9)
        >>> for step in range(3):
        ...     _ = net.bias.data.fill_(step)                # stands for optimizer.step()
        ...     ema.update()
        >>> with ema.applied(): print(round(net.bias.item(), 4))
        1.0701
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise BadInput("ema", decay, "a decay from 0 to below 1")
        self.module, self.decay, self.count = module, decay, 0
        self.average = {name: _kept(tensor.detach()).clone() for name, tensor in self._tensors().items()}

    def _tensors(self) -> dict[str, Tensor]:
        return {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}

    @torch.no_grad()
    def update(self) -> None:
        """Take the module's present weights into the average; call it after every optimizer step."""
        self.count += 1
        share = newest_share(self.decay, self.count)
        for name, tensor in self._tensors().items():
            average = self.average[name]
            if is_continuous(tensor.dtype):
                average.lerp_(tensor.to(average), share)
            else:
                average.copy_(tensor)

    @contextmanager
    def applied(self) -> Iterator[nn.Module]:
        """Put the average into the module, and the weights back afterwards, also after an exception."""
        kept = {name: tensor.detach().clone() for name, tensor in self._tensors().items()}
        self._put(self.average)
        try:
            yield self.module
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, tensor in self._tensors().items():
            tensor.copy_(values[name])

    def state_dict(self) -> dict[str, Any]:
        """Average, count and decay: all that is needed to go on."""
        average = {name: tensor.clone() for name, tensor in self.average.items()}
        return {"decay": self.decay, "count": self.count, "average": average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            BadInput: It is of another module; nothing was changed then.
        """
        if state["average"].keys() != self.average.keys():
            names = sorted(state["average"].keys() ^ self.average.keys())
            raise BadInput("ema.state_dict", names, "the names of this module's parameters and buffers")
        for name, tensor in self.average.items():
            if (shape := state["average"][name].shape) != tensor.shape:
                allowed = f"the shape of this module's tensor, {tuple(tensor.shape)}"
                raise BadInput(f"ema.state_dict.{name}", tuple(shape), allowed)
        self.decay, self.count = state["decay"], state["count"]
        for name, tensor in self.average.items():
            tensor.copy_(state["average"][name])


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

        def init(state: State) -> Tree:
            return {
                "inner": transform.init(state),
                "count": 0,
                "params": _kept(state.params),
                "buffers": _floats(state),
            }

        def update(grads: Grads, memory: Tree, state: State) -> tuple[State, Tree]:
            after, inner = transform.update(grads, memory["inner"], state)
            count = memory["count"] + 1
            share = newest_share(self.decay, count)
            floats, old = _floats(after), memory["buffers"]
            return after, {
                "inner": inner,
                "count": count,
                "params": torch.lerp(memory["params"], _kept(after.params), share),
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


def _kept(tensor: Tensor) -> Tensor:
    return tensor.to(precise(tensor.dtype))


def _floats(state: State) -> dict[str, Tensor]:
    return {name: _kept(buffer) for name, buffer in state.buffers.items() if is_continuous(buffer.dtype)}
