"""The verdict: what an audit decided, and the rule that decides (architecture, 4.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from algobias.study.recovery import Recovery
from algobias.study.split import LevelGap, Split
from algobias.study.statistics import Interval

VerdictName = Literal[
    "not_applied", "broken", "optimization", "bias", "mixed", "data", "no_gap", "undecided"
]


@dataclass(frozen=True)
class RateOnly:
    """What changing only the learning rate does; it describes and never decides.

    Attributes:
        gap: baseline - rate_only at the planned end.
        at_level: The same at the matched level, where every seed of ``rate_only`` reaches it.
    """

    gap: Interval
    at_level: Interval | None = None


@dataclass(frozen=True)
class Verdict:
    """What an audit found.

    Attributes:
        name: One of the eight verdicts.
        reason: Plain words, with numbers; for ``undecided`` also what would decide.
        look: Number of replicates used, 0 where a check before training settled it.
        alpha: One-sided error level of each decision.
        split: The gap and its shares.
        warnings: What the reader should know besides.
        tolerable: The gap is real but below the tolerance.
        would_decide: For ``undecided``: replicates that would probably decide, None where more seeds
            cannot or where it is above the largest number considered.
        welch: Unpaired interval for the gap, shown beside the paired one.
        correlation: Correlation of the two arms' metrics over replicates; NaN where undefined.
        sign_flip_p: Exact one-sided sign-flip p-value of the gap, None for unpaired arms.
        levels: The gap at other training losses; descriptive.
        rate_only: What the rate alone does; descriptive.
        recoveries: One per fixed control.
        population: Interval of the gap for the population of examples, where per-example outcomes are
            there; ``split.gap`` is a claim about this test set.
    """

    name: VerdictName
    reason: str
    look: int
    alpha: float
    split: Split
    welch: Interval
    correlation: float
    warnings: tuple[str, ...] = ()
    tolerable: bool = False
    would_decide: int | None = None
    sign_flip_p: float | None = None
    levels: tuple[LevelGap, ...] = ()
    rate_only: RateOnly | None = None
    recoveries: tuple[Recovery, ...] = ()
    population: Interval | None = None
