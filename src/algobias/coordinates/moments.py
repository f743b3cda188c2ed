"""At which moments of which runs coordinates are read, so that arms are compared at matched fit. Pure.

Where the rate is constant, a downward match is read at the first check at or below the level, an upward
match at the first check of every other arm at or below the loss at which the variant of that replicate ended,
and at that end. Where the rate decays, a run has one moment, its end: readings are interpolated linearly in
log l between the full-schedule runs whose ends bracket the level, or taken from one end within 10 % of it.
Without a match every run is read at its planned end, and no shift can be told from a change of fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from algobias.judge.arm import Arm, FitScale, Floats
from algobias.judge.describe import scale_of, training_metric_scale
from algobias.judge.design import Design, Run
from algobias.judge.extension import ROUNDING, Book
from algobias.judge.treated import comes_down, end_levels
from algobias.judge.verdict import Verdict
from algobias.runs.outcome import Outcome

NEAR = math.log(1.1)
"""An end of a full schedule that lies so near to the level (in log l) is read by itself."""

TRAJECTORY_SEEDS = 2
TRAJECTORY_MOMENTS = 8


@dataclass(frozen=True)
class Moment:
    """One check of one run.

    Attributes:
        arm: The run's arm.
        replicate: Its replicate.
        length: Its length, which names the run together with arm and replicate.
        row: Row of its curve.
        weight: Share in the arm's reading; the moments of one replicate add up to 1.
        outcome: What came out of the run.
    """

    arm: str
    replicate: int
    length: float
    row: int
    weight: float
    outcome: Outcome = field(compare=False, repr=False)

    @property
    def update(self) -> int:
        """Updates made."""
        return int(self.outcome.curve.update[self.row])

    @property
    def train_loss(self) -> float:
        """Training loss there, as it was recorded."""
        return float(self.outcome.curve.train_loss[self.row])


@dataclass(frozen=True)
class Matched:
    """Where the arms of a study are read.

    Attributes:
        moments: By arm and replicate; a replicate without a value at matched fit is left out.
        reason: Why readings are not at matched fit; None: they are.
        unmatched: Arms besides baseline and variant that are read at their planned end although baseline
            and variant are matched: not every replicate comes down to its level.
    """

    moments: dict[str, dict[int, tuple[Moment, ...]]]
    reason: str | None
    unmatched: tuple[str, ...] = ()


def matched_moments(design: Design, runs: Sequence[Run], verdict: Verdict, arms: Sequence[str]) -> Matched:
    """Where to read the arms for the replicates of the stopping look.

    Args:
        design: What was fixed before the first run.
        runs: Every run there is.
        verdict: What was decided, at which look, with which match.
        arms: Arms to read, ``baseline`` and ``variant`` among them.
    """
    book, look, split = Book(design, runs), verdict.look, verdict.split
    scale = training_metric_scale(design, book) if look and design.alters_loss else FitScale()
    known = {name: book.everything(name, look, scale) for name in arms if book.rows(name)} if look else {}
    if not {"baseline", "variant"} <= known.keys():
        return Matched({}, "no runs were compared")
    if split.side is None or split.level is None:
        why = split.unavailable_because or "no level of fit is shared by both arms"
        return Matched({name: _ends(name, arm) for name, arm in known.items()}, why)
    found: dict[str, dict[int, tuple[Moment, ...]]] = {}
    unmatched = []
    for name, arm in known.items():
        if split.side == "downward":
            read = _at(name, arm, np.full(len(arm), math.log(split.level)), design.decays)
            whole = len(read) == len(arm)
        elif name == "variant":
            read, whole = _ends(name, arm), True
        elif name == "baseline":
            read, whole = _at(name, arm, end_levels(known["variant"], arm.replicates), design.decays), True
        else:
            own = scale_of(design, book, name, scale)
            treated, variant = (book.everything(each, look, own) for each in (name, "variant"))
            levels = comes_down(treated, variant)
            read = {} if levels is None else _at(name, treated, levels, design.decays)
            whole = levels is not None
        if name not in ("baseline", "variant") and not whole:
            read = _ends(name, arm)
            unmatched.append(name)
        found[name] = read
    return Matched(found, None, tuple(unmatched))


def _ends(name: str, arm: Arm) -> dict[int, tuple[Moment, ...]]:
    """The planned end of every replicate."""
    found: dict[int, tuple[Moment, ...]] = {}
    for replicate, row in zip(arm.replicates, arm.paths, strict=True):
        path = next((one for one in row if one.length == 1), row[0])
        found[replicate] = (Moment(name, replicate, path.length, path.outcome.planned, 1.0, path.outcome),)
    return found


def _at(name: str, arm: Arm, log_level: Floats, decays: bool) -> dict[int, tuple[Moment, ...]]:
    """Where each replicate first reaches its level; those that never do are left out."""
    wanted = np.where(np.isfinite(log_level), log_level + ROUNDING, -math.inf)
    columns, weights = arm.crossing(wanted)
    found: dict[int, tuple[Moment, ...]] = {}
    for i, (column, weight) in enumerate(zip(columns.tolist(), weights.tolist(), strict=True)):
        if not math.isfinite(weight):
            continue
        replicate, row = arm.replicates[i], arm.paths[i]
        if not decays:
            found[replicate] = (Moment(name, replicate, row[0].length, column, 1.0, row[0].outcome),)
            continue
        shares = {column: weight, column - 1: 1 - weight} if 0 < weight < 1 and column > 0 else {column: 1.0}
        away = {k: abs(float(arm.log_fit[i, k]) - float(wanted[i])) for k in shares}
        nearest = min(away, key=lambda k: away[k])
        if away[nearest] <= NEAR:
            shares = {nearest: 1.0}
        found[replicate] = tuple(
            Moment(name, replicate, row[k].length, row[k].outcome.planned, share, row[k].outcome)
            for k, share in sorted(shares.items())
        )
    return found


def halvings(outcome: Outcome, until: int) -> list[int]:
    """Rows of a curve at which weights were kept, up to row ``until``, thinned, that row itself included.

    The rule of the training loop: where the training loss is at most half of what it was when weights were
    last kept, and at the planned end.
    """
    kept, last = [], math.inf
    for row, loss in enumerate(outcome.curve.train_loss[: until + 1].tolist()):
        if loss <= last / 2 or row == outcome.planned:
            last = loss
            kept.append(row)
    if until not in kept:
        kept.append(until)
    if len(kept) <= TRAJECTORY_MOMENTS:
        return kept
    places = np.linspace(0, len(kept) - 1, TRAJECTORY_MOMENTS).round().astype(int)
    return [kept[place] for place in places]


def trajectory(matched: Matched, arm: str, replicate: int, decays: bool) -> list[Moment]:
    """Moments along one run, up to where it is read: weights that were kept of it, nothing trained again.

    Where the rate decays, snapshots of one schedule are no fits of their own but show the way all the same.
    """
    moments = matched.moments.get(arm, {}).get(replicate, ())
    if not moments:
        return []
    end = max(moments, key=lambda moment: moment.weight)
    return [
        Moment(arm, replicate, end.length, row, 1.0, end.outcome) for row in halvings(end.outcome, end.row)
    ]
