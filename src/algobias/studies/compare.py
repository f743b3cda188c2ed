"""The same verdict for runs trained by anybody's trainer, from two tables of curves."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from algobias.answer.answer import SCHEMA, Answer, Answered, LeftOut
from algobias.answer.arm import ArmSummary
from algobias.answer.result import arm_summary, judged_answer, outcomes_of
from algobias.errors import BadInput
from algobias.judge.design import Design, Run
from algobias.judge.plan import Look, replay
from algobias.judge.resolution import of_values
from algobias.judge.verdict import Verdict
from algobias.kept.csvfile import read_table
from algobias.kept.doubts import (
    doubts,
    killed_warnings,
    near_nothing,
    oddities,
    scored_diverged,
    worst_metric,
)
from algobias.kept.logged import Killed, Log, killed_among, logs_of, outcome_of
from algobias.kept.tables import Terms, read_terms


@dataclass(frozen=True)
class Comparison(Answered):
    """A finished comparison of two tables.

    Attributes:
        answer: What it answers.
        verdict: The verdict.
        design: Looks and tolerance.
        runs: Runs of both arms.
        looks: What was seen at each look.
    """

    answer: Answer
    verdict: Verdict
    design: Design
    runs: tuple[Run, ...]
    looks: tuple[Look, ...]


def compare_tables(
    baseline: Path,
    variant: Path,
    given: Terms | None = None,
    *,
    unpaired: bool = False,
    as_is: bool = False,
) -> Comparison:
    """Judge the runs in two tables by the rules of an audit.

    Seeds that both tables have are pairs; others are left out, with a warning. By default there is one
    look at all of them. A run that ends, with a finite loss and no planned end marked, before the last
    update that at least half of its arm's seeds have was killed, and is left out with a warning; a run
    that diverged is an outcome.

    Args:
        baseline: Table of the baseline.
        variant: Table of the variant.
        given: Terms that go before those beside ``baseline``.
        unpaired: The two tables have no seeds in common on purpose: Welch's interval decides.
        as_is: Judge killed runs too, by where they end.

    Raises:
        BadInput: Unreadable tables, no common seeds, fewer than two of them, impossible looks, a baseline
            of which every seed diverged.
    """
    started = time.monotonic()
    beside = read_terms(baseline.parent).model_dump(exclude_unset=True)
    terms = Terms(**{**beside, **(given.model_dump(exclude_unset=True) if given else {})})
    alike = baseline.name == variant.name
    tables = {
        arm: _Table.read(path, str(path) if alike else path.name)
        for arm, path in (("baseline", baseline), ("variant", variant))
    }
    logged = [(table.name, table.logs) for table in tables.values()]
    doubted, warnings = doubts(logged, terms), oddities(logged)
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
    made = {
        arm: {
            (log.seed, log.length): outcome_of(table.name, log, trivial, lowest, terms.sign)
            for log in table.logs
        }
        for arm, table in tables.items()
    }
    known = {one.log.seed for those in killed.values() for one in those}
    pairs = _pairs(tables, decays, warnings, unpaired, known)
    runs = tuple(
        Run(arm, replicate, made[arm][log.seed, log.length], log.length)
        for arm, table in tables.items()
        for replicate, log in table.numbered(pairs[arm])
    )
    if all(run.outcome.diverged for run in runs if run.arm == "baseline"):
        raise BadInput(
            tables["baseline"].name,
            f"all {len(pairs['baseline'])} seeds end with a train_loss that is not finite",
            "a baseline that can be trained: at least one seed that ends with a finite loss",
        )
    if trivial is None:
        doubted += near_nothing(runs, lowest, terms)
        warnings += scored_diverged(runs, lowest, terms)
    counts = [len(pairs[arm]) for arm in ("baseline", "variant")]
    count = max(counts) if unpaired else min(counts)
    tolerance = terms.tolerance
    if tolerance is None:
        tolerance = _suggested([one.end_metric for one in outcomes_of(runs, "baseline", count)])
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
        resolution=_resolution(tables.values(), runs) if terms.resolution is None else terms.resolution,
    )
    looked, verdict = replay(design, runs)
    assert not isinstance(verdict, list), "with can_extend=False the planner always decides"
    if verdict.name == "undecided" and looks[-1] > count:
        warnings.append(f"only {count} common seeds: not all planned looks can be taken")
    asked = Answer(
        schema=SCHEMA,
        study=None,
        task=f"{tables['baseline'].name} against {tables['variant'].name}",
        change=(),
        base=(),
        aa=False,
        metric=terms.shown_metric,
        lower_is_better=terms.lower_is_better,
        tolerance_reason="as given" if terms.tolerance is not None else "1.25 seed sd of the baseline",
    )
    judged = judged_answer(design, verdict, (), runs)
    answer = asked.merged(judged).changed(
        arms=tuple(
            _of_table(arm_summary(arm, outcomes_of(runs, arm, verdict.look or count), None, None))
            for arm in ("baseline", "variant")
        ),
        differences=(),
        left_out=tuple(_left_out(arm, one) for arm, those in killed.items() for one in those if not as_is),
        doubts=tuple(doubted),
        warnings=(*doubted, *warnings, *judged.warnings),
        store=None,
        report=None,
        seconds=time.monotonic() - started,
    )
    return Comparison(answer, verdict, design, runs, tuple(looked))


def _of_table(arm: ArmSummary) -> ArmSummary:
    """Leave of the costs what a table tells: how many updates were made, and nothing else."""
    return arm.changed(cost=arm.cost.of_updates_alone())


@dataclass(frozen=True)
class _Table:
    """The runs of one table."""

    name: str
    logs: tuple[Log, ...]

    @classmethod
    def read(cls, path: Path, name: str) -> _Table:
        """The runs of a file."""
        return cls(name, tuple(logs_of(name, read_table(path, name))))

    @property
    def seeds(self) -> list[int]:
        """Seeds in the order in which they appear."""
        return list(dict.fromkeys(log.seed for log in self.logs))

    def without(self, killed: Sequence[Killed]) -> _Table:
        """The table without some runs."""
        gone = {(one.log.seed, one.log.length) for one in killed}
        return _Table(self.name, tuple(log for log in self.logs if (log.seed, log.length) not in gone))

    def numbered(self, seeds: Sequence[int]) -> list[tuple[int, Log]]:
        """Runs of some seeds, each with the place of its seed among them."""
        places = {seed: place for place, seed in enumerate(seeds)}
        kept = [(places[log.seed], log) for log in self.logs if log.seed in places]
        return sorted(kept, key=lambda pair: pair[0])


def _resolution(tables: Iterable[_Table], runs: Sequence[Run]) -> float:
    """Smallest step between two test metrics that are judged; of a constant one its last written digit."""
    values = np.concatenate([run.outcome.curve.test_metric for run in runs])
    step = of_values(values)
    if step > 0:
        return step
    digits = (row.last_digit for table in tables for log in table.logs for row in log.rows)
    return min((digit for digit in digits if digit > 0), default=0.0)


def _suggested(metrics: Sequence[float]) -> float:
    """1.25 seed sd of the baseline, where no tolerance was given."""
    with np.errstate(over="ignore", invalid="ignore"):
        sd = float(np.std(metrics, ddof=1))
    if not math.isfinite(sd):
        raise BadInput("tolerance", "none given", "a number: the baseline's seeds have no finite sd")
    return float(f"{1.25 * sd:.3g}") or 1e-9


def _left_out(arm: str, killed: Killed) -> LeftOut:
    return LeftOut(
        arm=arm,
        seed=killed.log.seed,
        length=killed.log.length,
        column=killed.column,
        end=killed.end,
        shared=killed.shared,
    )


def _pairs(
    tables: dict[str, _Table], decays: bool, warnings: list[str], unpaired: bool, known: set[int]
) -> dict[str, list[int]]:
    """Seeds of both arms in the order of replicates: those with a run of the planned length.

    A warning names the others, but for those ``known`` to be missing.
    """
    seeds = {}
    for arm, table in tables.items():
        whole = {log.seed for log in table.logs if log.length == 1 or (log.length > 1 and not decays)}
        seeds[arm] = [seed for seed in table.seeds if seed in whole]
        cut = [seed for seed in table.seeds if seed not in whole | known]
        if cut:
            warnings.append(
                f"{len(cut)} seeds of {table.name} have no run of length 1 and are left out: {cut[:5]}"
            )
    if unpaired:
        for arm, those in seeds.items():
            if len(those) < 2:
                raise BadInput("seeds", f"{len(those)} in {tables[arm].name}", "at least 2 whole runs")
        return seeds
    theirs = set(seeds["variant"])
    common = [seed for seed in seeds["baseline"] if seed in theirs]
    if len(common) < 2:
        shown = {arm: ", ".join(map(str, those[:5])) or "none" for arm, those in seeds.items()}
        raise BadInput(
            "seeds",
            f"{shown['baseline']} ... against {shown['variant']} ...",
            "at least 2 whole runs of seeds that both tables have (or --unpaired, where Welch's interval "
            "decides; or --as-is, where runs that end early were not killed)",
        )
    both = set(common)
    for arm, those in seeds.items():
        alone = [seed for seed in those if seed not in both | known]
        if alone:
            warnings.append(f"{len(alone)} seeds are only in {tables[arm].name} and left out: {alone[:5]}")
    return {"baseline": common, "variant": common}
