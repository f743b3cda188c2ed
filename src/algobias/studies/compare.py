"""The same verdict for runs trained by anybody's trainer, from two tables of curves."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from algobias.answer.answer import SCHEMA, Answer, Answered, LeftOut
from algobias.answer.arm import ArmSummary
from algobias.answer.result import arm_summary, judged_answer, outcomes_of
from algobias.errors import BadInput, Unfit
from algobias.judge.design import Design, Run
from algobias.judge.plan import Look, replay
from algobias.judge.verdict import Verdict
from algobias.kept.doubts import (
    doubts,
    killed_warnings,
    near_nothing,
    oddities,
    scored_diverged,
    worst_metric,
)
from algobias.kept.logged import Killed, killed_among, outcome_of, without_losses
from algobias.kept.tables import Terms
from algobias.logs.arm import Reading
from algobias.studies.reading import Question, Source, read_both
from algobias.studies.tables import pairs_of, resolution_of


@dataclass(frozen=True)
class Comparison(Answered):
    """A finished comparison of two tables.

    Attributes:
        answer: What it answers.
        verdict: The verdict.
        design: Looks and tolerance.
        runs: Runs of both arms.
        looks: What was seen at each look.
        files: What was read, the baseline's first.
    """

    answer: Answer
    verdict: Verdict
    design: Design
    runs: tuple[Run, ...]
    looks: tuple[Look, ...]
    files: tuple[Path, ...] = ()


def compare_tables(
    baseline: Source,
    variant: Source,
    given: Terms | None = None,
    *,
    unpaired: bool = False,
    as_is: bool = False,
    reading: Reading | None = None,
) -> Comparison:
    """Judge the runs in two sets of logs by the rules of an audit.

    Seeds that both tables have are pairs; others are left out, with a warning. By default there is one
    look at all of them. A run that ends, with a finite loss and no planned end marked, before the last
    update that at least half of its arm's seeds have was killed, and is left out with a warning; a run
    that diverged is an outcome.

    Args:
        baseline: Table of the baseline, or logs of any format: a file, a folder, a pattern.
        variant: The same of the variant.
        given: Terms that go before those beside ``baseline``.
        unpaired: The two tables have no seeds in common on purpose: Welch's interval decides.
        as_is: Judge killed runs too, by where they end.
        reading: How logs are to be read: columns, seeds, format.

    Raises:
        BadInput: Unreadable tables, no common seeds, fewer than two of them, impossible looks, a baseline
            of which every seed diverged.
    """
    started = time.monotonic()
    question = read_both(baseline, variant, given, reading or Reading())
    return judged(question, started, unpaired=unpaired, as_is=as_is)


def judged(question: Question, started: float, *, unpaired: bool = False, as_is: bool = False) -> Comparison:
    """Judge two arms that were read.

    Args:
        question: The arms, and how they are compared.
        started: When that was asked, by the monotonic clock.
        unpaired: As for :func:`compare_tables`.
        as_is: As there.

    Raises:
        BadInput: As there.
    """
    terms, tables = question.terms, dict(question.tables)
    logged = [(table.name, table.logs) for table in tables.values()]
    doubted, warnings = [*question.doubts, *doubts(logged, terms)], [*question.notes, *oddities(logged)]
    decays = terms.decays
    if decays is None:
        decays = len({log.length for table in tables.values() for log in table.logs}) > 1
    killed = {arm: killed_among(table.logs) for arm, table in tables.items()}
    for arm, those in killed.items():
        warnings += killed_warnings(tables[arm].name, those, as_is)
    if not as_is:
        tables = {arm: table.without(killed[arm]) for arm, table in tables.items()}
    trivial = None if terms.trivial is None else terms.sign * terms.trivial
    lowest = worst_metric([log for table in tables.values() for log in table.logs], terms)
    scored = without_losses(log for table in tables.values() for log in table.logs)
    if scored:
        warnings.append("train_loss is blank in every row of both: the test metric alone is compared")
    made = {
        arm: {
            (log.seed, log.length): outcome_of(
                table.name, log, trivial, lowest, terms.sign, loss_known=not scored
            )
            for log in table.logs
        }
        for arm, table in tables.items()
    }
    known = {one.log.seed for those in killed.values() for one in those}
    pairs = pairs_of(tables, decays, warnings, unpaired, known)
    runs = tuple(
        Run(arm, replicate, made[arm][log.seed, log.length], log.length)
        for arm, table in tables.items()
        for replicate, log in table.numbered(pairs[arm])
    )
    if all(run.outcome.diverged for run in runs if run.arm == "baseline"):
        raise Unfit(
            tables["baseline"].name,
            f"all {len(pairs['baseline'])} seeds end with a train_loss that is not finite",
            "a baseline that can be trained: at least one seed that ends with a finite loss",
        )
    if trivial is None:
        doubted += near_nothing(runs, lowest, terms)
        warnings += scored_diverged(runs, lowest, terms)
    counts = [len(pairs[arm]) for arm in ("baseline", "variant")]
    count = max(counts) if unpaired else min(counts)
    tolerance, resolution = terms.tolerance, terms.resolution
    if resolution is None:
        resolution = resolution_of(tables.values(), runs)
    if tolerance is None:
        ends = [one.end_metric for one in outcomes_of(runs, "baseline", count)]
        tolerance = _suggested(ends, resolution)
        whose = f"the {len(pairs['baseline'])} seeds of {tables['baseline'].name} that are judged"
        used = f"{tolerance:g}, 1.25 seed sd of {whose}, is used"
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
        resolution=resolution,
    )
    looked, verdict = replay(design, runs)
    assert not isinstance(verdict, list), "with can_extend=False the planner always decides"
    if verdict.name == "undecided" and looks[-1] > count:
        warnings.append(f"only {count} common seeds: not all planned looks can be taken")
    decided = judged_answer(design, verdict, (), runs)
    asked = asked_of(question, question.tolerance_from or "1.25 seed sd of the baseline")
    answer = asked.merged(decided).changed(
        arms=tuple(
            of_table(arm_summary(arm, outcomes_of(runs, arm, verdict.look or count), None, None))
            for arm in ("baseline", "variant")
        ),
        differences=(),
        left_out=tuple(_left_out(arm, one) for arm, those in killed.items() for one in those if not as_is),
        doubts=(*doubted, *decided.doubts),
        warnings=(*doubted, *warnings, *decided.warnings),
        store=None,
        report=None,
        seconds=time.monotonic() - started,
    )
    if question.logs:
        answer = answer.changed(logs=question.logs)
    return Comparison(answer, verdict, design, runs, tuple(looked), question.files)


def asked_of(question: Question, tolerance_reason: str) -> Answer:
    """Make the part of the answer that says what was asked.

    Args:
        question: The arms, and how they are compared.
        tolerance_reason: Where the tolerance comes from.
    """
    baseline, variant = (question.tables[arm].name for arm in ("baseline", "variant"))
    return Answer(
        schema=SCHEMA,
        study=None,
        task=f"{baseline} against {variant}",
        change=(),
        base=(),
        aa=False,
        metric=question.terms.shown_metric,
        lower_is_better=question.terms.lower_is_better,
        tolerance_reason=tolerance_reason,
    )


def of_table(arm: ArmSummary) -> ArmSummary:
    """Leave of the costs what a table tells: how many updates were made, and nothing else."""
    return arm.changed(cost=arm.cost.of_updates_alone())


def _suggested(metrics: Sequence[float], resolution: float) -> float:
    """1.25 seed sd of the baseline, where no tolerance was given; no sd is below that of rounding."""
    with np.errstate(over="ignore", invalid="ignore"):
        sd = float(np.std(metrics, ddof=1))
    if not math.isfinite(sd):
        raise BadInput("tolerance", "none given", "a number: the baseline's seeds have no finite sd")
    return float(f"{1.25 * max(sd, resolution / math.sqrt(12)):.3g}") or 1e-9


def _left_out(arm: str, killed: Killed) -> LeftOut:
    return LeftOut(
        arm=arm,
        seed=killed.log.seed,
        length=killed.log.length,
        column=killed.column,
        end=killed.end,
        shared=killed.shared,
    )
