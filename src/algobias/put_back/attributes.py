"""What modules hold besides weights and buffers, put back: numbers, tensors and containers in attributes."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from typing import TYPE_CHECKING

from algobias.lazy import no_grad, torch
from algobias.put_back.containers import Contents, containers_of

if TYPE_CHECKING:
    from torch import Tensor, nn

_PLAIN = (numbers.Number, str, type(None))


class Attributes:
    """The attributes of modules as they are when this is made.

    Numbers, texts and None; tensors that are neither parameters nor buffers, by what they hold and which they
    are; dictionaries, lists, sets, queues and arrays. Attributes that are new later are taken away. Memory:
    copies of those tensors and containers.

    Args:
        named: All the modules, each with its name.
        beyond: Containers too that forward methods enclose, or use by a global name.
    """

    def __init__(self, named: Iterable[tuple[str, nn.Module]], *, beyond: bool = True) -> None:
        modules = dict(named)
        parts = list(modules.values())
        self._plain = [(name, part, values) for name, part in modules.items() if (values := _plain(part))]
        self._names = [(part, len(vars(part)), set(vars(part))) for part in parts if _is_own(part)]
        self._tensors = [
            (part, name, value) for part in parts for name, value in vars(part).items() if _is_tensor(value)
        ]
        self._contents = Contents(containers_of(parts, beyond=beyond))
        loose = {id(value): value for _, _, value in self._tensors}
        loose |= {id(value): value for value in self._contents.held() if _is_tensor(value)}
        # What shares the memory of a weight changes with it, by every update.
        shared = {_memory(t) for part in parts for t in (*part.parameters(False), *part.buffers(False))}
        self._values = [
            (tensor, tensor._version, tensor.detach().clone())
            for tensor in loose.values()
            if not tensor.is_inference() and _memory(tensor) not in shared
        ]

    def put_back(self) -> None:
        """Give every attribute what it held. Cost: about a microsecond for each module of the user's own."""
        for part, count, names in self._names:
            if len(vars(part)) != count:
                for name in vars(part).keys() - names:
                    del vars(part)[name]
        for _, part, values in self._plain:
            vars(part).update(values)
        for part, name, tensor in self._tensors:
            vars(part)[name] = tensor
        self._contents.put_back()
        if self._values:
            _write(self._values)

    def changed(self) -> dict[str, tuple[object, object]]:
        """Find attributes of which the number is another one now.

        Returns:
            The number before and the one now, by the path of the attribute.
        """
        changed: dict[str, tuple[object, object]] = {}
        for module, part, values in self._plain:
            now = _plain(part)
            for name, value in values.items():
                if isinstance(value, numbers.Number) and name in now and not _same(now[name], value):
                    changed[f"{module}.{name}" if module else name] = (value, now[name])
        return changed


@no_grad
def _write(values: list[tuple[Tensor, int, Tensor]]) -> None:
    for place, (tensor, version, kept) in enumerate(values):
        if tensor._version != version:
            tensor.copy_(kept)
            values[place] = (tensor, tensor._version, kept)


def _plain(part: nn.Module) -> dict[str, object]:
    return {
        name: value for name, value in vars(part).items() if isinstance(value, _PLAIN) and name != "training"
    }


def _is_own(part: nn.Module) -> bool:
    return not type(part).__module__.startswith("torch.")


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor) and not isinstance(value, torch.nn.Parameter)


def _memory(tensor: Tensor) -> int:
    """Where the numbers of a tensor lie; its own number where that is not one place."""
    if tensor.layout is not torch.strided or not tensor.numel():
        return id(tensor)
    return tensor.untyped_storage().data_ptr() or id(tensor)


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and (one == other or (one != one and other != other))
