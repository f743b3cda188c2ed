"""Everything that doing something again may disturb, put back: buffers, numbers, containers, generators."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from algobias.put_back.attributes import Attributes
from algobias.seeding.states import GlobalStates


@contextmanager
def undone(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Put back afterwards what calls of modules change besides their results, also after an exception.

    Buffers inside are copies, which take the place of the script's own: graphs of the script's that are still
    to be gone back through hold the originals. Gradients are the caller's.
    """
    parts = list(dict.fromkeys(part for module in modules for part in module.modules()))
    buffers = [(part, dict(part._buffers)) for part in parts if part._buffers]
    attributes = Attributes((str(place), part) for place, part in enumerate(parts))
    states, own = GlobalStates.now(), private_states(parts)
    torch.clear_autocast_cache()
    with torch.no_grad():
        for part, kept in buffers:
            part._buffers.update(
                {name: None if b is None else b.detach().clone() for name, b in kept.items()}
            )
    try:
        yield
    finally:
        for part, kept in buffers:
            part._buffers.update(kept)
        attributes.put_back()
        states.put_back()
        for generator, state in own:
            put_state(generator, state)
        torch.clear_autocast_cache()


def set_buffers(values: Iterable[tuple[nn.Module, str, Tensor]]) -> None:
    """Give modules buffers of these values, in tensors of their own."""
    for module, name, value in values:
        module._buffers[name] = value.clone()


def private_states(parts: Iterable[nn.Module]) -> list[tuple[Any, Any]]:
    """Random generators of the script's own with their states, where they are found.

    Looked for among the attributes of modules, the global names of their files, what their forward methods
    enclose, and the global names of the script.
    """
    places: dict[int, dict[str, object]] = {}
    enclosed: list[object] = []
    for part in parts:
        places[id(vars(part))] = vars(part)
        forward = type(part).forward
        if isinstance(forward, FunctionType) and not forward.__module__.startswith("torch."):
            places[id(forward.__globals__)] = forward.__globals__
            enclosed += [cell.cell_contents for cell in forward.__closure__ or () if _is_filled(cell)]
    script = sys.modules.get("__main__")
    if script is not None:
        places[id(vars(script))] = vars(script)
    values = [value for place in places.values() for value in list(place.values())]
    generators = {id(value): value for value in (*values, *enclosed) if _is_generator(value)}
    return [(generator, _state(generator)) for generator in generators.values()]


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises
    except ValueError:
        return False
    return True


def _is_generator(value: object) -> bool:
    return isinstance(value, torch.Generator | np.random.Generator | np.random.RandomState | random.Random)


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.get_state()


def put_state(generator: Any, state: Any) -> None:
    """Put a generator back to a state."""
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(state)
