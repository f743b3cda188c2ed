"""What a card says of each option of a class: its default, what it may be, and what it means."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import annotated_types as bounds
from pydantic.fields import FieldInfo

from algobias.option_types import alternatives
from algobias.spelling import Spelled

_SECTION = re.compile(r"^Attributes:\n(?P<body>(?:[ ]+.*\n|\n)*)", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}(?P<name>\w+): (?P<text>.*\n(?: {5,}.*\n)*)", re.MULTILINE)
_KINDS = {bool: "true or false", int: "a whole number", float: "a number"}


def options_of(cls: type[Spelled]) -> list[dict[str, Any]]:
    """Describe the options of a class, in order; JSON types only.

    Args:
        cls: A lever, probe or lab.

    Returns:
        For each: ``name``; ``positional``, whether it is the value right after the colon; ``required``;
        ``default``; ``allowed``, the values in words, or None where they are texts of a form of their own;
        ``meaning``, from the class's docstring, or None.
    """
    meanings = _meanings(cls)
    return [
        {
            "name": name,
            "positional": name == cls.positional,
            "required": field.is_required(),
            "default": None if field.is_required() else field.default,
            "allowed": _allowed(field),
            "meaning": meanings.get(name),
        }
        for name, field in cls.model_fields.items()
    ]


def _meanings(cls: type) -> dict[str, str]:
    """What the docstrings of a class and of those above it say of its attributes."""
    meanings: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        doc = inspect.cleandoc(vars(base).get("__doc__") or "") + "\n"
        for section in _SECTION.finditer(doc):
            for entry in _ENTRY.finditer(section["body"]):
                meanings[entry["name"]] = " ".join(entry["text"].replace("``", "").split())
    return meanings


def _allowed(field: FieldInfo) -> str | None:
    words: list[str] = []
    for kind in alternatives(field.annotation):
        if get_origin(kind) is Literal:
            words.append(f"one of {', '.join(get_args(kind))}")
        elif kind in _KINDS:
            words.append(" ".join((_KINDS[kind], *_limits(field))))
        elif kind is not type(None):
            return None
    return ", ".join(words)


def _limits(field: FieldInfo) -> Iterator[str]:
    for limit in field.metadata:
        if isinstance(limit, bounds.Ge):
            yield f"of {limit.ge} or more"
        elif isinstance(limit, bounds.Gt):
            yield f"above {limit.gt}"
        elif isinstance(limit, bounds.Le):
            yield f"up to {limit.le}"
        elif isinstance(limit, bounds.Lt):
            yield f"below {limit.lt}"
