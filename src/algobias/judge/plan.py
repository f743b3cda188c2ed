"""The planner: which runs an audit needs next, or its verdict. Pure.

An audit is ``while isinstance(p := plan(design, runs), list): runs += execute(p)``. The looks are
replayed from the first, each with its own replicates only, so that runs that are added later never
change what an earlier look decided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from algobias.errors import BadInput
from algobias.inference.bounds import FEWEST, Bounds
from algobias.inference.levels import Errors, error_levels
from algobias.inference.resolution import of_examples
from algobias.inference.statistics import QUIET, Interval
from algobias.judge.arm import Arm, FitScale
from algobias.judge.checks import Checks, check_arms
from algobias.judge.describe import describe, training_metric_scale
from algobias.judge.design import Design, Request, Run
from algobias.judge.extension import Book, frozen_reference, matched_arms
from algobias.judge.shares import split_gap, with_shares
from algobias.judge.split import Split
from algobias.judge.verdict import Verdict, decide

ARMS = ("baseline", "variant")
NO_RUNS = Split(Interval(math.nan, -math.inf, math.inf, 0), Bounds(-math.inf, math.inf, 0), "unknown")


@dataclass(frozen=True)
class Look:
    """One look that has been taken.

    Attributes:
        n: Replicates looked at.
        split: The gap and its shares over them.
        verdict: What was decided, or None: another look.
        arms: Baseline and variant by which the split was made.
        scale: The fit measure.
    """

    n: int
    split: Split
    verdict: Verdict | None
    arms: tuple[Arm, Arm]
    scale: FitScale

    @property
    def text(self) -> str:
        """What followed, in a few words."""
        if self.verdict is not None:
            return self.verdict.name
        states = {"gap": self.split.gap_state}
        if self.split.gap_state == "present":
            states |= {"bias share": self.split.bias_state, "fit share": self.split.fit_state}
        return ", ".join(f"{name} {state}" for name, state in states.items()) + ": another look"


def plan(design: Design, runs: Sequence[Run]) -> list[Request] | Verdict:
    """Say which runs are wanted next, or the verdict if none is.

    Args:
        design: What was fixed before the first run.
        runs: The runs there are, in any order.

    Returns:
        Requests, none of them for a run that is there, or the verdict with everything described.

    Raises:
        BadInput: No more runs can be made, and there are not two replicates.

    Cost: about a millisecond at 20 replicates.
    """
    return replay(design, runs)[1]


@QUIET
def replay(design: Design, runs: Sequence[Run]) -> tuple[list[Look], list[Request] | Verdict]:
    """The looks taken so far, and what :func:`plan` says next."""
    looked: list[Look] = []
    settled_before = Checks(design.not_applied, design.null_failed)
    if settled_before.not_applied or settled_before.broken:
        verdict = decide(NO_RUNS, settled_before, design.tolerance, look=0, last=True)
        assert verdict is not None
        return looked, verdict
    book = Book(design, runs)
    looks, errors, fewest = _schedule(design, book)
    if design.only_look is not None:
        looks = (design.only_look,)
    tolerance, pair, first = design.tolerance, design.paired, looks[0]
    resolution = design.resolution
    settled, shown = 0, frozenset[str]()
    most = looks[-1] if design.can_extend else None
    for look in looks:
        missing = book.missing(ARMS, look) if design.can_extend else []
        if missing:
            return looked, missing
        scale = training_metric_scale(design, book) if design.alters_loss else FitScale()
        reference = frozen_reference(book, first, scale)
        arms = book.planned_arm("baseline", look, scale), book.planned_arm("variant", look, scale)
        if resolution is None:
            resolution = of_examples([row[-1].outcome for arm in arms for row in arm.first(first).paths])
        checks = check_arms(*arms, activity=look == first and pair, resolution=resolution)
        split = split_gap(
            *arms,
            reference,
            tolerance=tolerance,
            errors=errors,
            pair=pair,
            shares=False,
            resolution=resolution,
            fewest=fewest,
        )
        if checks.no_baseline is not None:
            # What failed baselines are scored is no measurement.
            split = replace(split, gap_state="unknown")
        last = look == looks[-1]
        # Only the last look takes back what an earlier one showed.
        held = frozenset() if last else shown
        split = split.not_taken_back(held)
        settled_by = checks.broken or checks.not_applied or checks.no_baseline
        stopped = last or split.gap_state == "absent" or settled_by
        wanted = split.gap_state == "present" or design.at == "matched"
        if wanted and not settled_by:
            grown = matched_arms(book, look, settled, scale, reference)
            if isinstance(grown, list):
                return looked, grown
            settled = look
            arms = grown
            split = with_shares(split, *arms, tolerance, most).not_taken_back(held)
        elif stopped:
            arms = book.everything("baseline", look, scale), book.everything("variant", look, scale)
            split = with_shares(split, *arms, tolerance)
        shown |= split.present
        verdict = decide(split, checks, tolerance, look=look, last=last, alters_data=design.alters_data)
        # Of a control nothing could be said over so few seeds.
        alone = design.controls == 0 or design.only_look is not None or look >= fewest
        if verdict is not None and verdict.name != "not_applied" and not alone:
            verdict = None
        looked.append(Look(look, split, verdict, arms, scale))
        if verdict is not None:
            return looked, describe(design, book, verdict, reference, scale)
    raise AssertionError("the last look always has a verdict")


def _schedule(design: Design, book: Book) -> tuple[tuple[int, ...], Errors, int]:
    """The looks that can be taken, their error levels, and the replicates below which nothing is absent.

    Where no more runs can be made, looks beyond the replicates that are there are left out; below the
    first look all there are make up one look. A schedule that ends early decides by its last look.
    """
    if design.can_extend:
        return design.looks, error_levels(design.looks), min(FEWEST, design.looks[-1])
    there = [len(book.rows(arm)) for arm in ARMS]
    most = min(there) if design.paired else max(there)
    if min(there) < 2:
        raise BadInput("replicates", min(there), "at least 2 in each arm")
    looks = tuple(look for look in design.looks if look <= most)
    errors = error_levels(design.looks if looks else (most,))
    looks = looks or (most,)
    return looks, errors, min(FEWEST, looks[-1], *there)
