"""Torch and others, loaded at their first use: what only lists, spells or reads need not wait for them.

``import torch`` takes seconds. Files with cards, spelling and torch code side by side write
``from algobias.lazy import torch`` and use it as the module; names for annotations alone are imported under
``TYPE_CHECKING``. Files that only training loads import torch plainly.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class LazyModule:
    """A module that is imported when something in it is first asked for.

    Args:
        name: Full name of the module.
    """

    def __init__(self, name: str) -> None:
        self.__dict__["__name__"] = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__dict__["__name__"]), name)

    def __repr__(self) -> str:
        return f"<{self.__dict__['__name__']}, loaded at its first use>"


if TYPE_CHECKING:
    import torch as torch
else:
    torch = LazyModule("torch")


def no_grad(function: Callable[P, R]) -> Callable[P, R]:
    """Do what ``@torch.no_grad()`` does, without loading torch before the function is called."""

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> R:
        with torch.no_grad():
            return function(*args, **options)

    return call


def names_of(module: Mapping[str, Any]) -> Callable[[], list[str]]:
    """Make a module's ``__dir__``: what is in it, and what it offers and has not imported yet.

    Args:
        module: ``globals()`` of the module, with its ``__all__``.
    """
    return lambda: sorted({*module, *module["__all__"]})


def attributes_from(module: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Make a module's ``__getattr__`` that imports names from where they are defined, when asked for.

    Args:
        module: ``__name__`` of the module that offers them.
        homes: For each module that defines some of them, their names.

    Example:
        >>> attributes_from("shop", {"math": ("sqrt",)})("sqrt")(9.0)
        3.0
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def attribute(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(importlib.import_module(home_of[name]), name)

    return attribute
