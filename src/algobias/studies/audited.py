"""A finished audit as the start of another study: its result and its question."""

from __future__ import annotations

from typing import Any

from algobias.errors import BadInput
from algobias.kept.archive import read_archive
from algobias.kept.store import Store, StudyRow
from algobias.running.spec import StudySpec, spec_from

GAPS = ("bias", "mixed", "data", "optimization", "broken")
"""Verdicts that say that something was lost."""


def audit_of(store: Store, study: str) -> StudyRow:
    """The audit that a study is, or is about.

    Args:
        store: Where studies are kept.
        study: An id, a unique prefix, or ``last``.

    Raises:
        BadInput: No such study.
    """
    row = store.find_study(study)
    for origin in ("control_of", "explain_of"):
        if origin in row.spec:
            row = store.find_study(str(row.spec[origin]))
    return row


def audited_question(row: StudyRow) -> tuple[dict[str, Any], StudySpec]:
    """The result of an audit that found a gap, and its question.

    Raises:
        BadInput: It has not finished, found no gap, or has no runs to show one: a check before them failed.
    """
    if row.result is None:
        raise BadInput("study", row.id, "a finished audit: run its command again to the end")
    result = read_archive(row).result
    if result.get("verdict") not in GAPS or result.get("aa"):
        allowed = "an audit that ended " + ", ".join(GAPS) + ": there is no gap to explain or to bring back"
        raise BadInput("study", f"{row.id} ({result.get('verdict')})", allowed)
    if not result["gap"]["n"]:
        reason = str(result.get("reason"))
        raise BadInput(
            "study", f"{row.id} ({result['verdict']})", f"an audit with runs; this has none: {reason}"
        )
    known = {key: value for key, value in row.spec.items() if key in StudySpec.model_fields}
    return result, spec_from(known)
