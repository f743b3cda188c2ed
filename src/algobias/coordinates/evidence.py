"""What interventions support about a coordinate: caused by, accompanied by, not related. Pure.

That a coordinate differs between two recipes says nothing about cause. Here the change stays and the
coordinate is forced back by levers of several kinds, and it is seen whether generalisation comes back with
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from algobias.coordinates.returned import BACK, LEAST
from algobias.inference.statistics import Estimate, Interval, paired

Floats = NDArray[np.float64]
Word = Literal["caused by", "accompanied by", "not related", "undecided"]

STILL = 1.0
"""A coordinate whose whole interval is within so many seed standard deviations did not move to speak of."""


@dataclass(frozen=True)
class Forced:
    """One intervention, seen through one coordinate.

    Attributes:
        lever: As spelled.
        members: What it is made of: names of its levers and of what they set. Two that share a member are
            one piece of evidence. Empty where the change itself was undone: switched off or on, made smaller,
            or taken back by a lever.
        returned: Part of the coordinate's shift that is undone, 1 - (treated - baseline) / (variant -
            baseline).
        recovered: Part of the gap that is undone, R.
        repair: R* is at least half of R: more than what the same lever does for the baseline.
        against: R*, against the baseline with the same lever; None where the change itself was undone. A
            lever that brings a coordinate back and does harm of its own shows that in the baseline too.
    """

    lever: str
    members: frozenset[str]
    returned: Interval
    recovered: Interval
    repair: bool
    against: Interval | None = None

    @property
    def coordinate_back(self) -> bool:
        """The coordinate came back."""
        return self.returned.low > 0 and self.returned.mean >= BACK

    @property
    def coordinate_stayed(self) -> bool:
        """The coordinate certainly did not come back."""
        return self.returned.high < BACK

    @property
    def beyond_in_vain(self) -> bool:
        """The coordinate surely went beyond the baseline, while surely not all of the gap was gone.

        Were the gap due to this coordinate alone, and more of it worse, the variant would be ahead by now; a
        lever whose harm the baseline shows too (R*) says nothing.
        """
        harmless = self.against is None or self.against.high < 1
        return self.returned.low > 1 and self.recovered.high < 1 and harmless

    @property
    def gap_back(self) -> bool:
        """Generalisation came back, by more than what the lever does for the baseline."""
        return self.recovered.low > 0 and self.recovered.mean >= BACK and self.repair

    @property
    def gap_stayed(self) -> bool:
        """Generalisation certainly did not come back, nor was the same harm done to the baseline."""
        harmless = self.against is None or self.against.high < BACK
        return self.recovered.high < BACK and harmless


@dataclass(frozen=True)
class Statement:
    """What the interventions support about one coordinate.

    Attributes:
        coordinate: The probe.
        word: ``caused by``: it came back with generalisation under at least two levers that share nothing,
            and no intervention says otherwise. ``accompanied by``: it came back and generalisation did not,
            or generalisation came back without it. ``not related``: it moved by less than ``STILL``.
            ``undecided``.
        because: Why, in words.
        forced: What was seen.
    """

    coordinate: str
    word: Word
    because: str
    forced: tuple[Forced, ...] = ()


def judge(coordinate: str, forced: Sequence[Forced], *, moved: bool, still: bool = True) -> Statement:
    """Apply the rule.

    Where a lever took the coordinate beyond the baseline and part of the gap stayed, the reason says that it
    is not the whole cause, whatever the word.

    Args:
        coordinate: The probe.
        forced: One entry for each lever that was pulled.
        moved: Whether the audit found that it moved.
        still: Where it did not: whether its interval lies within ``STILL``; else too few seeds can tell.
    """
    seen = tuple(forced)
    if not moved and still:
        because = f"at matched fit it moved by less than {STILL:g} seed sd"
        return Statement(coordinate, "not related", because, seen)
    if not moved:
        because = (
            f"it was not shown to move at matched fit, nor to stay within {STILL:g} seed sd: "
            "more seeds would tell"
        )
        return Statement(coordinate, "undecided", because, seen)
    found = _rule(coordinate, seen)
    beyond = [one.lever for one in seen if one.beyond_in_vain and one.members]
    if beyond and found.word != "accompanied by":
        rest = (
            f"; not the whole cause: {_names(beyond)} took it beyond the baseline, and part of the gap stayed"
        )
        return replace(found, because=found.because + rest)
    return found


def _rule(coordinate: str, seen: tuple[Forced, ...]) -> Statement:
    """The rule for a coordinate that moved."""
    in_vain = [one.lever for one in seen if one.coordinate_back and one.gap_stayed]
    without = [one.lever for one in seen if one.coordinate_stayed and one.gap_back]
    together = [one for one in seen if one.coordinate_back and one.gap_back and one.members]
    if in_vain:
        because = f"{_names(in_vain)} brought it back, and generalisation did not come back with it"
        return Statement(coordinate, "accompanied by", because, seen)
    if without:
        because = f"with {_names(without)} generalisation came back although it stayed moved"
        return Statement(coordinate, "accompanied by", because, seen)
    if any(not one.members & other.members for one, other in combinations(together, 2)):
        because = (
            f"{_names([one.lever for one in together])} brought it back, generalisation came back each time, "
            "and no intervention says otherwise"
        )
        return Statement(coordinate, "caused by", because, seen)
    if together:
        shared = _shared(together)
        because = (
            f"it came back with generalisation under {_names([one.lever for one in together])} only{shared}: "
            "a lever of another kind would decide"
        )
    elif any(one.coordinate_back and one.members for one in seen):
        because = "it was brought back, but whether generalisation came back with it is not clear"
    elif not any(one.members for one in seen):
        because = "with no lever could it be read at matched fit: nothing is known of it"
    else:
        because = "no lever that was tried brought it back while the change stayed"
    return Statement(coordinate, "undecided", because, seen)


def _shared(levers: Sequence[Forced]) -> str:
    """What makes several levers one piece of evidence, as an aside; nothing for a single one."""
    pairs = list(combinations(levers, 2))
    shared = sorted({name for one, other in pairs for name in one.members & other.members})
    names = [name for name in shared if f"parts.{name}" not in shared or name.startswith("parts.")]
    said = _names([name.removeprefix("parts.") for name in names]) if names else ""
    return f", which share {said} and so are one piece of evidence" if pairs else ""


def _names(levers: Sequence[str]) -> str:
    return levers[0] if len(levers) == 1 else ", ".join(levers[:-1]) + " and " + levers[-1]


def slope(doses: Sequence[float], values: Sequence[Floats], error: float) -> Interval | None:
    """Least-squares slope against the dose, seed by seed, with a t-interval over seeds.

    Args:
        doses: Sizes of the change, [D].
        values: For each dose one number per replicate, [D, n]; replicates with a missing number are left out.
        error: Error on each side.
    """
    if len(doses) < 3:
        return None
    x = np.asarray(doses, dtype=np.float64)
    y = np.asarray(values, dtype=np.float64)
    y = y[:, np.isfinite(y).all(0)]
    if y.shape[1] < LEAST:
        return None
    x = x - x.mean()
    slopes: Floats = (x @ y) / float(x @ x)
    found: Estimate = paired(slopes)
    return found.interval(error)
