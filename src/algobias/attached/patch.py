"""Other people's functions, replaced by ones that call them."""

from __future__ import annotations

from collections.abc import Callable


def replace(place: object, name: str, function: Callable[..., object]) -> None:
    """Put ``function`` where ``place.name`` was; nothing where there was none.

    Functions of a module are pickled by name: the name must lead to the new one, or a pickle of it fails.

    Args:
        place: A module or a class.
        name: Of the function there.
        function: Made with ``functools.wraps`` of the one it takes the place of.
    """
    if hasattr(place, name):
        setattr(place, name, function)
