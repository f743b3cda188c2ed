"""What replicas of a network and their optimizers hold, so that it can be averaged."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.optimizer import StateDict

from algobias.components.wrapper import innermost
from algobias.errors import BadInput

Entry = tuple[str, int, str]
"""What a tensor is (``parameter``, ``buffer``, ``stepped``, ``memory``, ``setting``), its place, its name."""

Form = tuple[tuple[int, ...], torch.dtype] | None
"""Shape and type of a tensor; None for what an optimizer remembers that is no tensor of numbers."""


class Replica:
    """A network and its optimizer, if that is to be averaged as well.

    What is remembered of a parameter has the place that the parameter has in the module, whatever the order
    in which the optimizer lists them; parameters that the module does not have come after.

    Args:
        module: The network.
        optimizer: Its optimizer, or a wrapper around one, whose own memory stays as it is.
        buffers: Whether buffers count.
    """

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer | None, buffers: bool) -> None:
        self.parameters = list(module.parameters())
        self.buffers = list(module.buffers()) if buffers else []
        self.stepped: dict[int, tuple[torch.optim.Optimizer, Tensor, StateDict]] = {}
        places = {id(parameter): place for place, parameter in enumerate(self.parameters)}
        for one in innermost(optimizer) if optimizer is not None else ():
            for group in one.param_groups:
                for parameter in group["params"]:
                    place = places.setdefault(id(parameter), len(places))
                    self.stepped[place] = (one, parameter, group)

    def layout(self) -> dict[Entry, Form]:
        """All tensors there are."""
        layout: dict[Entry, Form] = {
            ("parameter", place, ""): form_of(parameter) for place, parameter in enumerate(self.parameters)
        }
        layout |= {("buffer", place, ""): form_of(buffer) for place, buffer in enumerate(self.buffers)}
        for place, (optimizer, parameter, _) in self.stepped.items():
            layout["stepped", place, ""] = form_of(parameter)
            for key, value in optimizer.state.get(parameter, {}).items():
                if value is not None:
                    numbers = isinstance(value, Tensor) and is_continuous(value.dtype)
                    layout["memory", place, str(key)] = form_of(value) if numbers else None
        return layout

    def tensor(self, entry: Entry, form: tuple[tuple[int, ...], torch.dtype]) -> Tensor:
        """The tensor of an entry; a memory that is missing is made, of zeros."""
        kind, place, key = entry
        if kind != "memory":
            return (self.parameters if kind == "parameter" else self.buffers)[place]
        optimizer, parameter, options = self.stepped[place]
        remembered = optimizer.state[parameter]
        if remembered.get(key) is None:
            shape, dtype = form
            # As torch does it: counts of steps stay on the CPU unless the optimizer's kernel reads them.
            there = shape == tuple(parameter.shape) or options.get("fused") or options.get("capturable")
            device = parameter.device if there else torch.device("cpu")
            remembered[key] = torch.zeros(shape, dtype=dtype, device=device)
        tensor: Tensor = remembered[key]
        return tensor


def form_of(tensor: Tensor) -> Form:
    """Shape and type."""
    return tuple(tensor.shape), tensor.dtype


def is_continuous(dtype: torch.dtype) -> bool:
    """Whether numbers of this type have a mean: real or complex ones, no counts."""
    return dtype.is_floating_point or dtype.is_complex


def union(layouts: list[dict[Entry, Form]]) -> dict[Entry, Form]:
    """All entries; what is no memory of numbers must be everywhere.

    Raises:
        BadInput: Replicas that do not fit each other.
    """
    entries: dict[Entry, Form] = {}
    for layout in layouts:
        for entry, form in layout.items():
            if entries.setdefault(entry, form) != form:
                raise BadInput(words(entry), form, f"{entries[entry]} as in the other replicas")
    for entry, form in entries.items():
        if (entry[0] != "memory" or form is None) and any(entry not in layout for layout in layouts):
            raise BadInput(words(entry), form, "what every replica has, or none")
    return entries


def words(entry: Entry) -> str:
    """What an entry is, in a message."""
    kind, place, key = entry
    return {
        "parameter": f"parameter {place} of a module",
        "buffer": f"buffer {place} of a module",
        "stepped": f"parameter {place} of an optimizer",
        "setting": key,
    }.get(kind, f"{key} that an optimizer remembers of parameter {place}")
