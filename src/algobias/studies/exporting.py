"""A stored study, sent to trackers: after the verdict, in this process, one after the other."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from os import PathLike

from algobias.answer.answer import Answered
from algobias.errors import BadInput
from algobias.exports.content import ExportedStudy
from algobias.exports.registry import parse
from algobias.exports.target import Target
from algobias.kept.archive import Place, read_archive, stored_runs
from algobias.kept.store import DEFAULT_FOLDER, Store
from algobias.reports.html import render
from algobias.studies.reports import record_of


@dataclass(frozen=True)
class Exported:
    """What became of sending a study to one target.

    Attributes:
        study: Its id.
        to: The target as it was spelled.
        place: Where it is found; None where that failed.
        written: Runs, or files of tables, written now.
        kept: Those that were there already.
        failure: Why the tracker failed; None: it did not.
    """

    study: str
    to: str
    place: str | None = None
    written: int = 0
    kept: int = 0
    failure: str | None = None


def export(
    study: str | Answered = "last",
    *,
    to: str | Target | Sequence[str | Target],
    store: str | PathLike[str] = DEFAULT_FOLDER,
) -> tuple[Exported, ...]:
    """Send a finished study to trackers. See ``algobias export --help``.

    Args:
        study: What :func:`algobias.audit` or another study returned; or an id, a unique prefix, or ``last``.
        to: ``mlflow``, ``wandb``, ``tensorboard``, ``trackio`` or ``csv``, options behind a colon; several in
            a list.
        store: Workspace folder that has it.

    Returns:
        What became of each. A tracker that failed is a warning, and has a ``failure``.

    Raises:
        BadInput: No such study, not finished; an unknown target, or one whose library is not installed.
    """
    name = study if isinstance(study, str) else str(study.answer.study)
    with Store(store, writing=False) as opened:
        sent = export_study(opened, name, [to] if isinstance(to, str | Target) else to)
    for each in sent:
        if each.failure is not None:
            warnings.warn(f"{each.to} failed, the study is as it was: {each.failure}", stacklevel=2)
    return sent


def export_study(store: Store, study: str, to: Sequence[str | Target]) -> tuple[Exported, ...]:
    """Send a finished study to trackers.

    A tracker that fails (no network, a full disk of its own) is no fault of the study: it is told in
    ``failure``, and the others are sent to all the same.

    Args:
        store: Where the study is kept.
        study: Id, unique prefix, or ``last``.
        to: Targets, as spelled or as objects.

    Raises:
        BadInput: No such study, not finished; an unknown target, or one whose library is not installed.
    """
    if not to:
        raise BadInput("--to", None, "a target, like mlflow, wandb, tensorboard, trackio or csv")
    targets = [parse(each) if isinstance(each, str) else each for each in to]
    for target in targets:
        target.check()
    content = exported(store, study)
    return tuple(_sent(target, content) for target in targets)


def exported(store: Store, study: str) -> ExportedStudy:
    """Read what of a finished study is exported.

    Args:
        store: Where it is kept.
        study: Id, unique prefix, or ``last``.

    Raises:
        BadInput: No such study, not finished, damaged, or runs missing.
    """
    row = store.find_study(study)
    record, archive = record_of(store, row.id), read_archive(row)
    return ExportedStudy.of(
        record.answer,
        stored_runs(store, _own(archive.places)),
        decays=bool(archive.terms.decays),
        command=record.command,
        draw=lambda: render(record),
        created=row.created,
    )


def _own(places: Sequence[Place]) -> list[Place]:
    """Leave out runs of a baseline under a control that does nothing to it: they are the baseline's."""
    baseline = {(place.address, place.seed) for place in places if place.arm == "baseline"}
    return [
        place for place in places if place.arm == "baseline" or (place.address, place.seed) not in baseline
    ]


def _sent(target: Target, content: ExportedStudy) -> Exported:
    spelled = target.spelling()
    try:
        with redirect_stdout(sys.stderr):  # trackers greet
            sent = target.send(content)
    except BadInput:
        raise
    except Exception as error:  # of somebody else's library, which may raise anything
        text = f"{type(error).__name__}: {error}".strip()
        return Exported(content.id, spelled, failure=text.splitlines()[0])
    return Exported(content.id, spelled, sent.place, sent.written, sent.kept)
