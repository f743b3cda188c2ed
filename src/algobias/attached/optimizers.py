"""The optimizers of a process, found before any of them has stepped."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator

from torch import Tensor
from torch.optim import Optimizer


def optimizers() -> Iterator[Optimizer]:
    """Find the optimizers there are that have something to train.

    Cost: a walk over all objects that Python's collector knows; some ten milliseconds.
    """
    # By its type: isinstance asks objects for a class of their own, and a stranger's proxy may then act.
    every = (known for known in gc.get_objects() if issubclass(type(known), Optimizer))
    for optimizer in every:
        if any(parameter.requires_grad for parameter in parameters_of(optimizer)):
            yield optimizer


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """The parameters of all groups; none of an optimizer whose making has failed."""
    groups = getattr(optimizer, "param_groups", [])
    return [parameter for group in groups for parameter in group["params"]]


def stepping(weights: Iterable[Tensor], among: Iterable[Optimizer]) -> list[Optimizer]:
    """Which optimizers step any of the weights."""
    wanted = {id(weight) for weight in weights}
    return [each for each in among if any(id(p) in wanted for p in parameters_of(each))]
