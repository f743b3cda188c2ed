"""JSON as it is written and read: values, objects of them, and what may be shown of either."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from algobias.errors import clean_text

if TYPE_CHECKING:
    from pydantic import JsonValue as JsonValue

    JsonObject: TypeAlias = dict[str, JsonValue]
else:

    def __getattr__(name):
        # Each run of a command has a process that only reads and writes JSON: it need not wait for pydantic.
        if name not in ("JsonValue", "JsonObject"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from pydantic import JsonValue

        return JsonValue if name == "JsonValue" else dict[str, JsonValue]


def number_or_none(value: object) -> float | None:
    """A finite float, or None for anything that is not a finite number (text, NaN, bool, None)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def clean_object(data: Mapping[str, object]) -> dict[str, object]:
    """:func:`clean` of an object."""
    return {clean_text(str(key)): clean(item) for key, item in data.items()}


def clean(value: object) -> object:
    """Copy plain data with non-finite numbers as None and unprintable characters as U+FFFD."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return clean_object(value)
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return clean(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
