"""Local SGD in anybody's own loop: replicas that are averaged now and then."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn

from algobias.errors import BadInput
from algobias.levers.whole import whole

Entry = tuple[str, int, str]
"""What a tensor is (``parameter``, ``buffer``, ``stepped``, ``memory``), its place, its key in a memory."""

Form = tuple[tuple[int, ...], torch.dtype] | None
"""Shape and type of a tensor; None for what an optimizer remembers that is no tensor of real numbers."""


class LocalSGD:
    """Averages replicas, with their optimizers' memory and their buffers, after every H updates.

    In one process give it all replicas; over ``torch.distributed`` give it this process's only one, and the
    average is over the processes of the group. What only some optimizers remember (a layer that a replica did
    not use yet) counts as zero in the others. All checks come before anything is changed, and processes
    compare what they are about to average, so that unequal ones raise together instead of waiting forever.

    Args:
        modules: The replicas, of one architecture.
        optimizers: Their optimizers, in the same order; None leaves the memory alone.
        every: H, local updates between two averages.
        momentum: Average what the optimizers remember, as far as it is tensors of real numbers.
        buffers: Average buffers (BatchNorm statistics); left alone they stay those of each replica.
        group: Process group, where each process has one replica; None is the default group where one module
            is given, and no group at all where there are several.

    Raises:
        BadInput: H below 1, lists of different lengths, or one module and no process group. On averaging:
            replicas or memories that do not fit each other.

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
        if optimizers is not None and len(optimizers) != len(modules):
            raise BadInput("optimizers", len(optimizers), f"{len(modules)}, one for each module")
        if group is None and len(modules) < 2:
            group = _default_group(len(modules))
        self.modules, self.optimizers = list(modules), list(optimizers or [])
        self.every, self.momentum, self.buffers = whole("every", every, 1), momentum, buffers
        self.group, self.updates = group, 0

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
        forms = self._agreed()
        # The order is the same in every process.
        for entry in sorted(forms):
            form = forms[entry]
            if form is not None and form[1].is_floating_point and entry[0] != "stepped":
                self._mean([self._tensor(k, entry, form) for k in range(len(self.modules))])

    def _mean(self, same: list[Tensor]) -> None:
        device = self._device()
        # Adam counts its steps on the CPU: what is sent must be where the group's backend can send it.
        mean = torch.stack([tensor.detach().to(device) for tensor in same]).mean(0)
        if self.group is not None:
            distributed.all_reduce(mean, group=self.group)
            mean /= distributed.get_world_size(self.group)
        for tensor in same:
            tensor.copy_(mean)

    def _device(self) -> torch.device:
        first = next(self.modules[0].parameters(), None)
        return first.device if first is not None else torch.device("cpu")

    def _layout(self, k: int) -> dict[Entry, Form]:
        """What there is to average in a replica."""
        module = self.modules[k]
        found = {("parameter", i, ""): _form(p) for i, p in enumerate(module.parameters())}
        if self.buffers:
            found |= {("buffer", i, ""): _form(b) for i, b in enumerate(module.buffers())}
        if self.momentum and self.optimizers:
            for i, (parameter, _) in enumerate(_stepped(self.optimizers[k])):
                found["stepped", i, ""] = _form(parameter)
                for key, value in self.optimizers[k].state.get(parameter, {}).items():
                    if value is not None:
                        real = isinstance(value, Tensor) and value.is_floating_point()
                        found["memory", i, str(key)] = _form(value) if real else None
        return found

    def _agreed(self) -> dict[Entry, Form]:
        """All entries of all replicas, of this process and of others."""
        mine = [self._layout(k) for k in range(len(self.modules))]
        if self.group is not None:
            # A digest is all that is sent where processes agree, which is nearly always.
            text = repr([sorted(layout.items(), key=lambda one: one[0]) for layout in mine])
            digest = torch.tensor(list(hashlib.sha256(text.encode()).digest()), device=self._device())
            count = distributed.get_world_size(self.group)
            digests = [torch.empty_like(digest) for _ in range(count)]
            distributed.all_gather(digests, digest, group=self.group)
            if any(not torch.equal(one, digests[0]) for one in digests):
                everybody: list[Any] = [None] * count
                distributed.all_gather_object(everybody, mine, group=self.group)
                mine = [layout for layouts in everybody for layout in layouts]
        return _union(mine)

    def _tensor(self, k: int, entry: Entry, form: tuple[tuple[int, ...], torch.dtype]) -> Tensor:
        """The tensor of an entry; a memory that is missing is made, of zeros."""
        kind, place, key = entry
        if kind == "parameter":
            return list(self.modules[k].parameters())[place]
        if kind == "buffer":
            return list(self.modules[k].buffers())[place]
        optimizer = self.optimizers[k]
        parameter, options = _stepped(optimizer)[place]
        remembered = optimizer.state[parameter]
        if remembered.get(key) is None:
            shape, dtype = form
            # As torch does it: counts of steps stay on the CPU unless the optimizer's kernel reads them.
            there = shape == tuple(parameter.shape) or options.get("fused") or options.get("capturable")
            device = parameter.device if there else torch.device("cpu")
            remembered[key] = torch.zeros(shape, dtype=dtype, device=device)
        tensor: Tensor = remembered[key]
        return tensor

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on, besides modules and optimizers."""
        return {"updates": self.updates, "every": self.every}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.updates, self.every = int(state["updates"]), int(state["every"])


def _default_group(modules: int) -> Any:
    """The group of all processes, for a process with one replica."""
    if modules == 1 and distributed.is_available() and distributed.is_initialized():
        return distributed.group.WORLD
    allowed = "two replicas or more, or one in each process after torch.distributed.init_process_group"
    raise BadInput("modules", modules, allowed)


def _form(tensor: Tensor) -> Form:
    return tuple(tensor.shape), tensor.dtype


def _stepped(optimizer: torch.optim.Optimizer) -> list[tuple[Tensor, dict[str, Any]]]:
    """Every parameter of an optimizer with the options of its group."""
    return [(parameter, group) for group in optimizer.param_groups for parameter in group["params"]]


def _union(layouts: list[dict[Entry, Form]]) -> dict[Entry, Form]:
    """All entries; what is no memory of real numbers must be everywhere.

    Raises:
        BadInput: Replicas that do not fit each other.
    """
    union: dict[Entry, Form] = {}
    for layout in layouts:
        for entry, form in layout.items():
            if union.setdefault(entry, form) != form:
                raise BadInput(_words(entry), form, f"{union[entry]} as in the other replicas")
    for entry, form in union.items():
        if (entry[0] != "memory" or form is None) and any(entry not in layout for layout in layouts):
            raise BadInput(_words(entry), form, "what every replica has, or none")
    return union


def _words(entry: Entry) -> str:
    kind, place, key = entry
    return {
        "parameter": f"parameter {place} of a module",
        "buffer": f"buffer {place} of a module",
        "stepped": f"parameter {place} of an optimizer",
    }.get(kind, f"{key} that an optimizer remembers of parameter {place}")
