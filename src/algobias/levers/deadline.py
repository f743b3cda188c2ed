"""DropCompute in anybody's own loop: stop accumulating when the time is up, and scale by what was done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from algobias.errors import BadInput


class DropCompute:
    """Gives out micro-batches until a deadline, then scales the gradient by the number that were done.

    Source: Giladi et al., DropCompute: simple and more robust distributed synchronous training via compute
    variance reduction, 2023. The first micro-batch of an update is never dropped.

    Args:
        threshold: Seconds of an update's accumulation after which no further micro-batch is begun; infinity
            drops nothing.
        clock: Where the time comes from.
        group: Process group whose members' counts are added up before scaling; gradients are then to be
            summed, not averaged, over the members.

    Raises:
        BadInput: A threshold that is not above 0.

    Example:
        >>> import torch; net = torch.nn.Linear(2, 1); step = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> drop = DropCompute(threshold=1.0, clock=iter([0.0, 0.4, 0.8, 1.2]).__next__)
        >>> micro_batches = torch.randn(4, 8, 2)
        >>> for x in drop.until_late(micro_batches):
        ...     net(x).square().mean().backward()
        >>> drop.scale(net.parameters()); step.step(); step.zero_grad()
        >>> drop.done, drop.dropped
        (3, 1)
    """

    def __init__(
        self, threshold: float, clock: Callable[[], float] = time.perf_counter, group: Any = None
    ) -> None:
        if not threshold > 0:
            raise BadInput("threshold", threshold, "seconds above 0")
        self.threshold, self.clock, self.group = threshold, clock, group
        self.done = self.dropped = 0
        self._now = 0

    def until_late(self, micro_batches: Iterable[Any]) -> Iterator[Any]:
        """The micro-batches that are begun in time; the others are counted as dropped."""
        start: float | None = None
        self._now = 0
        for micro in micro_batches:
            if start is None:
                start = self.clock()
            elif self._late(start):
                self.dropped += 1
                continue
            self._now += 1
            self.done += 1
            yield micro

    def _late(self, start: float) -> bool:
        """Whether the deadline has passed."""
        return self.threshold != float("inf") and self.clock() - start > self.threshold

    @torch.no_grad()
    def scale(self, parameters: Iterable[Tensor]) -> None:
        """Divide the summed gradients by the number of micro-batches that were done.

        Raises:
            RuntimeError: There was none, in any process of the group: there is nothing to step with.
        """
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        # where the gradients are: the group need not have a backend for the CPU
        count = torch.tensor(float(self._now), device=grads[0].device if grads else None)
        if self.group is not None:
            torch.distributed.all_reduce(count, group=self.group)
        if not count:
            raise RuntimeError("no micro-batch was done: iterate over until_late(micro_batches) before scale")
        for grad in grads:
            grad.div_(count.to(grad.device))

    def state_dict(self) -> dict[str, Any]:
        """Counts so far; between updates there is nothing else to keep."""
        return {"threshold": self.threshold, "done": self.done, "dropped": self.dropped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.threshold, self.done, self.dropped = state["threshold"], state["done"], state["dropped"]
