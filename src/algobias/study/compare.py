"""The same verdict for runs trained by anybody's trainer, from two tables of curves."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from algobias.errors import BadInput
from algobias.study.design import Design, Run
from algobias.study.plan import Look, replay
from algobias.study.result import SCHEMA, arm_summary, outcomes_of, verdict_result
from algobias.study.tables import Row, Terms, outcomes, read_table, read_terms
from algobias.study.verdict import Verdict


@dataclass(frozen=True)
class Comparison:
    """A finished comparison of two tables.

    Attributes:
        result: The object ``--json`` prints.
        verdict: The verdict.
        design: Looks and tolerance.
        runs: Runs of both arms.
        looks: What was seen at each look.
    """

    result: dict[str, Any]
    verdict: Verdict
    design: Design
    runs: tuple[Run, ...]
    looks: tuple[Look, ...]


def compare_tables(
    baseline: Path, variant: Path, given: Terms | None = None, *, unpaired: bool = False
) -> Comparison:
    """Judge the runs in two tables by the rules of an audit.

    Seeds that both tables have are pairs; others are left out, with a warning. By default there is one
    look at all of them.

    Args:
        baseline: Table of the baseline.
        variant: Table of the variant.
        given: Terms that go before those beside ``baseline``.
        unpaired: The two tables have no seeds in common on purpose: Welch's interval decides.

    Raises:
        BadInput: Unreadable tables, no common seeds, fewer than two of them, impossible looks.
    """
    started = time.monotonic()
    beside = read_terms(baseline.parent).model_dump(exclude_unset=True)
    terms = Terms(**{**beside, **(given.model_dump(exclude_unset=True) if given else {})})
    tables = {"baseline": (baseline, read_table(baseline)), "variant": (variant, read_table(variant))}
    warnings: list[str] = []
    trivial = terms.trivial
    if trivial is None:
        trivial = min(
            row.test_metric for _, rows in tables.values() for row in rows if np.isfinite(row.test_metric)
        )
    made = {arm: outcomes(path, rows, trivial) for arm, (path, rows) in tables.items()}
    if terms.trivial is None and any(one.diverged for arm in made.values() for one in arm.values()):
        warnings.append(
            f"diverged runs are scored {trivial:g}, the lowest test metric seen; --trivial sets it"
        )
    pairs = _pairs(tables, warnings, unpaired)
    decays = (
        terms.decays
        if terms.decays is not None
        else len({length for arm in made.values() for _, length in arm}) > 1
    )
    runs = tuple(
        Run(arm, replicate, outcome, length)
        for arm, found in made.items()
        for replicate, seed in enumerate(pairs[arm])
        for (key, length), outcome in found.items()
        if key == seed
    )
    count = min(len(pairs["baseline"]), len(pairs["variant"]))
    tolerance = terms.tolerance
    if tolerance is None:
        ends = [run.outcome.end_metric for run in runs if run.arm == "baseline" and run.length == 1]
        tolerance = float(f"{1.25 * float(np.std(ends, ddof=1)):.3g}") or 1e-9
        used = f"{tolerance:g}, 1.25 seed sd of {baseline.name}, is used"
        warnings.append(f"no tolerance was given: {used}; fix it before you look")
    looks = terms.looks or (count,)
    design = Design(
        tolerance=tolerance,
        looks=looks,
        decays=decays,
        alters_data=terms.alters_data,
        alters_loss=terms.alters_loss,
        can_extend=False,
        paired=not unpaired,
    )
    looked, verdict = replay(design, runs)
    assert not isinstance(verdict, list), "with can_extend=False the planner always decides"
    if verdict.name == "undecided" and looks[-1] > count:
        warnings.append(f"only {count} common seeds: not all planned looks can be taken")
    result = {
        "schema": SCHEMA,
        "study": None,
        "task": f"{baseline.name} against {variant.name}",
        "change": [],
        "base": [],
        "aa": False,
        "metric": terms.metric,
        "tolerance_reason": "as given" if terms.tolerance is not None else "1.25 seed sd of the baseline",
        **verdict_result(design, verdict, ()),
        "arms": [
            arm_summary(arm, outcomes_of(runs, arm, verdict.look or count), None, None)
            for arm in ("baseline", "variant")
        ],
        "differences": [],
    }
    for arm in result["arms"]:
        # A table tells how many updates were made, and nothing else of what they cost.
        arm["cost"] = {axis: value if axis == "updates" else None for axis, value in arm["cost"].items()}
    result["warnings"] = [*warnings, *result["warnings"]]
    result.update(store=None, report=None, seconds=time.monotonic() - started)
    return Comparison(result, verdict, design, runs, tuple(looked))


def _pairs(
    tables: dict[str, tuple[Path, list[Row]]], warnings: list[str], unpaired: bool
) -> dict[str, list[int]]:
    seeds = {arm: list(dict.fromkeys(row.seed for row in rows)) for arm, (_, rows) in tables.items()}
    if unpaired:
        return seeds
    common = [seed for seed in seeds["baseline"] if seed in set(seeds["variant"])]
    if len(common) < 2:
        shown = {arm: ", ".join(map(str, found[:5])) for arm, found in seeds.items()}
        raise BadInput(
            "seeds",
            f"{shown['baseline']} ... against {shown['variant']} ...",
            "at least 2 seeds that both tables have (or --unpaired, where Welch's interval decides)",
        )
    for arm, found in seeds.items():
        alone = [seed for seed in found if seed not in common]
        if alone:
            warnings.append(f"{len(alone)} seeds are only in {tables[arm][0].name} and left out: {alone[:5]}")
    return {"baseline": common, "variant": common}
