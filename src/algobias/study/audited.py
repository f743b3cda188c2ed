"""A finished audit as the start of another study: its result and its question."""

from __future__ import annotations

from typing import Any

from algobias.errors import BadInput
from algobias.study.archive import read_archive
from algobias.study.spec import StudySpec, spec_from
from algobias.study.store import StudyRow

GAPS = ("bias", "mixed", "data", "optimization", "broken")
"""Verdicts that say that something was lost."""


def audited_question(row: StudyRow) -> tuple[dict[str, Any], StudySpec]:
    """The result of an audit that found a gap, and its question.

    Raises:
        BadInput: It has not finished, or found no gap.
    """
    if row.result is None:
        raise BadInput("study", row.id, "a finished audit: run its command again to the end")
    result = read_archive(row).result
    if result.get("verdict") not in GAPS or result.get("aa"):
        allowed = "an audit that ended " + ", ".join(GAPS) + ": there is no gap to explain or to bring back"
        raise BadInput("study", f"{row.id} ({result.get('verdict')})", allowed)
    known = {key: value for key, value in row.spec.items() if key in StudySpec.model_fields}
    return result, spec_from(known)
