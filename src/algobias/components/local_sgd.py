"""Local SGD in anybody's own loop: replicas that are averaged now and then."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed, nn
from torch.optim.optimizer import StateDict

from algobias.components.given import check_module, check_optimizer, whole
from algobias.components.replicas import Entry, Form, Replica, is_continuous, union
from algobias.components.wrapper import innermost, precise
from algobias.errors import BadInput

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Outer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


class LocalSGD:
    """Averages replicas, with their optimizers' memory and their buffers, after every H updates.

    In one process give it all replicas; over ``torch.distributed`` give it this process's only one, and the
    average is over the processes of the group. What only some optimizers remember (a layer that a replica did
    not use yet) counts as zero in the others; memory is matched through the parameter of the module it
    belongs to. All checks come before anything is changed, and processes compare what they are about to
    average, so that unequal ones raise together instead of waiting forever. Half precision is averaged in
    float32; counts (whole numbers) stay as they are.

    With an *outer* optimizer (DiLoCo: Douillard et al., 2023) the mean does not replace the common weights
    a of the last average, but ``a - mean`` is the gradient of a step from them. It begins at the weights that
    the replicas have at their first update.

    Args:
        modules: The replicas, of one architecture.
        optimizers: Their optimizers, in the same order; None leaves the memory alone. A wrapper's own memory
            (old weights, what was left out) stays with its replica.
        every: H, local updates between two averages.
        momentum: Average what the optimizers remember, as far as it is tensors of numbers.
        buffers: Average buffers (BatchNorm statistics); left alone they stay those of each replica.
        group: Process group, where each process has one replica; None is the default group where one module
            is given, and no group at all where there are several.
        weights: How much each of ``modules`` counts in every average, as for shards of unequal size; None:
            all alike. Only their ratios matter, over all processes.
        outer: (parameters) -> the outer optimizer, such as
            ``lambda p: torch.optim.SGD(p, lr=0.7, momentum=0.9, nesterov=True)``.

    Memory: with an outer optimizer one copy of the weights, and what it remembers.

    Raises:
        BadInput: H below 1, lists of different lengths, weights that are no shares, an outer optimizer
            without ``optimizers``, or one module and no process group. On averaging: replicas or memories
            that do not fit each other.

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
        group: ProcessGroup | None = None,
        weights: Sequence[float] | None = None,
        outer: Outer | None = None,
    ) -> None:
        for module in modules:
            check_module("modules", module)
        for optimizer in optimizers or ():
            check_optimizer("optimizers", optimizer)
        for field, given in (("modules", modules), ("optimizers", optimizers or ())):
            if len({id(one) for one in given}) < len(given):
                raise BadInput(field, "the same one twice", "one for each replica")
        if optimizers is not None and len(optimizers) != len(modules):
            raise BadInput("optimizers", len(optimizers), f"{len(modules)}, one for each module")
        if group is None and len(modules) < 2:
            group = _default_group(len(modules))
        if outer is not None and optimizers is None:
            raise BadInput("outer", "without optimizers", "with the replicas' optimizers given too")
        self.modules, self.optimizers = list(modules), list(optimizers or [])
        self.every, self.momentum, self.buffers = whole("every", every, 1), momentum, buffers
        self.weights, self.outer = _checked(weights, len(modules)), outer
        self.group, self.updates = group, 0
        self._starts: dict[int, list[Tensor]] = {}
        self._anchor: list[nn.Parameter] = []
        self._outer: torch.optim.Optimizer | None = None
        self._handles = [
            step.register_step_pre_hook(lambda *_, k=k: self._begin(k))
            for k, optimizer in enumerate(self.optimizers if outer is not None else [])
            for step in innermost(optimizer)
        ]

    def _begin(self, k: int) -> None:
        """Remember the weights of a replica before its first update: they may be loaded after wrapping."""
        if k not in self._starts:
            self._starts[k] = [p.detach().clone() for p in _weights(self.modules[k])]

    def step(self) -> bool:
        """Count one update of every replica; average them if it was the H-th. Whether it did."""
        self.updates += 1
        if self.updates % self.every:
            return False
        self.average()
        return True

    @torch.no_grad()
    def average(self) -> None:
        """Put the mean over the replicas into each of them.

        Raises:
            BadInput: Replicas that do not fit each other; nothing was changed then.
        """
        steps: list[torch.optim.Optimizer | None] = [*self.optimizers] if self.momentum else []
        steps += [None] * (len(self.modules) - len(steps))
        replicas = [Replica(net, step, self.buffers) for net, step in zip(self.modules, steps, strict=True)]
        forms = self._agreed([replica.layout() for replica in replicas])
        shares = self._shares()
        if self.outer is not None and self._outer is None:
            self._cast_anchor(self.outer, shares)
        means: list[Tensor] = []
        # The order is the same in every process.
        for entry in sorted(forms):
            form = forms[entry]
            if form is not None and is_continuous(form[1]) and entry[0] not in ("stepped", "setting"):
                same = [replica.tensor(entry, form) for replica in replicas]
                mean = self._mean(same, shares)
                if entry[0] == "parameter" and self._outer is not None:
                    means.append(mean)
                else:
                    _put(same, mean)
        if self._outer is not None:
            for anchor, mean in zip(self._anchor, means, strict=True):
                anchor.grad = anchor - mean
            self._outer.step()
            self._outer.zero_grad()
            for anchor, *same in zip(self._anchor, *map(_weights, self.modules), strict=True):
                _put(same, anchor)

    def _cast_anchor(self, outer: Outer, shares: Tensor | None) -> None:
        for k in range(len(self.modules)):
            self._begin(k)
        starts = zip(*(self._starts[k] for k in range(len(self.modules))), strict=True)
        self._set_anchor([self._mean(list(same), shares) for same in starts], outer)

    def _set_anchor(self, weights: list[Tensor], outer: Outer) -> None:
        self._anchor = [nn.Parameter(weight) for weight in weights]
        self._outer = outer(self._anchor)
        for handle in self._handles:
            handle.remove()
        self._handles, self._starts = [], {}

    def _shares(self) -> Tensor | None:
        """How much each replica of this process counts in the mean over all of them; None: all alike."""
        if self.weights is None:
            return None
        weights = torch.tensor(self.weights, dtype=torch.float64, device=self._device())
        total = weights.sum()
        if self.group is not None:
            distributed.all_reduce(total, group=self.group)
        if not total > 0:
            raise BadInput("weights", self.weights, "one that is above 0 in any of the processes")
        return weights / total

    def _mean(self, same: list[Tensor], shares: Tensor | None) -> Tensor:
        device = self._device()
        # Adam counts its steps on the CPU: what is sent must be where the group's backend can send it.
        stack = torch.stack([tensor.detach().to(device, precise(tensor.dtype)) for tensor in same])
        if shares is None:
            mean = stack.mean(0)
        else:
            mean = (stack * shares.to(stack.dtype).view(-1, *[1] * (stack.dim() - 1))).sum(0)
        if self.group is not None:
            # Not every backend adds complex numbers up.
            sent = torch.view_as_real(mean) if mean.is_complex() else mean
            distributed.all_reduce(sent, group=self.group)
            if shares is None:
                mean /= distributed.get_world_size(self.group)
        return mean

    def _device(self) -> torch.device:
        first = next(self.modules[0].parameters(), None)
        return first.device if first is not None else torch.device("cpu")

    def _agreed(self, mine: list[dict[Entry, Form]]) -> dict[Entry, Form]:
        """All entries of all replicas, of this process and of others."""
        settings = {"weights": self.weights is not None, "outer": self.outer is not None}
        settings["outer: its earlier averages"] = self._outer is not None
        for layout in mine:
            layout |= {("setting", 0, name): None for name, given in settings.items() if given}
        if self.group is not None:
            # A digest is all that is sent where processes agree, which is nearly always.
            text = repr([sorted(layout.items(), key=lambda one: one[0]) for layout in mine])
            digest = torch.tensor(list(hashlib.sha256(text.encode()).digest()), device=self._device())
            count = distributed.get_world_size(self.group)
            digests = [torch.empty_like(digest) for _ in range(count)]
            distributed.all_gather(digests, digest, group=self.group)
            if any(not torch.equal(one, digests[0]) for one in digests):
                everybody: list[list[dict[Entry, Form]]] = [[]] * count
                distributed.all_gather_object(everybody, mine, group=self.group)
                mine = [layout for layouts in everybody for layout in layouts]
        return union(mine)

    def state_dict(self) -> StateDict:
        """What is needed to go on, besides modules and optimizers."""
        return {
            "updates": self.updates,
            "every": self.every,
            "starts": self._starts,
            "anchor": [anchor.detach().clone() for anchor in self._anchor],
            "outer": None if self._outer is None else self._outer.state_dict(),
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            BadInput: The state of other replicas, or of one with an outer optimizer where this has none.
        """
        anchor, starts = state.get("anchor", []), state.get("starts", {})
        if (anchor or starts) and self.outer is None:
            raise BadInput("outer", None, "an outer optimizer, as in the state")
        shapes = [tuple(p.shape) for p in _weights(self.modules[0])]
        for weights in (*starts.values(), *([anchor] if anchor else [])):
            if (given := [tuple(weight.shape) for weight in weights]) != shapes:
                raise BadInput("anchor", given, f"tensors of the shapes of the parameters, {shapes}")
        self.updates, self.every = int(state["updates"]), int(state["every"])
        self._starts = {int(k): list(weights) for k, weights in starts.items()}
        if anchor and self.outer is not None:
            self._set_anchor([weight.detach().to(self._device(), copy=True) for weight in anchor], self.outer)
            assert self._outer is not None
            self._outer.load_state_dict(state["outer"])


@torch.no_grad()
def _put(tensors: list[Tensor], value: Tensor) -> None:
    for tensor in tensors:
        tensor.copy_(value)


def _weights(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that have a mean."""
    return [parameter for parameter in module.parameters() if is_continuous(parameter.dtype)]


def _checked(weights: Sequence[float] | None, modules: int) -> list[float] | None:
    if weights is None:
        return None
    if len(weights) != modules:
        raise BadInput("weights", len(weights), f"{modules}, one for each module")
    if not all(0 <= weight < math.inf for weight in weights):
        raise BadInput("weights", list(weights), "finite numbers of at least 0")
    return [float(weight) for weight in weights]


def _default_group(modules: int) -> ProcessGroup:
    """The group of all processes, for a process with one replica."""
    world = distributed.group.WORLD if distributed.is_available() else None
    if modules == 1 and world is not None:
        return world
    allowed = "two replicas or more, or one in each process after torch.distributed.init_process_group"
    raise BadInput("modules", modules, allowed)
