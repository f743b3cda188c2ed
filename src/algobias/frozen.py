"""Data that users write: strict about names, immutable, and what is wrong with them in the users' words."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from algobias.errors import BadInput, unknown_name


class Frozen(BaseModel):
    """Immutable, strict about names: an unknown field is an error, never ignored. Booleans are no numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        items = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(item, bool) for item in items):
            field = cls.model_fields[info.field_name or ""]
            if not _mentions(field.annotation, bool):
                raise ValueError("a number or text, not true or false")
        return value


def _mentions(annotation: Any, wanted: type) -> bool:
    """Whether a type is ``wanted`` or has it among its alternatives."""
    return annotation is wanted or any(_mentions(inner, wanted) for inner in get_args(annotation))


def bad_input_from(error: ValidationError, model: type[BaseModel], prefix: str = "") -> BadInput:
    """Turn pydantic's first complaint into one clear message."""
    first = error.errors()[0]
    path = ".".join(str(step) for step in first["loc"]) or prefix
    if prefix and path != prefix:
        path = f"{prefix}.{path}"
    if first["type"] == "extra_forbidden":
        return unknown_name(path or "field", str(first["loc"][-1]), _field_names(model, first["loc"][:-1]))
    if first["type"] == "missing":
        return BadInput(path, None, "a value")
    reason = allowed_words(first["msg"])
    value = first["input"]
    if isinstance(value, BaseModel) or (isinstance(value, dict) and not first["loc"]):
        value = "this combination"
    return BadInput(path or model.__name__.lower(), value, reason)


_BOUNDS = {
    "greater than or equal to": "of at least",
    "greater than": "above",
    "less than or equal to": "of at most",
    "less than": "below",
}


_KINDS = {
    "a valid number": "a number",
    "a finite number": "a number",
    "a valid integer": "a whole number",
    "a valid tuple": "a value, or a list of values",
    "a valid string": "text",
}


def allowed_words(message: str) -> str:
    """What is allowed, from pydantic's message: ``greater than 0`` as ``a number above 0``."""
    said = message.removeprefix("Value error, ").removeprefix("Input should be ")
    for bound, word in _BOUNDS.items():
        if said.startswith(f"{bound} "):
            return f"a number {word} {said.removeprefix(f'{bound} ')}"
    return next((kind for start, kind in _KINDS.items() if said.startswith(start)), said)


def _field_names(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    node: Any = model
    for step in path:
        field = node.model_fields.get(step) if hasattr(node, "model_fields") else None
        node = field.annotation if field is not None else node
    return list(getattr(node, "model_fields", model.model_fields))
