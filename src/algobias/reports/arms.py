"""The arms of a record: order, labels, runs, scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from algobias.reports.figures.series import FitAxis, Row, Rows, exact_seed, numbers, planned_metric
from algobias.reports.record import StudyRecord
from algobias.reports.words import arm_label
from algobias.runs.arm_name import ArmName
from algobias.runs.run import Run

_FIRST = ("baseline", "variant", "rate_only")


@dataclass(frozen=True)
class ArmPoints:
    """Arms and seeds of one record; arms go by their labels, every table is computed once.

    Attributes:
        record: The record.
        budget: Largest number of curve points kept in all; long curves are thinned evenly in log updates.
        lines: Largest number of runs that are drawn as lines of their own; means are over all.
    """

    record: StudyRecord
    budget: int = 8_000
    lines: int = 180

    @cached_property
    def arms(self) -> list[str]:
        """Arms that have runs: baseline, variant, rate_only, then the treated ones, then others."""
        found = dict.fromkeys(run.arm for run in self.record.runs)
        names = {arm: ArmName.parse(arm) for arm in found}
        controls = sorted(
            (arm for arm, name in names.items() if name.control is not None),
            key=lambda arm: (names[arm].control, arm[0] == "b", arm),
        )
        known = [arm for arm in _FIRST if arm in found] + controls
        return known + sorted(arm for arm in found if arm not in known)

    @cached_property
    def labels(self) -> dict[str, str]:
        """Arm -> label; labels are unique."""
        labels: dict[str, str] = {}
        for arm in self.arms:
            label = arm_label(arm, self.record)
            labels[arm] = label if label not in labels.values() else f"{label} ({arm})"
        return labels

    @cached_property
    def fit_axis(self) -> FitAxis:
        """What arms are matched on: the training loss, or the distance of the training metric from "
        "perfect."""
        return FitAxis.of_fit(self.record.answer.fit)

    @cached_property
    def level(self) -> float | None:
        """The matched level, where there is one that can be drawn."""
        level = self.record.answer.fit.level
        return level if level is not None and level > 0 else None

    @cached_property
    def by_length(self) -> bool:
        """Whether some recipe was run anew for each length, so that runs cut short mean nothing."""
        planned: dict[tuple[str, int], set[int]] = {}
        for run in self.record.runs:
            if not run.outcome.diverged and len(run.outcome.curve):
                end = int(run.outcome.curve.update[run.outcome.planned])
                planned.setdefault((run.arm, run.replicate), set()).add(end)
        return any(len(ends) > 1 for ends in planned.values())

    @cached_property
    def planned_runs(self) -> dict[str, list[Run]]:
        """Arm -> for each replicate the run of the planned length, which its score is taken from."""
        return self._choose(lambda run: (-abs(math.log(run.length)) if run.length > 0 else -math.inf, 0))

    @cached_property
    def drawn_runs(self) -> dict[str, list[Run]]:
        """Arm -> for each replicate the run whose curve is drawn: the longest that contains the planned "
        "one."""
        if self.by_length:
            return self.planned_runs

        def reach(run: Run) -> tuple[bool, int]:
            curve = run.outcome.curve
            return (not run.outcome.diverged, int(curve.update[-1]) if len(curve) else -1)

        return self._choose(reach)

    @cached_property
    def seeds(self) -> Rows:
        """One row per arm and replicate: ``arm, seed, replicate, metric, diverged``."""
        return [
            {
                "arm": self.labels[arm],
                "seed": exact_seed(run.outcome.seed),
                "replicate": run.replicate,
                "metric": planned_metric(run.outcome),
                "diverged": run.outcome.diverged,
            }
            for arm, runs in self.planned_runs.items()
            for run in runs
        ]

    @cached_property
    def arm_means(self) -> Rows:
        """Mean test metric of each arm at the planned end with its own ordinary 95 % t-interval over "
        "seeds, as the result has them."""
        answer = self.record.answer
        under = (entry.arm for entry in answer.interventions)
        arms = [*answer.arms, *(arm for arm in under if arm is not None)]
        rows: Rows = []
        for label in self.labels.values():
            arm = next((arm for arm in arms if arm_label(str(arm.name), self.record) == label), None)
            if arm is not None and arm.metric.mean is not None:
                ends = {"low": arm.metric.low, "high": arm.metric.high}
                rows.append({"arm": label, "mean": arm.metric.mean, **ends, "n": len(arm.seeds)})
        return rows

    @cached_property
    def scale_range(self) -> tuple[float, float]:
        """Range of the test metric that axes are made for, from planned ends.

        The question is baseline against variant: another arm widens the range only where it ends nearby
        (within their spread, or five tolerances), and diverged seeds likewise.
        What lies outside is named in the figures (:attr:`off_scale`) and listed in the table.
        """
        ended: dict[str, list[float]] = {}
        diverged: dict[str, list[float]] = {}
        for arm, runs in self.planned_runs.items():
            for run in runs:
                value = planned_metric(run.outcome)
                if value is not None:
                    (diverged if run.outcome.diverged else ended).setdefault(arm, []).append(value)
        pair = [ended.get(arm) or diverged.get(arm) or [] for arm in ("baseline", "variant")]
        core = [value for values in pair for value in values]
        core = core or [value for values in (*ended.values(), *diverged.values()) for value in values]
        if not core:
            return (0.0, 1.0)
        low, high = min(core), max(core)
        near = max(high - low, 5 * self.tolerance)
        wide = list(core)
        for values in (*ended.values(), *diverged.values()):
            if min(values) >= low - near and max(values) <= high + near:
                wide += values
        return min(wide), max(wide)

    @cached_property
    def off_scale(self) -> Rows:
        """Arms with seeds outside :attr:`scale_range`: ``arm, count, total, mean, below``."""
        low, high = self.scale_range
        means = {row["arm"]: row["mean"] for row in self.arm_means}
        rows: Rows = []
        for label in self.labels.values():
            values = numbers([row for row in self.seeds if row["arm"] == label], "metric")
            outside = [value for value in values if not low <= value <= high]
            if outside:
                counts: Row = {"arm": label, "count": len(outside), "total": len(values)}
                rows.append({**counts, "mean": means.get(label), "below": float(np.mean(outside)) < low})
        return rows

    @cached_property
    def tolerance(self) -> float:
        """delta, 0 where it is not known."""
        return self.record.answer.tolerance or 0.0

    @cached_property
    def paired(self) -> bool:
        """Whether equal seeds of two arms belong together; where they do not, a result has no paired gaps."""
        return self.record.answer.gap.paired

    @cached_property
    def differences(self) -> Rows:
        """Baseline minus variant of each pair of seeds: ``replicate, value``; none without pairs."""
        values = self.record.answer.gap.per_seed or ()
        return [{"replicate": place, "value": value} for place, value in enumerate(values)]

    @cached_property
    def drawing_order(self) -> list[str]:
        """The other arms first, then the baseline, and the variant over all of them."""
        return sorted(self.arms, key=lambda arm: (arm == "variant", arm == "baseline", -self.arms.index(arm)))

    @cached_property
    def lines_per_arm(self) -> int:
        """Number of seeds of an arm that are drawn as lines of their own, from the first."""
        return max(2, self.lines // max(1, len(self.arms)))

    def _choose(self, worth: Callable[[Run], tuple[float, int]]) -> dict[str, list[Run]]:
        best: dict[tuple[str, int], Run] = {}
        for run in self.record.runs:
            key = (run.arm, run.replicate)
            if key not in best or worth(run) > worth(best[key]):
                best[key] = run
        return {arm: [best[key] for key in sorted(best) if key[0] == arm] for arm in self.arms}
