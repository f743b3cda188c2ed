"""The base of what studies answer: frozen objects with one JSON form, written again as they were read.

An object remembers which keys it was given and in which order. So a result of an older version, which lacks
keys, or of a newer one, which has more, is written again byte for byte: what was absent stays absent, what is
not known here is carried along.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainValidator,
    PrivateAttr,
    Strict,
    ValidationError,
    model_validator,
)

from algobias.json_values import JsonObject as JsonObject
from algobias.json_values import JsonValue

T = TypeVar("T")
Many = Annotated[tuple[T, ...], Strict(False)]
"""A list of JSON, as a tuple."""


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("no finite number")
    return value


Number = Annotated[float, PlainValidator(_finite)]
"""A finite number; whole ones stay as they are, so that they are written without a point."""


Count = Annotated[int, Field(ge=0)]
"""A whole number that is not negative."""


class Form(BaseModel):
    """A frozen object with a JSON form."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    _keys: tuple[str, ...] = PrivateAttr(())
    _unknown: JsonObject = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _note_keys(cls, data: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, Mapping):
            return handler(data)
        names = _names(cls)
        form = handler({key: value for key, value in data.items() if key in names})
        form._keys = tuple(data)
        form._unknown = {key: value for key, value in data.items() if key not in names}
        return form

    @classmethod
    def from_json(cls, data: object, name: str = "result") -> Self:
        """Read the JSON form.

        Args:
            data: An object of JSON.
            name: What the object is called where it is refused.

        Raises:
            ValueError: Names what is missing, or has another type than it must have.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ValueError(_first(error, name)) from None

    def to_json(self) -> JsonObject:
        """Write the JSON form: the keys that were given, in their order."""
        return {key: _plain(self._value(key)) for key in self._keys}

    def has(self, key: str) -> bool:
        """Say whether a key was given, be it as null."""
        return key in self._keys

    def changed(self, **fields: object) -> Self:
        """Copy with other values; keys that were not there come last."""
        unnamed = [key for key in fields if key not in _names(type(self))]
        if unnamed:
            raise TypeError(f"{type(self).__name__} has no {unnamed[0]}")
        given = {key: self._value(key) for key in self._keys}
        return type(self).model_validate({**given, **fields})

    def merged(self, other: Form) -> Self:
        """Copy with the fields that another object was given; those that were not there come last."""
        return self.changed(**{key: other._value(key) for key in other._keys})

    def without(self, *keys: str) -> Self:
        """Copy as if some keys had not been given."""
        given = {key: self._value(key) for key in self._keys if key not in keys}
        return type(self).model_validate(given)

    def _value(self, key: str) -> object:
        return self._unknown[key] if key in self._unknown else getattr(self, _names(type(self))[key])


@cache
def _names(cls: type[Form]) -> dict[str, str]:
    """Key of the JSON form -> attribute."""
    return {field.alias or name: name for name, field in cls.model_fields.items()}


def _plain(value: object) -> JsonValue:
    if isinstance(value, Form):
        return value.to_json()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    assert value is None or isinstance(value, str | int | float)
    return value


def _first(error: ValidationError, name: str) -> str:
    """The first thing that is wrong, in the words in which a store tells of damage."""
    first = error.errors(include_url=False)[0]
    place = [part for part in first["loc"] if isinstance(part, str)]
    if not place:
        return f"{name} is no object"
    key, holder = place[-1], place[-2] if len(place) > 1 else name
    if first["type"] == "missing":
        return f"{holder} has no {key}"
    return f"{key} of {holder} is {str(first['input'])[:60]!r}"
