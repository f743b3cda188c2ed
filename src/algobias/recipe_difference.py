"""What changed from one recipe to another, in words."""

from __future__ import annotations

from typing import Any

from algobias.recipe import Recipe
from algobias.recipe_fields import PartSpec


def difference(before: Recipe, after: Recipe) -> list[str]:
    """What changed from one recipe to another, one line per field, in words."""
    lines: list[str] = []
    _walk("", before.resolved(), after.resolved(), lines)
    return lines


def _walk(path: str, before: Any, after: Any, lines: list[str]) -> None:
    if path == "parts":
        old = [str(PartSpec.model_validate(item)) for item in before]
        new = [str(PartSpec.model_validate(item)) for item in after]
        lines += [f"without {item}" for item in old if item not in new]
        lines += [f"with {item}" for item in new if item not in old]
        if sorted(old) == sorted(new) and old != new:
            lines.append(f"parts in another order: {', '.join(new)}")
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            _walk(f"{path}.{key}" if path else key, before.get(key), after.get(key), lines)
    elif before != after:
        lines.append(f"{path}: {_show(before)} -> {_show(after)}")


def _show(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
