"""Which commands run the same, however they are spelled, and what of a change a control leaves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from algobias.commands.command import Command
from algobias.commands.treated.treatment import Treatment
from algobias.errors import BadInput
from algobias.running.sameness import MOST_MEMBERS, REPLACES, ROUNDING, UNDOES

Word = tuple[str, float | str]
"""What stands before a value, and the value, as a number where it is one."""


def alike(one: Command, other: Command) -> bool:
    """Say whether two commands run the same, as far as it shows in their words.

    Numbers may be spelled in several ways, multiples of a rate are multiplied, and levers that change nothing
    are left out. What an option is where it does not stand in a command, nobody sees.
    """
    if one == other:
        return True
    if dict(one.environment) != dict(other.environment) or len(one.words) != len(other.words):
        return False
    if any(_word(a) != _word(b) for a, b in zip(one.words, other.words, strict=True)):
        return False
    return _acting(one.levers) == _acting(other.levers)


def undoing(treatment: Treatment, baseline: Command, variant: Command) -> str | None:
    """Say that a control leaves nothing of the change, and how; None where something is left.

    Args:
        treatment: The control.
        baseline: The baseline without it.
        variant: The variant without it.

    Raises:
        BadInput: It cannot be done to the variant.
    """
    treated = treatment.applied(variant, "--control")
    parts = treatment.parts()
    sizes = range(len(parts)) if len(parts) <= MOST_MEMBERS else (0,)
    for rest in (some for size in sizes for some in combinations(parts, size)):
        if _is(baseline, rest, treated):
            left = "+".join(part.text for part in rest)
            return f"{UNDOES}: the treated variant is the baseline" + (f" with {left}" if left else "")
    if _is(baseline, parts, treated):
        return f"{REPLACES}: with it baseline and variant are the same command"
    return None


def _is(command: Command, parts: Sequence[Treatment], other: Command) -> bool:
    try:
        for part in parts:
            command = part.applied(command, "--control")
    except BadInput:
        return False
    return alike(command, other)


def _word(word: str) -> Word:
    name, equals, value = word.rpartition("=")
    try:
        return f"{name}{equals}", float(value)
    except ValueError:
        return f"{name}{equals}", value


def _acting(levers: Sequence[str]) -> tuple[dict[str, float], list[list[Word]]]:
    """Take levers in one spelling: multiples by the option that they multiply, then the others in order."""
    if not levers:
        return {}, []
    # Imported where it is needed: what can be injected is read with torch.
    from algobias.attached.levers.group_options import Rate, WeightDecay
    from algobias.attached.levers.registry import read

    factors: dict[str, float] = {}
    others: list[list[Word]] = []
    for lever in (part for spelling in levers for part in read(spelling)):
        if lever.changes_nothing:
            continue
        if isinstance(lever, Rate | WeightDecay) and lever.multiple:
            factors[lever.name] = factors.get(lever.name, 1.0) * lever.amount
        else:
            name, _, options = lever.spelling.partition(":")
            others.append([(name, ""), *map(_word, options.split(","))])
    return {name: factor for name, factor in factors.items() if abs(factor - 1) > ROUNDING}, others
