"""What one run of each arm shows: never a verdict."""

from __future__ import annotations

from algobias.answer.form import Count, Form, Number


class PairDifference(Form):
    """Baseline minus variant along a part of training.

    Attributes:
        mean: Mean over that part.
        low: Lower end of its 95 % interval by the noise within this pair, or None.
        high: Upper end, or None.
        start: Where the part starts: an update, or a training loss.
        end: Where it ends.
        points: Checks in it.
        correlation: Of the differences at neighbouring checks, or None.
    """

    mean: Number
    low: Number | None = None
    high: Number | None = None
    start: Number
    end: Number
    points: Count
    correlation: Number | None = None


class SingleRuns(Form):
    """One run of each arm.

    Attributes:
        at_updates: The difference at equal updates, over the last half of those that both have.
        at_losses: The difference at equal training loss, over the lower half of those that both reach.
        seeds: Seeds of each arm that would decide, at the least.
        length: Length of their runs, as a multiple of these.
        updates: Updates of such a run of the baseline.
        cost: What they cost together, as a multiple of these two runs.
        seeds_known: The seeds follow from a tolerance and the noise of this pair.
    """

    at_updates: PairDifference | None = None
    at_losses: PairDifference | None = None
    seeds: Count
    length: Number
    updates: Count
    cost: Number
    seeds_known: bool = False
