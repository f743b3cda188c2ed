"""From what a user names as two arms to tables of runs and the terms of their comparison."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from algobias.answer.logs import LogsRead
from algobias.answer.next.tables import AS_BESIDE, AS_GIVEN
from algobias.errors import BadInput
from algobias.kept.csvfile import plain
from algobias.kept.tables import Terms, read_terms
from algobias.logs.arm import Arm, Reading, frames_arm, read_arm, selected
from algobias.logs.frames import Frames, is_frames
from algobias.studies.tables import Table

Source: TypeAlias = Path | Frames
"""Logs in files, or curves that are objects in Python."""


@dataclass(frozen=True)
class Question:
    """Two arms that were read, and how they are to be compared.

    Attributes:
        terms: How they are compared.
        tables: The runs of each arm.
        logs: How they were read; empty where both are the tool's own tables.
        doubts: What doubts that the two can be compared at all.
        files: What was read, the baseline's first.
        tolerance_from: Where the tolerance comes from, in words; None: there is none.
    """

    terms: Terms
    tables: Mapping[str, Table]
    logs: tuple[LogsRead, ...]
    doubts: tuple[str, ...]
    files: tuple[Path, ...]
    tolerance_from: str | None = None

    @property
    def notes(self) -> list[str]:
        """What a reader of the answer should know about the reading."""
        return list(dict.fromkeys(note for read in self.logs for note in read.notes))


def source_of(arm: str, value: str | PathLike[str] | Frames) -> Source:
    """Take what a user gives for an arm: a path, or curves as they are.

    Raises:
        BadInput: Something else.
    """
    if isinstance(value, str | PathLike):
        return Path(value)
    if not is_frames(value):
        raise BadInput(arm, value, "a path, a data frame, columns by name, or several of them")
    return value


def read_both(baseline: Source, variant: Source, given: Terms | None, reading: Reading) -> Question:
    """Read the logs of both arms.

    A metric whose format says that it is a loss or an error is judged with lower as better; its name is that
    of its column, where no other was given.

    Args:
        baseline: A file, a folder or a pattern; or curves that are objects in Python.
        variant: The same for the variant.
        given: Terms that go before those beside ``baseline``.
        reading: How logs are to be read.

    Raises:
        BadInput: Nothing that can be read, several things that may be meant, one file in both arms.
    """
    beside = read_terms(baseline.parent).model_dump(exclude_unset=True) if isinstance(baseline, Path) else {}
    said = given.model_dump(exclude_unset=True) if given else {}
    known = {**beside, **said}
    whose = AS_GIVEN if said.get("tolerance") is not None else AS_BESIDE
    tolerance_from = None if known.get("tolerance") is None else whose
    sources: dict[str, Source] = {"baseline": baseline, "variant": variant}
    names = _names(baseline, variant)
    arms = {
        arm: read_arm(arm, source, names[arm], reading)
        if isinstance(source, Path)
        else frames_arm(arm, source, names[arm], reading)
        for arm, source in sources.items()
    }
    if isinstance(baseline, Path) and isinstance(variant, Path):
        _check_apart({"baseline": baseline, "variant": variant}, arms)
    tables = {arm: Table.of(names[arm], read) for arm, read in arms.items()}
    files = tuple(path for read in arms.values() for path in read.files)
    if all(read.own for read in arms.values()):
        return Question(Terms(**known), tables, (), (), files, tolerance_from)
    columns = {arm: read.columns.get("test_metric", "test_metric") for arm, read in arms.items()}
    better = {read.better for read in arms.values() if read.better is not None}
    if len(better) > 1:
        shown = " and ".join(f"{columns[arm]} in {names[arm]}" for arm in arms)
        raise BadInput("test_metric", shown, "one metric in both arms (--columns test_metric=...)")
    if better == {"lower"}:
        known.setdefault("lower_is_better", True)
    if columns["baseline"] != "test_metric":
        known.setdefault("metric", columns["baseline"])
    return Question(
        Terms(**known),
        tables,
        tuple(_entry(arm, read) for arm, read in arms.items()),
        (*_doubts(names, columns, arms, reading), *_decays(names, arms, known)),
        files,
        tolerance_from,
    )


def _names(baseline: Source, variant: Source) -> dict[str, str]:
    """What messages call the arms."""
    if not (isinstance(baseline, Path) and isinstance(variant, Path)):
        pairs = (("baseline", baseline), ("variant", variant))
        return {arm: source.name if isinstance(source, Path) else f"the {arm}" for arm, source in pairs}
    alike = baseline.name == variant.name
    paths = {"baseline": baseline, "variant": variant}
    return {arm: str(path) if alike else path.name or str(path) for arm, path in paths.items()}


def _check_apart(paths: Mapping[str, Path], arms: Mapping[str, Arm]) -> None:
    """One file in both arms: a folder or a pattern holds more than was meant."""
    if any(selected(path)[1] is not None for path in paths.values()):
        runs = [{(run.name, *arm.files) for run in arm.runs} for arm in arms.values()]
        if both_runs := runs[0] & runs[1]:
            raise BadInput("variant", min(both_runs)[0], "runs of its own; the baseline has this one too")
        return
    for arm, other in (("baseline", "variant"), ("variant", "baseline")):
        both = {path.resolve() for path in arms[arm].files} & {path.resolve() for path in arms[other].files}
        if both and paths[arm].resolve() not in both:
            kind = "a folder" if paths[arm].is_dir() else "a pattern"
            needed = (
                f"runs of its own; this is {kind} with {min(both).name}, which is one of the {other}'s too"
            )
            raise BadInput(arm, str(paths[arm]), needed)


def _entry(arm: str, read: Arm) -> LogsRead:
    loss = read.columns.get("train_loss", "train_loss")
    measured = (f"the training loss that is logged ({loss}) is {read.loss}",) if read.loss else ()
    return LogsRead(
        arm=arm,
        form=read.form,
        files=len(read.files),
        columns=dict(read.columns),
        seeds=dict(read.seeds),
        notes=(*measured, *read.notes),
    )


def _decays(names: Mapping[str, str], arms: Mapping[str, Arm], known: Mapping[str, object]) -> list[str]:
    """Runs with a decaying rate, of which nobody said so: part way they are no shorter runs."""
    if known.get("decays") is not None:
        return []
    falling = [(names[arm], read.decay) for arm, read in arms.items() if read.decay is not None]
    if not falling:
        return []
    shown = " and ".join(
        f"the rate {decay.column} of {name} falls from {decay.largest:g} to {decay.last:g}"
        for name, decay in falling
    )
    return [
        f"{shown}: if the learning rate decays, a run part way is no shorter run, and equal fit is not to be "
        "read there; ask again with --decays"
    ]


def _doubts(
    names: Mapping[str, str], columns: Mapping[str, str], arms: Mapping[str, Arm], reading: Reading
) -> list[str]:
    """Doubt that both arms hold the same quantities; not where the user named both columns as one role."""
    doubts = []
    forms = {arm: read.form for arm, read in arms.items()}
    if forms["baseline"] != forms["variant"]:
        doubts.append(
            f"{names['baseline']} is read as {forms['baseline']}, {names['variant']} as {forms['variant']}: "
            "are training loss and test metric measured in the same way in both?"
        )
    for role in ("train_loss", "test_metric", "update"):
        one, other = (read.columns.get(role, role) for read in arms.values())
        named = set(map(plain, reading.columns.get(role, ())))
        if one.lower() != other.lower() and not {plain(one), plain(other)} <= named:
            shown = f"{one} in {names['baseline']} and {other} in {names['variant']}"
            told = shlex.quote(f"{role}={one},{role}={other}")
            doubts.append(
                f"the {role} is {shown}: is that the same? If not, name the column that is (--columns "
                f"{role}=...); if it is, ask again with --columns {told}"
            )
    return doubts
