"""The verdict: what an audit decided, and the rule that decides (architecture, 4.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from algobias.inference.statistics import Interval
from algobias.judge.checks import Checks, Failures
from algobias.judge.recovery import Recovery
from algobias.judge.split import LevelGap, Split
from algobias.judge.wording import Words

VerdictName = Literal["not_applied", "broken", "optimization", "bias", "mixed", "data", "no_gap", "undecided"]

MATCHED_GAPS: tuple[VerdictName, ...] = ("bias", "mixed", "data")
"""Verdicts of a gap after which arms and controls are compared at matched fit."""

PLANNED_END_GAPS: tuple[VerdictName, ...] = ("optimization", "broken")
"""Verdicts of a gap after which they are compared at the planned end, and none is trained longer."""

GAPS = (*MATCHED_GAPS, *PLANNED_END_GAPS)
"""Verdicts that say that something was lost."""


@dataclass(frozen=True)
class RateOnly:
    """What changing only the learning rate does; it describes and never decides.

    Attributes:
        gap: baseline - rate_only at the planned end.
        at_level: The same at a downward match's level, where there is one.
    """

    gap: Interval
    at_level: LevelGap | None = None


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
        would_decide: For ``undecided``: replicates that would probably decide; None where more seeds
            cannot, or where it is above the largest number considered.
        levels: The gap at other training losses; descriptive.
        rate_only: What the rate alone does; descriptive.
        recoveries: One per fixed control.
        population: Interval of the gap for the population of examples, where per-example outcomes are
            there; ``split.gap`` is a claim about this test set.
        failures: How many of the variant's seeds failed; None where no seed was looked at.
        doubts: Those of the warnings that are to be settled before the verdict is read.
    """

    name: VerdictName
    reason: str
    look: int
    alpha: float
    split: Split
    warnings: tuple[str, ...] = ()
    tolerable: bool = False
    would_decide: int | None = None
    levels: tuple[LevelGap, ...] = ()
    rate_only: RateOnly | None = None
    recoveries: tuple[Recovery, ...] = ()
    population: Interval | None = None
    failures: Failures | None = None
    doubts: tuple[str, ...] = ()

    @property
    def welch(self) -> Interval:
        """Unpaired interval of the gap, shown beside the paired one."""
        return self.split.welch

    @property
    def correlation(self) -> float:
        """Correlation of the arms' metrics over replicates; NaN where undefined."""
        return self.split.correlation

    @property
    def sign_flip_p(self) -> float | None:
        """Exact one-sided sign-flip p-value of the gap; None for unpaired arms."""
        return self.split.sign_flip_p


FEW = "with {} seeds a skewed loss, of a few seeds that lose much, cannot be excluded: 6 or more allow for it"
"""Said where something is absent by a last look of fewer seeds than that takes elsewhere."""


def decide(
    split: Split,
    checks: Checks,
    tolerance: float,
    *,
    look: int,
    last: bool,
    alters_data: bool = False,
) -> Verdict | None:
    """The verdict of one look, or None: take another look.

    Args:
        split: The gap and its shares over this look's replicates.
        checks: What can settle it before statistics.
        tolerance: delta.
        look: Replicates of this look.
        last: There is no look after this one.
        alters_data: A gap at matched fit means that information was removed.
    """
    words = Words(split, tolerance)
    # A loss that shows in spite of baselines that failed is no smaller without them.
    hidden = checks.ended_badly is not None
    gap, bias, fit = split.gap_state, split.bias_state, split.fit_state

    def verdict(
        name: VerdictName, reason: str, extra: tuple[str, ...] = (), would: int | None = None
    ) -> Verdict:
        return Verdict(
            name,
            reason,
            look,
            split.errors.decision,
            split,
            checks.warnings + extra + ((FEW.format(look),) if split.rests_on_few else ()),
            tolerable=gap == "absent" and split.gap_bounds.low > 0,
            would_decide=would,
            failures=checks.failures,
            doubts=checks.warnings if hidden and name in ("no_gap", "undecided") else checks.doubts,
        )

    def by_seeds(
        name: VerdictName, reason: str, extra: tuple[str, ...] = (), would: int | None = None
    ) -> Verdict:
        failed = "" if checks.failures is None else f" {checks.failures}."
        if checks.ended_badly is not None:
            failed += " {} of {} baseline seeds failed.".format(*checks.ended_badly)
        return verdict(name, f"{reason}{failed}", extra, would)

    if checks.not_applied is not None:
        return verdict("not_applied", f"The change was not applied: {checks.not_applied}.")
    if checks.broken is not None:
        return verdict("broken", f"{_sentence(checks.broken)}.")
    if checks.no_baseline is not None:
        return verdict("undecided", f"{_sentence(checks.no_baseline)}.")
    if gap == "absent":
        cancel = ("the shares cancel: at matched fit there is a gap, which a better fit hides",)
        return by_seeds("no_gap", words.no_gap(), cancel if bias == "present" else ())
    early = () if last else ("the audit stopped early, which inflates the estimates: go by the intervals",)
    if gap == "present" and split.bias_bounds is not None and split.fit_bounds is not None:
        if bias == "present" and fit == "absent":
            return by_seeds("data" if alters_data else "bias", words.bias(alters_data), early)
        if fit == "present" and bias == "absent":
            return by_seeds("optimization", words.optimization(), early)
        if bias == fit == "absent":
            return by_seeds("mixed", words.neither(), early)
        sure = min(split.bias_bounds.low, split.fit_bounds.low) > tolerance / 2
        if bias == fit == "present" and (last or sure):
            return by_seeds("mixed", words.both(), early)
    if not last and not (gap == "present" and split.hopeless):
        return None
    would, text = words.undecided()
    return by_seeds("undecided", text, would=would)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
