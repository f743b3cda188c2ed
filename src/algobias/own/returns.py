"""What the methods of a class must return, looked at where those of a user's own are called."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from algobias.errors import BadInput
from algobias.own.user_code import PACKAGE, raised_in

Handed = Callable[[Any, tuple[Any, ...], str], Any]


@dataclass(frozen=True)
class Returns:
    """What a method must return.

    Attributes:
        wanted: In words: ``a Recipe``.
        fits: (value, class) -> whether this is what a class may return.
        handed: (value, arguments, place) -> the value as it is handed on, where functions in it are looked at
            as well; None: as it is.
    """

    wanted: str
    fits: Callable[[Any, type], bool]
    handed: Handed | None = None


def of_type(wanted: str, *kinds: type) -> Returns:
    """An object of one of these types."""
    return Returns(wanted, lambda value, owner: isinstance(value, kinds))


def truth() -> Returns:
    """True or False, numpy's too."""
    return Returns("True or False", lambda value, owner: type(value).__name__ in ("bool", "bool_"))


def amount(*, above: bool = False) -> Returns:
    """A finite number of 0 or more."""

    def fits(value: Any, owner: type) -> bool:
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            return False
        return float(value) > 0 if above else float(value) >= 0

    return Returns(f"a finite number {'above 0' if above else 'of 0 or more'}", fits)


def hold_to(cls: type, promised: Mapping[str, Returns]) -> None:
    """Look at what the methods return that a user's class, or a class mixed into it, defines.

    What they raise is noted as theirs, so that it is told with its line.

    Args:
        cls: The class.
        promised: What must be returned, by the name of the method.

    Raises:
        TypeError: Something else stands where a method must.
    """
    for name, returns in promised.items():
        home = next((base for base in cls.__mro__ if name in vars(base)), None)
        if home is None or is_own(home) or (home is not cls and _held(vars(home)[name])):
            continue
        setattr(cls, name, _looked_at(cls, name, vars(home)[name], returns))


def is_own(cls: type) -> bool:
    """Whether a class is one of this package's."""
    return cls.__module__.partition(".")[0] == PACKAGE.name


def checked(value: object, fits: bool, place: str, wanted: str) -> None:
    """Refuse what a user's code has returned where it is not what it must be.

    Raises:
        BadInput: With what was returned.
    """
    if not fits:
        raise BadInput(place, returned(value), f"{wanted}, returned")


def returned(value: object) -> str:
    """A value as a message about it says it: small ones as they are, others by their type."""
    if value is None or isinstance(value, int | float | str | bool):
        return str(value)
    if isinstance(value, tuple):
        return f"({', '.join(returned(item) for item in value[:4])}{', ...' if len(value) > 4 else ''})"
    return type(value).__name__


def place_of(cls: type, name: str, function: Any) -> str:
    """A method of a user's class as messages say it: ``my_lever.py: Shrink.update``."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    file = "" if code is None else f"{Path(code.co_filename).name}: "
    return f"{file}{cls.__name__}.{name}"


def _looked_at(cls: type, name: str, raw: Any, returns: Returns) -> Any:
    if isinstance(raw, property):
        return property(_function(cls, name, raw.fget, returns), raw.fset, raw.fdel, raw.__doc__)
    if isinstance(raw, functools.cached_property):
        kept = functools.cached_property(_function(cls, name, raw.func, returns))
        kept.__set_name__(cls, name)
        return kept
    if isinstance(raw, classmethod | staticmethod):
        return type(raw)(_function(cls, name, raw.__func__, returns))
    return _function(cls, name, raw, returns)


def _function(cls: type, name: str, function: Any, returns: Returns) -> Callable[..., Any]:
    if not callable(function):
        raise TypeError(f"class {cls.__name__}: {name} is {returned(function)!r}, not a method")
    place = place_of(cls, name, function)

    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        with raised_in(place):
            value = function(*given, **named)
        owner = given[0] if given and isinstance(given[0], type) else type(given[0]) if given else cls
        checked(value, returns.fits(value, owner), place, returns.wanted)
        return (
            value if returns.handed is None else returns.handed(value, (*given[1:], *named.values()), place)
        )

    call.__dict__["held_to"] = returns
    return call


def _held(raw: Any) -> bool:
    """Whether a method is looked at already, as one of a class that this one is made of."""
    function = getattr(raw, "fget", None) or getattr(raw, "func", None) or getattr(raw, "__func__", raw)
    return "held_to" in getattr(function, "__dict__", {})
