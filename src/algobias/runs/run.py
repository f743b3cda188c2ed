"""A run, as the planner sees it."""

from __future__ import annotations

from dataclasses import dataclass

from algobias.runs.outcome import Outcome


@dataclass(frozen=True)
class Run:
    """One arm with one seed.

    Attributes:
        arm: ``baseline``, ``variant``, ``rate_only``, ``variant+control:I``, ``baseline+control:I``
            (I counts the controls from 0), or an arm of the reader's own.
        replicate: Which repetition, from 0. Decisions are paired over equal replicates.
        length: Multiple of the planned schedule this run was made for. Runs of a recipe whose rate decays
            have one run per length; otherwise a longer run contains the shorter one.
        outcome: What came out.
    """

    arm: str
    replicate: int
    outcome: Outcome
    length: float = 1.0
