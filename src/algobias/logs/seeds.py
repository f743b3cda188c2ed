"""Which seed a run has: by its name, or as it is said. What a name leaves open is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence

from algobias.errors import BadInput

_NAMED = re.compile(r"(?<![a-z])seed[ =_-]*(\d{1,19})(?!\d)", re.IGNORECASE)
_ENDING = re.compile(r"[_-]s?(\d{1,19})$", re.IGNORECASE)
_CHECKPOINT = re.compile(r"checkpoint-\d+$")
_SUFFIX = re.compile(r"\.(csv|tsv|txt|json|jsonl|ndjson|log|out)$", re.IGNORECASE)


def natural(text: str) -> list[tuple[int, str]]:
    """Sort key by which ``run_10`` comes after ``run_9``."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts)]


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read ``0,1,2``.

    Raises:
        BadInput: Something else than different whole numbers from 0.
    """
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise BadInput("--seeds", text, "whole numbers separated by commas") from error
    return seeds


def seeds_of(arm: str, names: Sequence[str], given: Sequence[int] | None) -> list[int]:
    """Seeds of the runs of an arm, in their order.

    A name says its seed as ``seed=3``, ``seed3`` or ``seed_3``, in one of the folders or in the name of the
    file; or all names have a number behind ``_``, ``-``, ``_s`` or ``-s`` in the same place. One run alone
    needs no seed.

    Args:
        arm: What messages call the arm.
        names: Names of the runs, with the folders they lie in.
        given: Seeds that were said, in the natural order of the names.

    Raises:
        BadInput: The names do not tell, or tell two of one seed; the wrong number of seeds was said.
    """
    if given is not None:
        if len(given) != len(names) or len(set(given)) != len(given) or min(given, default=0) < 0:
            listed = ", ".join(names[:10])
            needed = f"as many different whole numbers from 0 as {arm} has runs, {len(names)}: {listed}"
            raise BadInput("--seeds", ",".join(map(str, given)), needed)
        return list(given)
    if len(names) == 1:
        named = _named(names[0])
        return [named.pop() if len(named) == 1 else 0]
    seeds = _all_named(names) or _all_ending(arm, names)
    if seeds is None:
        needed = f"in the order {', '.join(names[:10])}; or names with seed=0, seed1, _2"
        raise BadInput(f"the seeds of the {len(names)} runs of {arm}", None, f"--seeds 0,1,... {needed}")
    twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if twice is not None:
        those = [name for name, seed in zip(names, seeds, strict=True) if seed == twice]
        needed = f"one run of each seed, or --seeds; {' and '.join(those[:3])} are both seed {twice} by name"
        raise BadInput(f"{arm}, seed", twice, needed)
    return seeds


def _named(name: str) -> set[int]:
    return {int(number) for number in _NAMED.findall(name)}


def _all_named(names: Sequence[str]) -> list[int] | None:
    named = [_named(name) for name in names]
    return [numbers.pop() for numbers in named] if all(len(numbers) == 1 for numbers in named) else None


def _all_ending(arm: str, names: Sequence[str]) -> list[int] | None:
    """Numbers at the end of the parts of names that stand in one place, counted from the file."""
    parts = [
        [_SUFFIX.sub("", part) for part in reversed(re.split(r"[/\\]", name)) if not _CHECKPOINT.match(part)]
        for name in names
    ]
    places = []
    for place in range(min(map(len, parts))):
        matches = [_ENDING.search(part[place]) for part in parts]
        numbers = [int(match[1]) for match in matches if match]
        if len(numbers) == len(names) and len(set(numbers)) > 1:
            places.append(numbers)
    if len(places) > 1 and any(numbers != places[0] for numbers in places):
        needed = f"--seeds, since two parts of names like {names[0]} may be the seed"
        raise BadInput(f"the seeds of the {len(names)} runs of {arm}", None, needed)
    return places[0] if places else None
