"""Hashes of data and of a user's code: what makes two runs with one recipe different."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.own.user_code import PACKAGE, UserFunction
from algobias.tasks.source import ItemSource, Source, TensorSource
from algobias.trees import tensors_in

if TYPE_CHECKING:
    from torch import nn

HASHED_ITEMS = 256
"""Items of a dataset that are hashed, evenly spread over it."""


def hash_source(source: Source) -> str:
    """Hash of the examples.

    All bytes of tensors in memory. Of a dataset: its length, its ``repr`` (addresses in memory left out) and
    :data:`HASHED_ITEMS` items spread evenly, loaded as for evaluation. Cost: about a second per gigabyte.
    """
    digest = hashlib.sha256()
    if isinstance(source, TensorSource):
        for path, tensor in tensors_in(source.data):
            digest.update(path.encode())
            _add(digest, tensor)
        digest.update(_plain(repr(source.augment)).encode())
    elif isinstance(source, ItemSource):
        digest.update(f"{len(source)} {_plain(repr(source.dataset))}".encode())
        for example in _spread(len(source), HASHED_ITEMS):
            _add(digest, source.item(example))
    else:
        digest.update(f"{len(source)} {_plain(repr(source))}".encode())
    return digest.hexdigest()


def hash_code(functions: Iterable[Callable[..., Any] | None], files: Iterable[Path] = ()) -> str:
    """Hash of the source files in which a user's functions are written; this package's own are left out.

    Functions typed into an interpreter or a notebook count with their own source, or their bytecode.

    Args:
        functions: Model factory, loss, metric, collate.
        files: Further source files (modules that the task file imports from its folder).
    """
    pieces: set[str] = set()
    for path in files:
        try:
            pieces.add(hashlib.sha256(path.read_bytes()).hexdigest())
        except OSError as error:
            raise BadInput("task", str(path), f"a file that can be read ({error.strerror})") from error
    for function in functions:
        if function is not None:
            pieces.add(_code_of(function))
    return hashlib.sha256("\n".join(sorted(pieces - {""})).encode()).hexdigest()


def hash_structure(net: nn.Module) -> str:
    """Hash of a network's module names and of its parameters' and buffers' names and shapes."""
    lines = [_plain(str(net))]
    lines += [f"{name} {tuple(tensor.shape)} {tensor.dtype}" for name, tensor in net.state_dict().items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _code_of(function: Callable[..., Any]) -> str:
    if isinstance(function, UserFunction):
        function = function.function
    if isinstance(function, functools.partial):
        bound = _plain(repr((function.args, sorted(function.keywords.items()))))
        return hashlib.sha256((_code_of(function.func) + bound).encode()).hexdigest()
    target: Any = inspect.unwrap(function)
    if not (inspect.isroutine(target) or inspect.isclass(target)):
        target = type(target)
    written = _file_of(target)
    path = Path(written).resolve() if written is not None else None
    if path is not None and PACKAGE in path.parents:
        return ""
    if path is not None and path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        text = inspect.getsource(target)
    except (OSError, TypeError):
        code = getattr(target, "__code__", None)
        text = (
            repr((code.co_code, code.co_names)) if code is not None else getattr(target, "__qualname__", "")
        )
    return hashlib.sha256(text.encode()).hexdigest()


def _file_of(target: Any) -> str | None:
    """The file in which a function or a class is written.

    Of a class it is that of its methods: the module it is looked up in by name may be another one by now.
    """
    for method in vars(target).values() if inspect.isclass(target) else ():
        code = getattr(method, "__code__", None)
        if code is not None and method.__qualname__ == f"{target.__qualname__}.{method.__name__}":
            return str(code.co_filename)
    try:
        return inspect.getsourcefile(target)
    except TypeError:
        return None


def _add(digest: Any, value: Any) -> None:
    """Feed one value of an item into the hash: exact for tensors, arrays, images, numbers and text."""
    if isinstance(value, torch.Tensor):
        digest.update(f"tensor {value.dtype} {tuple(value.shape)}".encode())
        raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().data)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"array {value.dtype} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    elif isinstance(value, Mapping):
        for key in value:
            digest.update(repr(key).encode())
            _add(digest, value[key])
    elif isinstance(value, tuple | list):
        digest.update(f"{type(value).__name__} {len(value)}".encode())
        for item in value:
            _add(digest, item)
    elif hasattr(value, "__array_interface__"):  # a PIL image
        _add(digest, np.asarray(value))
    elif isinstance(value, bytes):
        digest.update(value)
    else:
        digest.update(_plain(repr(value)).encode())


def _plain(text: str) -> str:
    return re.sub(r"\bat 0x[0-9a-fA-F]+", "", text)


def _spread(length: int, count: int) -> list[int]:
    if length <= count:
        return list(range(length))
    return [round(place * (length - 1) / (count - 1)) for place in range(count)]
