"""Exponential moving average of a module's weights, for any training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.optimizer import StateDict

from algobias.components.given import check_module, number
from algobias.components.replicas import is_continuous
from algobias.components.wrapper import precise
from algobias.errors import BadInput


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
        check_module("ema", module)
        decay = number("ema", decay, lambda value: 0 <= value < 1, "a decay from 0 to below 1")
        self.module, self.decay, self.count = module, decay, 0
        self.average = {
            name: as_averaged(tensor.detach()).clone() for name, tensor in self._tensors().items()
        }

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

    def state_dict(self) -> StateDict:
        """Average, count and decay: all that is needed to go on."""
        average = {name: tensor.clone() for name, tensor in self.average.items()}
        return {"decay": self.decay, "count": self.count, "average": average}

    def load_state_dict(self, state: StateDict) -> None:
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


def as_averaged(tensor: Tensor) -> Tensor:
    """A tensor as precise as its average is kept."""
    return tensor.to(precise(tensor.dtype))


def continuous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of the tensors that have a mean, as precise as it is kept."""
    return {name: as_averaged(tensor) for name, tensor in tensors.items() if is_continuous(tensor.dtype)}
