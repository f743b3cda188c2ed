"""What the hooks of a part must return, and what the functions in it must return at every update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.levers.step import Grads, Key, State, Transform, Tree
from algobias.own.returns import Returns, checked, is_own, place_of, returned
from algobias.own.user_code import raised_in

Fits = Callable[[Any, tuple[Any, ...]], bool]


def _called(function: Callable[..., Any], place: str, wanted: str, fits: Fits) -> Callable[..., Any]:
    """The function of a user's part; what it raises is noted as theirs, what it returns is looked at."""

    def call(*given: Any) -> Any:
        with raised_in(place):
            value = function(*given)
        checked(value, fits(value, given), place, wanted)
        return value

    return call


def _state(value: Any, like: State | None = None) -> bool:
    if not (isinstance(value, State) and isinstance(value.params, torch.Tensor)):
        return False
    return like is None or value.params.shape == like.params.shape


def _pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2


def _any(value: Any, given: tuple[Any, ...]) -> bool:
    return True


def _next(value: Any, given: tuple[Any, ...]) -> bool:
    return _pair(value) and _state(value[0], given[2])


def _alike(value: Any, given: tuple[Any, ...]) -> bool:
    return _state(value, given[0])


def _point(value: Any, given: tuple[Any, ...]) -> bool:
    return _state(value)


def _drawn(value: Any, given: tuple[Any, ...]) -> bool:
    return _pair(value) and isinstance(value[1], Key)


def _taken(value: Any, given: tuple[Any, ...]) -> bool:
    if not (_pair(value) and isinstance(value[0], torch.Tensor) and _state(value[1])):
        return False
    return bool(value[0].shape[-1:] == given[0].params.shape[-1:])


_STEPS: dict[str, tuple[str, Fits]] = {
    "init": ("the memory", _any),
    "update": ("the next State, with parameters of the same shape, and the next memory", _next),
    "weights": ("a State with parameters of the same shape", _alike),
    "at": ("a State", _point),
}


def _transform(value: Transform, given: tuple[Any, ...], place: str) -> Transform:
    """The transform with its new functions looked at."""
    changed = {
        name: _called(getattr(value, name), f"{place}, {name}", *says)
        for name, says in _STEPS.items()
        if getattr(value, name) is not getattr(given[0], name, None)
    }
    return value._replace(**changed)


def handing_on(transform: Transform, cls: type) -> Transform:
    """Make the transform that a user's part gets, which refuses gradients shorter than the parameters.

    They would be spread over all parameters without a word.

    Args:
        transform: What the part calls.
        cls: Its class.

    Raises:
        BadInput: At an update, where the part hands on a gradient of another length.
    """
    if is_own(cls):
        return transform
    place = place_of(cls, "update", vars(cls).get("update"))

    def update(grads: Grads, memory: Tree, state: State) -> tuple[State, Tree]:
        length = state.params.shape[-1]
        if not (isinstance(grads, torch.Tensor) and grads.shape[-1:] == (length,)):
            shape = getattr(grads, "shape", None)
            handed = returned(grads) if shape is None else f"a gradient of the shape {list(shape)}"
            raise BadInput(place, handed, f"a gradient as long as the {length} parameters, handed on")
        return transform.update(grads, memory, state)

    return transform._replace(update=update)


def _sampler(value: Any, given: tuple[Any, ...], place: str) -> Any:
    if value is given[0]:
        return value
    return _called(value, f"{place}, sampler", "a batch and its Key", _drawn)


def _gradient(value: Any, given: tuple[Any, ...], place: str) -> Any:
    if value is given[0]:
        return value
    return _called(value, f"{place}, gradient", "a gradient as long as the parameters, and a State", _taken)


TRANSFORM = Returns("a Transform", lambda value, owner: isinstance(value, Transform), _transform)
SAMPLER = Returns("a function that samples", lambda value, owner: callable(value), _sampler)
GRADIENT = Returns("a function that takes gradients", lambda value, owner: callable(value), _gradient)
READOUT = Returns("a State", lambda value, owner: _state(value))
MODULE = Returns("an nn.Module", lambda value, owner: isinstance(value, torch.nn.Module))
