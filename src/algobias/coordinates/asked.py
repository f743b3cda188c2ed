"""Which probes a study reads, and which of them along training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from algobias.answer.answer import Answer
from algobias.own.user_file import in_file
from algobias.probes.base import Probe
from algobias.probes.registry import parse_many
from algobias.running.asked import NO_PROBES

ALONG_TRAINING = ("curvature", "stability", "margins")
"""Families whose cheap probes are also read along training."""


def wanted_probes(asked: str, earlier: Answer | None) -> tuple[Probe, ...]:
    """The probes asked for, and those whose readings the study has already: answers are added up.

    A probe of the user's whose file is no longer there is left out, and one that is asked for from a copy of
    its file.

    Args:
        asked: A preset, names, or ``none``.
        earlier: The study's stored answer, or None.
    """
    known = () if earlier is None or earlier.readings is None else earlier.readings.probes
    asked_for = parse_many(asked) if asked != NO_PROBES else ()
    there = [spelled for spelled in known if not _gone(spelled)]
    read = [probe for spelled in there for probe in parse_many(spelled)]
    wanted: dict[tuple[str, int], Probe] = {}
    for probe in (*asked_for, *read):
        wanted.setdefault((probe.kept_as(), probe.revision), probe)
    return tuple(wanted.values())


def _gone(spelled: str) -> bool:
    named = in_file(spelled)
    return named is not None and not Path(named[0]).is_file()


def along_training(probes: Sequence[Probe]) -> list[Probe]:
    """The probes that are also read along training."""
    return [p for p in probes if p.card.preset == "cheap" and p.card.family in ALONG_TRAINING]
