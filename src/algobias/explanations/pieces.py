"""Pieces of a change: what each does alone, and what undoing it alone brings back."""

from __future__ import annotations

from collections.abc import Sequence

from algobias.answer.causes import InterventionEntry, PieceEntry
from algobias.answer.interval import Interval
from algobias.treatments.interventions import Intervention

GUILTY = 0.7
"""Share of the gap that a guilty piece makes alone, and that is gone where it alone is undone."""


def piece_entries(
    interventions: Sequence[Intervention], entries: Sequence[InterventionEntry]
) -> tuple[PieceEntry, ...]:
    """``pieces`` of the answer, those first that bring most back; none for a change without pieces.

    A piece makes ``(baseline - alone) / (baseline - variant)`` of the gap alone, and
    ``1 - (baseline - repaired) / (baseline - variant)`` of it is gone where it alone is undone. Guilty is a
    piece for which both are at least 0.7: it is enough, and nothing does without it.

    Args:
        interventions: What was done.
        entries: What each showed, in the same order.
    """
    alone: dict[str, Interval] = {}
    repaired: dict[str, Interval] = {}
    for one, entry in zip(interventions, entries, strict=True):
        if one.piece is not None:
            (alone if one.kind == "alone" else repaired)[one.piece] = entry.recovered
    found = [_entry(piece, alone[piece], repaired[piece]) for piece in alone if piece in repaired]
    return tuple(sorted(found, key=lambda entry: -(entry.repaired.mean or 0.0)))


def _entry(piece: str, alone: Interval, repaired: Interval) -> PieceEntry:
    made = _rest(alone)
    guilty = None
    if made.mean is not None and repaired.mean is not None:
        guilty = made.mean >= GUILTY and repaired.mean >= GUILTY
    return PieceEntry(piece=piece, alone=made, repaired=repaired, guilty=guilty)


def _rest(share: Interval) -> Interval:
    """What is left of the gap where this share of it is gone."""
    mean, low, high = (None if x is None else 1 - x for x in (share.mean, share.high, share.low))
    return Interval(mean=mean, low=low, high=high, n=share.n)
