"""Levers that change an option of an optimizer's groups for the length of a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch.optim import Optimizer

from algobias.attached.levers.base import Injected, Options, amount


class GroupOption(Injected, ABC):
    """Change an option of every group before a step and put it back after it: schedules see their own.

    Class attributes:
        key: The option.
    """

    key: ClassVar[str]

    def __init__(self, spelling: str, options: Options) -> None:
        super().__init__(spelling, options)
        self._kept: dict[int, tuple[dict[str, Any], Any]] = {}

    @abstractmethod
    def value(self, now: Any, group: dict[str, Any], optimizer: Optimizer) -> Any:
        """What takes the place of a group's present value."""

    def before_step(self, optimizer: Optimizer) -> None:
        """Change the groups that are not changed yet: inner optimizers may share them."""
        if self.off:
            return
        groups = [group for group in optimizer.param_groups if id(group) not in self._kept]
        if any(self.key not in group for group in groups):
            self.refuse(f"the optimizer has no {self.key}")
            return
        changed = False
        for group in groups:
            now = group[self.key]
            value = self.value(now, group, optimizer)
            if self.off:
                return
            self._kept[id(group)] = (group, now)
            changed |= bool(value != now)
            group[self.key] = value
        if changed:
            self.acted()

    def step_ended(self) -> None:
        """Put back what was there."""
        for group, value in self._kept.values():
            group[self.key] = value
        self._kept.clear()


class Rate(GroupOption):
    """The learning rate of all groups, multiplied: ``lr:x2``, or ``lr:0.4`` in place of the script's own.

    An own rate stands for the one that the script begins with; the script's schedule, and its ratios between
    groups, are kept.
    """

    name: ClassVar[str] = "lr"
    positional: ClassVar[str] = "rate"
    known: ClassVar[tuple[str, ...]] = ("rate",)
    key: ClassVar[str] = "lr"

    def __init__(self, spelling: str, options: Options) -> None:
        super().__init__(spelling, options)
        self.amount, self.multiple = amount(options, "rate")
        self._first: float | None = None

    @property
    def changes_nothing(self) -> bool:
        """Once the rate is the rate."""
        return self.multiple and self.amount == 1

    def share(self, size: float) -> str | None:
        """The multiple to the power of the share; of one in place of the script's own there is none."""
        return f"lr:x{self.amount**size:.3g}" if self.multiple and self.amount > 0 else None

    def value(self, now: Any, group: dict[str, Any], optimizer: Optimizer) -> Any:
        """The rate times the factor."""
        if self.multiple:
            return now * self.amount
        if self._first is None:
            self._first = float(group.get("initial_lr", now))
        if self._first == 0:
            self.refuse("the script's learning rate begins at 0: a multiple such as lr:x2 can be injected")
            return now
        return self.amount if now == self._first else now * (self.amount / self._first)


class WeightDecay(GroupOption):
    """Weight decay: ``weight_decay:0.01``, or a multiple of the script's own.

    Groups without decay stay so where others have some; where no group has any, all get it.
    """

    name: ClassVar[str] = "weight_decay"
    positional: ClassVar[str] = "decay"
    known: ClassVar[tuple[str, ...]] = ("decay",)
    key: ClassVar[str] = "weight_decay"

    def __init__(self, spelling: str, options: Options) -> None:
        super().__init__(spelling, options)
        self.amount, self.multiple = amount(options, "decay")

    @property
    def changes_nothing(self) -> bool:
        """Once the decay is the decay."""
        return self.multiple and self.amount == 1

    def share(self, size: float) -> str | None:
        """The multiple to the power of the share; of one in place of the script's own there is none."""
        return f"weight_decay:x{self.amount**size:.3g}" if self.multiple and self.amount > 0 else None

    def value(self, now: Any, group: dict[str, Any], optimizer: Optimizer) -> Any:
        """The decay of a group."""
        if self.multiple:
            return now * self.amount
        others = (other.get("weight_decay") for other in optimizer.param_groups)
        return self.amount if now or not any(others) else now


class Warmup(GroupOption):
    """``lr min(1, (t + 1) / K)`` for update t, counted from 0: ``warmup:40``."""

    name: ClassVar[str] = "warmup"
    positional: ClassVar[str] = "length"
    known: ClassVar[tuple[str, ...]] = ("length",)
    key: ClassVar[str] = "lr"

    def __init__(self, spelling: str, options: Options) -> None:
        super().__init__(spelling, options)
        if 0 < options.number("length") < 1:
            allowed = "a number of updates: what share of the run they are is not known inside of a script"
            raise options.refused("length", allowed)
        self.updates = options.whole("length", least=0)

    @property
    def changes_nothing(self) -> bool:
        """A warm-up of one update has the whole rate at once."""
        return self.updates <= 1

    def share(self, size: float) -> str | None:
        """So many of the updates."""
        return f"warmup:{round(self.updates * size)}"

    def value(self, now: Any, group: dict[str, Any], optimizer: Optimizer) -> Any:
        """The rate at this update."""
        done = self.run.steps.updates
        return now if done + 1 >= self.updates else now * ((done + 1) / self.updates)
