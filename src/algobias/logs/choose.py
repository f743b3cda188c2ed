"""Which column of a log is what: as asked for, or by a format's exact names; else a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from algobias.errors import BadInput, unknown_name
from algobias.kept.csvfile import plain
from algobias.logs.raw import Direction, Names

ROLES = ("seed", "update", "train_loss", "test_metric", "train_metric", "planned", "length")
"""What a column may be."""

_FREE = ("seed", "train_metric", "planned", "length")
"""Columns that are used where a log has them under these very names."""

_MOST_SHOWN = 40

Asked = Mapping[str, Sequence[str]]
"""Role -> names of columns, of which the first that a log has is taken."""


@dataclass(frozen=True)
class Choice:
    """Which columns are used.

    Attributes:
        columns: Role -> column.
        better: Whether higher or lower test metrics are better; None: the name does not tell.
    """

    columns: Mapping[str, str]
    better: Direction | None


def parse_columns(text: str) -> dict[str, list[str]]:
    """Read ``update=step,test_metric=val_acc``; a role may be there twice, for logs of two formats.

    Raises:
        BadInput: No such role, or no name behind the equals sign.
    """
    asked: dict[str, list[str]] = {}
    for part in text.split(","):
        role, equals, column = (piece.strip() for piece in part.partition("="))
        if plain(role) not in ROLES or not equals or not column:
            allowed = f"role=column pairs separated by commas, roles: {', '.join(ROLES)}"
            raise BadInput("--columns", part, allowed)
        asked.setdefault(plain(role), []).append(column)
    return asked


def columns_from(given: Mapping[str, str | Sequence[str]]) -> dict[str, list[str]]:
    """Check columns that were given as objects.

    Raises:
        BadInput: No such role, or no name.
    """
    asked: dict[str, list[str]] = {}
    for role, names in given.items():
        listed_names = [names] if isinstance(names, str) else list(names)
        if plain(str(role)) not in ROLES:
            raise unknown_name("columns", str(role), ROLES)
        if not listed_names or not all(isinstance(name, str) and name.strip() for name in listed_names):
            raise BadInput(f"columns.{role}", names, "the name of a column, or several")
        asked[plain(str(role))] = listed_names
    return asked


def choose(source: str, columns: Sequence[str], names: Names, asked: Asked) -> Choice:
    """Choose the columns of an arm.

    Args:
        source: What messages call the arm.
        columns: Columns that there are.
        names: The format's names.
        asked: What was asked for; it goes before the format's names.

    Raises:
        BadInput: A column that is not there, or several that may be meant: they are listed.
    """
    chosen = {role: _asked(source, columns, role, wanted) for role, wanted in asked.items()}
    if "update" not in chosen:
        chosen["update"] = _first(source, columns, names)
    if "train_loss" not in chosen:
        chosen["train_loss"] = _loss(source, columns, names)
    if "test_metric" not in chosen:
        chosen["test_metric"] = _metric(source, columns, names)
    for role in _FREE:
        same = [column for column in columns if plain(column) == role and column not in chosen.values()]
        if role not in chosen and len(same) == 1:
            chosen[role] = same[0]
    twice = next((name for name in chosen.values() if list(chosen.values()).count(name) > 1), None)
    if twice is not None:
        roles = " and ".join(role for role, name in chosen.items() if name == twice)
        raise BadInput(f"{source} columns", twice, f"a column of its own for each of {roles} (--columns)")
    chosen = {role: chosen[role] for role in ROLES if role in chosen}
    return Choice(chosen, direction(chosen["test_metric"], names))


def direction(column: str, names: Names) -> Direction | None:
    """Say which values of a metric are better, where a format's exact names tell."""
    return {plain(name): better for name, better in names.metrics.items()}.get(plain(column))


def listed(columns: Sequence[str]) -> str:
    """Columns as a message lists them."""
    more = f" and {len(columns) - _MOST_SHOWN} more" if len(columns) > _MOST_SHOWN else ""
    return (", ".join(columns[:_MOST_SHOWN]) + more) or "none"


def _asked(source: str, columns: Sequence[str], role: str, wanted: Sequence[str]) -> str:
    for name in wanted:
        if name in columns:
            return name
        alike = [column for column in columns if plain(column) == plain(name)]
        if len(alike) > 1:
            raise BadInput(
                f"--columns {role}", name, f"one of {', '.join(alike)}, as it is written in {source}"
            )
        if alike:
            return alike[0]
    raise BadInput(f"--columns {role}", ", ".join(wanted), f"a column of {source}: {listed(columns)}")


def _among(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns that have one of some names, in the order of the names."""
    by_plain: dict[str, list[str]] = {}
    for column in columns:
        by_plain.setdefault(plain(column), []).append(column)
    spelled = dict.fromkeys(plain(name) for name in names)
    return [column for name in spelled for column in by_plain.get(name, [])]


def _first(source: str, columns: Sequence[str], names: Names) -> str:
    there = _among(columns, names.update)
    if not there:
        raise _question(source, "update", [], columns, "the column that counts updates, steps or epochs")
    same = [column for column in there if plain(column) == plain(there[0])]
    if len(same) > 1:
        raise _question(source, "update", same, columns, "one of them")
    return there[0]


def _loss(source: str, columns: Sequence[str], names: Names) -> str:
    there = _among(columns, names.train_loss)
    better = {plain(worse): plain(good) for worse, good in names.instead.items()}
    spelled = {plain(column) for column in there}
    there = [column for column in there if better.get(plain(column)) not in spelled]
    if len(there) != 1:
        raise _question(source, "train_loss", there, columns, "the training loss")
    return there[0]


def _metric(source: str, columns: Sequence[str], names: Names) -> str:
    aside = {plain(name) for name in (*names.aside, *names.update, *names.train_loss)}
    known = _among(columns, tuple(names.metrics))
    prefixes = tuple(prefix.lower() for prefix in names.prefixes)
    others = [
        column
        for column in columns
        if column not in known
        and prefixes
        and column.strip().lower().startswith(prefixes)
        and plain(column) not in aside
    ]
    if len(known) == 1 and not others:
        return known[0]
    shown = [f"{column} ({direction(column, names)} is better)" for column in known]
    unknown = [f"{column} (with --lower-is-better where it is an error)" for column in others]
    raise _question(source, "test_metric", [*known, *others], columns, "the test metric", [*shown, *unknown])


def _question(
    source: str,
    role: str,
    candidates: Sequence[str],
    columns: Sequence[str],
    meant: str,
    shown: Sequence[str] = (),
) -> BadInput:
    if not candidates:
        needed = f"which of its columns is {meant}: --columns {role}=..., one of {listed(columns)}"
        return BadInput(f"{source}, {role}", None, needed)
    if len(candidates) == 1:
        needed = f"say whether it is {meant}: --columns {role}={candidates[0]}"
        return BadInput(f"{source}, {role}", (shown or candidates)[0], needed)
    needed = f"one of {listed(shown or candidates)}: say --columns {role}={candidates[0]}, or another"
    return BadInput(f"{source}, {role}", f"{len(candidates)} columns", needed)
