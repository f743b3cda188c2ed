"""JSON as it is written and read: values, and objects of them."""

from __future__ import annotations

from typing import TypeAlias

from pydantic import JsonValue as JsonValue

JsonObject: TypeAlias = dict[str, JsonValue]
