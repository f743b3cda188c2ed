"""DropCompute in anybody's own loop: stop accumulating when the time is up, and scale by what was done."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor
from torch.optim.optimizer import StateDict

from algobias.components.given import number, whole
from algobias.errors import BadInput
from algobias.trees import tensors_in

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Micro = TypeVar("Micro")
Weights = Sequence[float] | Callable[[Micro], float]


class DropCompute:
    """Gives out micro-batches until a deadline, then scales the gradient by what was done.

    Source: Giladi et al., DropCompute: simple and more robust distributed synchronous training via compute
    variance reduction, 2023. The first micro-batch of an update is never dropped. A micro-batch is begun when
    it is asked for: its loading counts, and those that are dropped are not loaded.

    Args:
        threshold: Seconds of an update's accumulation, from when its first micro-batch is asked for, after
            which no further one is begun; infinity drops nothing.
        clock: Where the time comes from.
        group: Process group whose members' weights are added up before scaling; gradients are then to be
            summed, not averaged, over the members.

    Attributes:
        done: Micro-batches done so far.
        dropped: Micro-batches dropped so far, as far as their number is known.
        weight: Weight of the micro-batch that was given out last.

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
        >>> for x in DropCompute(9.0).until_late([torch.ones(8, 2), torch.ones(2, 2)], weights=len):
        ...     net(x).square().sum().backward()    # a sum over examples, to be divided by their number
    """

    def __init__(
        self,
        threshold: float,
        clock: Callable[[], float] = time.perf_counter,
        group: ProcessGroup | None = None,
    ) -> None:
        threshold = number("threshold", threshold, lambda value: value > 0, "seconds above 0")
        self.threshold, self.clock, self.group = threshold, clock, group
        self.done = self.dropped = 0
        self.weight = 1.0
        self._now = 0.0

    def until_late(
        self,
        micro_batches: Iterable[Micro],
        weights: Weights[Micro] | None = None,
        *,
        planned: int | None = None,
        consume: bool = False,
    ) -> Iterator[Micro]:
        """The micro-batches that are begun in time; the others are counted as dropped.

        Args:
            micro_batches: Those of one update.
            weights: How much each counts in the mean, or a function that says it of a micro-batch, such as
                its number of examples or of tokens; None: all alike. Its loss is then to be a sum over its
                examples, or its mean times :attr:`weight`.
            planned: How many there are, to count those that are dropped where ``micro_batches`` has no
                length.
            consume: Load those that are dropped as well, where they come from a stream that goes on after
                them.

        Raises:
            BadInput: A weight that is not above 0, or fewer weights than micro-batches.
        """
        start, number, sizes = self.clock(), 0, set[int]()
        self._now = 0.0
        if planned is None and isinstance(micro_batches, Sized):
            planned = len(micro_batches)
        elif planned is not None:
            whole("planned", planned, 0)
        source = iter(micro_batches)
        while number == 0 or not self._late(start):
            try:
                micro = next(source)
            except StopIteration:
                return
            self.weight = _weight(weights, number, micro)
            if weights is None:
                sizes |= _sizes(micro)
                if len(sizes) > 1:
                    _warn_of(sizes)
            number += 1
            self._now += self.weight
            self.done += 1
            yield micro
        if consume:
            self.dropped += sum(1 for _ in source)
        elif planned is not None:
            self.dropped += max(0, planned - number)

    def _late(self, start: float) -> bool:
        """Whether the deadline has passed."""
        return self.threshold != float("inf") and self.clock() - start > self.threshold

    @torch.no_grad()
    def scale(self, parameters: Iterable[Tensor]) -> None:
        """Divide the summed gradients by the weight of the micro-batches that were done, their number.

        Raises:
            RuntimeError: There was none, in any process of the group: there is nothing to step with.
        """
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        # where the gradients are: the group need not have a backend for the CPU
        total = torch.tensor(self._now, device=grads[0].device if grads else None)
        if self.group is not None:
            torch.distributed.all_reduce(total, group=self.group)
        if not total:
            raise RuntimeError("no micro-batch was done: iterate over until_late(micro_batches) before scale")
        for grad in grads:
            grad.div_(total.to(grad.device))

    def state_dict(self) -> StateDict:
        """Counts so far; between updates there is nothing else to keep."""
        return {"threshold": self.threshold, "done": self.done, "dropped": self.dropped}

    def load_state_dict(self, state: StateDict) -> None:
        """Go on from :meth:`state_dict`."""
        self.threshold, self.done, self.dropped = state["threshold"], state["done"], state["dropped"]


def _weight(weights: Weights[Micro] | None, number: int, micro: Micro) -> float:
    if weights is None:
        return 1.0
    if not callable(weights) and number >= len(weights):
        raise BadInput("weights", f"{len(weights)} of them", "one for each micro-batch")
    weight = float(weights(micro) if callable(weights) else weights[number])
    if not 0 < weight < math.inf:
        raise BadInput("weights", weight, "a finite number above 0")
    return weight


def _sizes(micro: object) -> set[int]:
    """Examples in a micro-batch, as its first tensor has them; nothing where it holds none."""
    leaf = next((leaf for _, leaf in tensors_in(micro)), None)
    return set() if leaf is None or leaf.dim() == 0 else {len(leaf)}


def _warn_of(sizes: set[int]) -> None:
    warnings.warn(
        f"micro-batches of {' and '.join(map(str, sorted(sizes)))} examples count alike; "
        "weights= makes each count by its size",
        stacklevel=3,
    )
