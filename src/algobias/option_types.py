"""Which types options may have, so that they can be written on a command line and read back."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

PLAIN: tuple[type, ...] = (bool, int, float, str, type(None))

ALLOWED = "bool, int, float, str, a Literal of texts, or one of these or None"


def unusable(name: str, field: FieldInfo, more: tuple[type, ...] = ()) -> str | None:
    """Say why a field can be no option, or None.

    Args:
        name: The field.
        field: As pydantic has it.
        more: Further types that are allowed.
    """
    allowed = ", ".join([*(kind.__name__ for kind in more), ALLOWED])
    for kind in alternatives(field.annotation):
        if get_origin(kind) is Literal:
            if not all(isinstance(choice, str) for choice in get_args(kind)):
                return f"option {name} is {_text(kind)}; allowed: {allowed}"
        elif kind not in (*PLAIN, *more):
            return f"option {name} is of type {_text(kind)}; allowed: {allowed}"
    if field.alias is not None or field.validation_alias is not None:
        return f"option {name} has an alias; allowed: its own name"
    if field.default_factory is not None:
        return f"option {name} has a default_factory; allowed: a plain default, or none"
    if not field.is_required() and not isinstance(field.default, (*PLAIN, *more)):
        return f"option {name} has the default {field.default!r}; allowed: a value of {allowed}"
    return None


def alternatives(annotation: Any) -> Iterator[Any]:
    """List the types of which a value has one: ``float | None`` are two."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif origin is Union or origin is types.UnionType:
        for inner in get_args(annotation):
            yield from alternatives(inner)
    else:
        yield annotation


def _text(kind: Any) -> str:
    named = isinstance(kind, type) and get_origin(kind) is None
    return kind.__name__ if named else str(kind).replace("typing.", "").replace("collections.abc.", "")
