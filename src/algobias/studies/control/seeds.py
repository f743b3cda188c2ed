"""Seeds of a control study: those of its search, and those that nothing of the audit was judged on before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from algobias.json_values import JsonObject
from algobias.kept.store import Store, StudyRow

SELECTION_OFFSET, CONFIRMATION_OFFSET = 2_000_000, 3_000_000
"""Distance of the seeds of search and confirmation from the audit's; the three never meet."""

BLOCK = 10_000
"""Seeds set aside for one confirmation: the most that a study may have."""


class Seeded(Protocol):
    """What seeds are counted from."""

    @property
    def seed(self) -> int:
        """The first one."""


def selection_seed(question: Seeded) -> int:
    """First seed of the search. Every search of an audit sees the same ones: what it learns is confirmed."""
    return question.seed + SELECTION_OFFSET


@dataclass(frozen=True)
class Fresh:
    """What a confirmation rests on.

    Attributes:
        first: Its first seed.
        earlier: Control studies of the same audit that were begun before, whose outcomes whoever asks may
            know: the seeds are new, the test examples are not.
    """

    first: int
    earlier: int


def fresh_seeds(store: Store, study: str, audit: StudyRow, question: Seeded) -> Fresh:
    """Seeds on which neither the audit nor a control study of it was judged.

    A study that was begun before keeps what it was given, so that it goes on as it began.

    Args:
        store: Where studies are kept.
        study: Id of the control study.
        audit: The audit.
        question: The audit's question with the seed asked for.
    """
    others = [row for row in store.studies() if row.spec.get("control_of") == audit.id]
    for row in others:
        if row.id == study and "confirmation_seed" in row.spec:
            return Fresh(_whole(row.spec, "confirmation_seed", 0), _whole(row.spec, "earlier_studies", 0))
    others = [row for row in others if row.id != study]
    before = CONFIRMATION_OFFSET  # what studies had that were begun before blocks were counted
    taken = [_whole(row.spec, "confirmation_seed", _whole(row.spec, "seed", 0) + before) for row in others]
    taken.append(_whole(audit.spec, "seed", question.seed))
    return Fresh(_free(question.seed + CONFIRMATION_OFFSET, taken), len(others))


def _whole(spec: JsonObject, key: str, default: int) -> int:
    value = spec.get(key, default)
    assert isinstance(value, int), "checked where it was read"
    return value


def _free(first: int, taken: Sequence[int]) -> int:
    while any(abs(first - other) < BLOCK for other in taken):
        first += BLOCK
    return first
