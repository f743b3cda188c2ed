"""Dictionaries, lists, sets and arrays of modules: put back after calls besides those of the script."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import nn

LARGE = 1_000
"""Containers with more entries are copied, and what lies in them is not looked into."""

LARGEST = 1_000_000
"""Entries that are copied in all; what goes beyond is left alone: copying it would cost more than a step."""

DEEPEST = 4
"""Containers inside each other so far are looked into."""


@functools.cache
def _of_torch() -> frozenset[str]:
    """The attributes that every module has."""
    return frozenset(vars(torch.nn.Module()))


class Contents:
    """Everything in some containers, as it was when this was made.

    Args:
        containers: Dictionaries, lists, sets, queues and arrays; those inside of them are found.
    """

    def __init__(self, containers: Iterable[object]) -> None:
        self._kept: list[tuple[Any, Any]] = []
        self._room = LARGEST
        seen: set[int] = set()
        for value in containers:
            self._keep(value, seen, 1)

    def _keep(self, value: Any, seen: set[int], depth: int) -> None:
        if not _is_container(value) or id(value) in seen or _size(value) > self._room:
            return
        seen.add(id(value))
        self._room -= _size(value)
        self._kept.append((value, value.copy()))
        if depth < DEEPEST and len(value) <= LARGE and not isinstance(value, np.ndarray):
            for inner in list(value.values() if isinstance(value, dict) else value):
                self._keep(inner, seen, depth + 1)

    def held(self) -> Iterator[object]:
        """Everything that lies in those that are looked into."""
        for _, kept in self._kept:
            if not isinstance(kept, np.ndarray) and len(kept) <= LARGE:
                yield from kept.values() if isinstance(kept, dict) else kept

    def put_back(self) -> None:
        """Give every container that was changed what it held, in place: whoever else has it sees that too."""
        for value, kept in self._kept:
            if _alike(value, kept):
                continue
            if isinstance(value, np.ndarray):
                np.copyto(value, kept)
            elif isinstance(value, list | deque):
                value.clear()
                value.extend(kept)
            else:
                value.clear()
                value.update(kept)


def containers_of(parts: Iterable[nn.Module], *, beyond: bool = True) -> Iterator[object]:
    """Find the containers that calls of modules may change.

    Args:
        parts: The modules; of those that are torch's own nothing is looked at.
        beyond: Besides attributes, what forward methods use by name: global names of their file, and what
            encloses them.
    """
    for part in parts:
        if type(part).__module__.startswith("torch."):
            continue
        for name, value in list(vars(part).items()):
            if name not in _of_torch() and _is_container(value):
                yield value
        forward = type(part).forward
        if beyond and isinstance(forward, FunctionType):
            known = forward.__globals__
            yield from (known[name] for name in forward.__code__.co_names if _is_container(known.get(name)))
            for cell in forward.__closure__ or ():
                try:
                    yield cell.cell_contents
                except ValueError:  # nothing is in it yet
                    continue


def _is_container(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0 and value.dtype != object and value.flags.writeable
    # Others' own kinds may do anything where they are filled anew.
    plain = type(value).__module__ in ("builtins", "collections")
    return plain and isinstance(value, dict | list | set | deque)


def _size(value: Any) -> int:
    return int(value.size) if isinstance(value, np.ndarray) else len(value)


def _alike(value: Any, kept: Any) -> bool:
    """Whether a container holds the very same things in the same places."""
    if isinstance(value, np.ndarray):
        return bool(value.tobytes() == kept.tobytes())
    if len(value) != len(kept):
        return False
    if isinstance(value, set):
        return bool(value == kept)
    pairs = zip(_entries(value), _entries(kept), strict=True)
    return all(one is other for one, other in pairs)


def _entries(value: Any) -> Iterator[object]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield inner
    else:
        yield from value
