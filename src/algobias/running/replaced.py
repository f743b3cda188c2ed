"""Levers that take back what earlier ones of the same arm have set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from algobias.errors import BadInput
from algobias.levers.base import Lever
from algobias.recipe import Recipe

Fields = dict[str, object]


def replaced(recipe: Recipe, levers: Sequence[Lever], follow: Sequence[Lever] = ()) -> tuple[str, ...]:
    """Say which levers replace others, one line for each pair.

    A field is replaced where a later lever gives it another value, which is the same without the earlier
    lever; so ``lr:x0.5`` twice replaces nothing. Cost: a few edits of a recipe for each pair of levers.

    Args:
        recipe: What the first lever is applied to.
        levers: Levers in their order.
        follow: Levers of another list that come after them. Between the lists only levers of the same name
            count: a control is there to set what the change has set.
    """
    lines = []
    states, every = [recipe], [*levers, *follow]
    for lever in every:
        states.append(lever.apply(states[-1]))
    for later, lever in enumerate(every):
        for earlier, other in enumerate(every[:later]):
            if earlier < len(levers) <= later and lever.name != other.name:
                continue
            given = _changed(states[earlier], states[earlier + 1])
            set_anew = _changed(states[later], states[later + 1])
            try:
                alone = states[earlier]
                for between in every[earlier + 1 : later + 1]:
                    alone = between.apply(alone)
            except BadInput:
                continue  # it needs the earlier lever
            before, fields = _flat(states[later]), _flat(alone)
            taken = [
                name
                for name, value in given.items()
                if name in set_anew and before.get(name) == value and set_anew[name] == fields.get(name)
            ]
            if taken:
                what = "" if len(taken) == len(given) else f"{', '.join(taken)} of "
                lines.append(f"{lever.spelling()} replaces {what}{other.spelling()}")
    return tuple(dict.fromkeys(lines))


def _changed(before: Recipe, after: Recipe) -> Fields:
    """The fields that differ, with what they are afterwards."""
    old, new = _flat(before), _flat(after)
    return {name: new.get(name) for name in {**old, **new} if old.get(name) != new.get(name)}


def _flat(recipe: Recipe) -> Fields:
    """Every field of a recipe under its path; a part is one field."""
    resolved = recipe.resolved()
    parts = {f"parts.{part['name']}": part for part in resolved.pop("parts")}
    return {**dict(_leaves("", resolved)), **parts}


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}" if path else key, inner)
    else:
        yield path, value
