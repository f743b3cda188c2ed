"""Which runs the matched comparison needs: lazily, and never one that is there.

Downward both arms must come as low as the target T = max(L*, the highest of the baselines' lowest l),
so variants that have not are run on (or, where the rate decays, run again with a longer schedule). A
level that a shorter schedule already reaches needs shorter schedules still. What a look asks for
depends on that look's replicates and on earlier looks only, so that stopping in mid-batch, resuming and
adding replicates change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from algobias.judge.arm import Arm, FitScale, Path
from algobias.judge.design import LENGTHS, Design, Request, Run
from algobias.judge.matching import curve_arm, end_of, frontier_arm
from algobias.judge.split import FACTOR, enough, matched_level, reference_level
from algobias.runs.arm_name import ArmName
from algobias.runs.outcome import Outcome

SHORTER = tuple(length for length in reversed(LENGTHS) if length < 1)
LONGER = tuple(length for length in LENGTHS if length > 1)
ROUNDING = 1e-9
"""Two log l closer than this are the same."""

LONGEST = LENGTHS[-1]


_NONE: dict[int, dict[float, Outcome]] = {}


class Book:
    """The runs that are there, by arm, replicate and length."""

    def __init__(self, design: Design, runs: Iterable[Run]) -> None:
        self.design = design
        self._runs: dict[str, dict[int, dict[float, Outcome]]] = {}
        for run in runs:
            self._runs.setdefault(run.arm, {}).setdefault(run.replicate, {}).setdefault(
                run.length, run.outcome
            )
        self._rows: dict[str, list[Path]] = {}
        self._curves: dict[tuple[str, FitScale], dict[int, Arm]] = {}
        self._fits: dict[tuple[str, int, float, FitScale], float] = {}

    def find(self, arm: str, replicate: int, length: float) -> Outcome | None:
        """The outcome of one run, or None."""
        return self._runs.get(arm, {}).get(replicate, {}).get(length)

    def fit(self, arm: str, replicate: int, length: float, scale: FitScale) -> float:
        """log l at the end of a run that is there; inf where it diverged."""
        key = (arm, replicate, length, scale)
        if key not in self._fits:
            self._fits[key] = end_of(self._runs[arm][replicate][length], scale)
        return self._fits[key]

    def planned(self, arm: str, replicate: int) -> Path | None:
        """The run that shows the planned end: where the rate is constant, the longest there is."""
        lengths = self._runs.get(arm, _NONE).get(replicate)
        if lengths is None:
            return None
        length = 1.0 if self.design.decays or (len(lengths) == 1 and 1.0 in lengths) else max(lengths)
        return Path(length, lengths[length]) if length >= 1 and length in lengths else None

    def rows(self, arm: str) -> list[Path]:
        """The planned runs of replicates 0, 1, ... up to the first that is not there."""
        if arm not in self._rows:
            rows: list[Path] = []
            for replicate in range(len(self._runs.get(arm, {}))):
                path = self.planned(arm, replicate)
                if path is None:
                    break
                rows.append(path)
            self._rows[arm] = rows
        return self._rows[arm]

    def missing(self, arms: Iterable[str], n: int) -> list[Request]:
        """Planned runs that are not there among the first ``n`` replicates."""
        return [
            Request(arm, replicate)
            for arm in arms
            for replicate in range(len(self.rows(arm)), n)
            if self.planned(arm, replicate) is None
        ]

    def planned_arm(self, arm: str, n: int, scale: FitScale) -> Arm:
        """The first ``n`` replicates, with curves, or with the planned ends alone where the rate decays.

        The baseline's checks after its planned end are left out: it is never trained longer.
        """
        made = self._curves.setdefault((arm, scale), {})
        if n not in made:
            if not made:
                rows = self.rows(arm)
                made[len(rows)] = (
                    frontier_arm([[row] for row in rows], scale)
                    if self.design.decays
                    else curve_arm(
                        rows,
                        scale,
                        to_planned=arm == "baseline",
                        transplants=self.design.goes_on(ArmName.parse(arm).control),
                    )
                )
            made[n] = made[max(made)].first(n)
        return made[n]

    def everything(self, arm: str, n: int, scale: FitScale) -> Arm:
        """The first ``n`` replicates with every run there is (the baseline's not beyond length 1)."""
        if not self.design.decays:
            return self.planned_arm(arm, n, scale)
        longest = 1.0 if arm == "baseline" else math.inf
        rows = [
            [Path(length, out) for length, out in sorted(self._runs[arm][i].items()) if length <= longest]
            for i in range(min(n, len(self.rows(arm))))
        ]
        return frontier_arm(rows, scale)


@dataclass
class Frontier:
    """Full-schedule runs of one arm that a comparison uses, grown as the rule asks for them.

    Attributes:
        wanted: Runs that are not there.
    """

    book: Book
    arm: str
    scale: FitScale
    rows: list[list[Path]]
    fits: list[list[float]]
    wanted: list[Request] = field(default_factory=list)

    @classmethod
    def start(cls, book: Book, arm: str, n: int, scale: FitScale) -> Frontier:
        """The planned ends of the first ``n`` replicates, all of which are there."""
        planned = book.planned_arm(arm, n, scale)
        rows = [list(row) for row in planned.paths]
        return cls(book, arm, scale, rows, [[float(fit)] for fit in planned.end_fit])

    @classmethod
    def of(cls, book: Book, arm: str, made: Arm, scale: FitScale) -> Frontier:
        """Go on from runs that are in use already."""
        rows = [list(row) for row in made.paths]
        fits = [[book.fit(arm, i, path.length, scale) for path in row] for i, row in enumerate(rows)]
        return cls(book, arm, scale, rows, fits)

    def _add(self, replicate: int, length: float, request: bool = True) -> bool:
        outcome = self.book.find(self.arm, replicate, length)
        if outcome is None:
            if request and self.book.design.can_scale:
                self.wanted.append(Request(self.arm, replicate, length))
            return False
        at = sum(path.length < length for path in self.rows[replicate])
        self.rows[replicate].insert(at, Path(length, outcome))
        self.fits[replicate].insert(at, self.book.fit(self.arm, replicate, length, self.scale))
        return True

    def climb(self, replicate: int, target: float, request: bool = True) -> None:
        """Longer schedules, until one comes down to ``target`` (log l) or ends non-finite."""
        for length in LONGER:
            lowest = self.lowest(replicate)
            if lowest <= target + ROUNDING or lowest == math.inf:
                return
            if not self._has(replicate, length) and not self._add(replicate, length, request):
                return

    def descend(self, replicate: int, level: float) -> None:
        """Shorter schedules, until one stays at or above ``level`` (log l)."""
        for length in SHORTER:
            if self.fits[replicate][0] >= level - ROUNDING:
                return
            if not self._has(replicate, length) and not self._add(replicate, length):
                return

    def _has(self, replicate: int, length: float) -> bool:
        return any(path.length == length for path in self.rows[replicate])

    def lowest(self, replicate: int) -> float:
        """Lowest log l over schedules that are not shorter; inf where one ended non-finite."""
        pairs = zip(self.rows[replicate], self.fits[replicate], strict=True)
        fits = [fit for path, fit in pairs if path.length >= 1]
        return math.inf if max(fits) == math.inf else min(fits)

    def made(self) -> Arm:
        """The arm of what is there."""
        return frontier_arm(self.rows, self.scale)


def matched_arms(
    book: Book, n: int, settled: int, scale: FitScale, reference: float | None
) -> tuple[Arm, Arm] | list[Request]:
    """Baseline and variant with what the split of the gap needs, or the runs that are wanting.

    Args:
        book: The runs there are.
        n: Replicates of this look.
        settled: Replicates for which an earlier look has already been given all it asked for. A seed
            among them that stayed above the limit at the longest length settles that no other is trained
            longer. (Seeds of this look do not: a batch is the same whether or not it was interrupted.)
        scale: The fit measure.
        reference: L*, or None.
    """
    design = book.design
    baseline, variant = (book.planned_arm(arm, n, scale) for arm in ("baseline", "variant"))
    comparable = (
        reference is not None
        and bool(baseline.valid.all() and variant.valid.all())
        and enough(np.isfinite(baseline.end_fit), np.isfinite(variant.end_fit), pair=design.paired)
    )
    if reference is None or not comparable:
        return baseline, variant
    target = matched_level(reference, baseline)
    limit = math.log(FACTOR * reference)
    if not design.decays:
        if target > limit or _given_up(variant, settled, limit) or not design.can_scale:
            return baseline, variant
        return extensions("variant", variant, target) or (baseline, variant)
    return _full_schedules(book, n, settled, scale, reference, target, limit)


def extensions(name: str, arm: Arm, target: float) -> list[Request]:
    """Runs to be gone on with until they reach ``target`` (log l), those that did so in vain left out."""
    level = arm.scale.target(math.exp(target))
    return [
        Request(name, replicate, LONGEST, level, arm.scale.on)
        for row, replicate in enumerate(arm.replicates)
        if arm.finite[row] and arm.reach[row] > target and arm.paths[row][-1].length < LONGEST
    ]


def _given_up(arm: Arm, settled: int, limit: float) -> bool:
    """Whether one of the first ``settled`` seeds was trained for longest and stayed above the limit."""
    return any(
        arm.finite[row] and arm.reach[row] > limit and arm.paths[row][-1].length >= LONGEST
        for row in range(min(settled, len(arm)))
    )


def _full_schedules(
    book: Book, n: int, settled: int, scale: FitScale, reference: float, target: float, limit: float
) -> tuple[Arm, Arm] | list[Request]:
    baseline, variant = (Frontier.start(book, arm, n, scale) for arm in ("baseline", "variant"))
    ends = [known[0] for known in variant.fits]
    if target <= limit:
        everyone, earlier = range(len(ends)), range(min(settled, len(ends)))
        for replicate in earlier:
            variant.climb(replicate, target, request=False)
        in_vain = any(
            variant.rows[replicate][-1].length >= LONGEST and limit < variant.lowest(replicate) < math.inf
            for replicate in earlier
        )
        for replicate in () if in_vain else everyone:
            variant.climb(replicate, target)
        if variant.wanted:
            return variant.wanted
    reached = [arm.lowest(i) for arm in (baseline, variant) for i in range(len(arm.rows))]
    level = max(math.log(reference), *(lowest for lowest in reached if lowest < math.inf))
    if level <= limit:
        settle([baseline, variant], level)
    else:
        highest = max(end for end in ends if end < math.inf)
        for replicate in range(len(baseline.rows)):
            # Without pairs, every baseline is read at every variant's end.
            at = ends[replicate] if book.design.paired else highest
            if at < math.inf:
                baseline.descend(replicate, at)
    return baseline.wanted + variant.wanted or (baseline.made(), variant.made())


def settle(frontiers: Sequence[Frontier], level: float) -> None:
    """Shorter schedules wherever the shortest known one is already below the level."""
    for frontier in frontiers:
        for replicate in range(len(frontier.rows)):
            frontier.descend(replicate, level)


def frozen_reference(book: Book, first: int, scale: FitScale) -> float | None:
    """L* of an audit: over the baselines of the first look, four at most."""
    return reference_level(book.planned_arm("baseline", first, scale), min(4, first))
