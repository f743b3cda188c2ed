"""Local SGD in anybody's own loop: replicas that are averaged now and then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from algobias.errors import BadInput


class LocalSGD:
    """Averages replicas, with their optimizers' memory and their buffers, after every H updates.

    In one process give it all replicas; over ``torch.distributed`` give it this process's only one, and the
    average is over the processes of the group.

    Args:
        modules: The replicas, of one architecture.
        optimizers: Their optimizers, in the same order; None leaves the memory alone.
        every: H, local updates between two averages.
        momentum: Average what the optimizers remember, as far as it is tensors of real numbers.
        buffers: Average buffers (BatchNorm statistics); left alone they stay those of each replica.
        group: Process group, where each process has one replica.

    Raises:
        BadInput: H below 1, or lists of different lengths.

    Example:
        >>> import torch; torch.manual_seed(0)                                  # doctest: +ELLIPSIS
        <torch...>
        >>> nets = [torch.nn.Linear(2, 1) for _ in range(2)]
        >>> steps = [torch.optim.SGD(net.parameters(), lr=0.1) for net in nets]
        >>> averager = LocalSGD(nets, steps, every=2)
        >>> for _ in range(2):
        ...     for net, step in zip(nets, steps):
        ...         net(torch.randn(4, 2)).square().mean().backward(); step.step(); step.zero_grad()
        ...     averaged = averager.step()
        >>> averaged, torch.equal(nets[0].weight, nets[1].weight)
        (True, True)
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        optimizers: Sequence[torch.optim.Optimizer] | None = None,
        every: int = 1,
        *,
        momentum: bool = True,
        buffers: bool = True,
        group: Any = None,
    ) -> None:
        if isinstance(every, bool) or every < 1:
            raise BadInput("every", every, "a whole number of at least 1")
        if optimizers is not None and len(optimizers) != len(modules):
            raise BadInput("optimizers", len(optimizers), f"{len(modules)}, one for each module")
        self.modules, self.optimizers = list(modules), list(optimizers or [])
        self.every, self.momentum, self.buffers, self.group = every, momentum, buffers, group
        self.updates = 0

    def step(self) -> bool:
        """Count one update of every replica; average them if it was the H-th. Whether it did."""
        self.updates += 1
        if self.updates % self.every:
            return False
        self.average()
        return True

    @torch.no_grad()
    def average(self) -> None:
        """Put the mean over the replicas into each of them."""
        self._mean([list(module.parameters()) for module in self.modules])
        if self.buffers:
            self._mean([list(module.buffers()) for module in self.modules])
        if self.momentum and self.optimizers:
            self._mean([list(_memory(optimizer)) for optimizer in self.optimizers])

    def _mean(self, tensors: list[list[Tensor]]) -> None:
        for same in zip(*tensors, strict=True):
            if not same[0].is_floating_point():
                continue
            mean = torch.stack([tensor.detach() for tensor in same]).mean(0)
            if self.group is not None:
                torch.distributed.all_reduce(mean, group=self.group)
                mean /= torch.distributed.get_world_size(self.group)
            for tensor in same:
                tensor.copy_(mean)

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on, besides modules and optimizers."""
        return {"updates": self.updates, "every": self.every}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.updates, self.every = int(state["updates"]), int(state["every"])


def _memory(optimizer: torch.optim.Optimizer) -> Iterable[Tensor]:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            remembered = optimizer.state.get(parameter, {})
            for name in sorted(remembered):
                if isinstance(remembered[name], Tensor):
                    yield remembered[name]
