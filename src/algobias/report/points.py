"""From runs to the tables that figures draw: seeds, curves, means, ends. Numpy only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import t as student

from algobias.report.record import StudyRecord, number_or_none
from algobias.report.series import (
    Rows,
    above_zero,
    along,
    first_crossing,
    planned_metric,
    rows_of,
    short,
    thinned,
    thinned_updates,
)
from algobias.report.words import arm_label, mapping
from algobias.study.design import Run
from algobias.study.matching import FitScale
from algobias.training.outcome import Floats, Outcome

_FIRST = ("baseline", "variant", "rate_only")
_LEVELS = 60
"""Levels at which a mean over seeds at equal fit is drawn."""


@dataclass(frozen=True)
class Points:
    """All tables of one record. Arms go by their labels; every table is computed once.

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
        controls = sorted(
            (arm for arm in found if "+control" in arm),
            key=lambda arm: (arm.rpartition(":")[2], arm[0] == "b", arm),
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
    def scale(self) -> FitScale:
        """What arms are matched on: the training loss, or the distance of the training metric from "
        "perfect."""
        if mapping(self.record.result.get("fit")).get("on") != "train_metric":
            return FitScale()
        baselines = [run.outcome for run in self.record.runs if run.arm == "baseline"]
        return FitScale.of_metric(baselines, None) if baselines else FitScale()

    @cached_property
    def level(self) -> float | None:
        """The matched level, where there is one that can be drawn."""
        level = number_or_none(mapping(self.record.result.get("fit")).get("level"))
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
        return self._choose(lambda run: -abs(math.log(run.length)) if run.length > 0 else -math.inf)

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
                "seed": run.outcome.seed,
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
        "seeds."""
        rows: Rows = []
        for arm, runs in self.planned_runs.items():
            values = [value for run in runs if (value := planned_metric(run.outcome)) is not None]
            if not values:
                continue
            mean, count = float(np.mean(values)), len(values)
            row = {"arm": self.labels[arm], "mean": mean, "low": None, "high": None, "n": count}
            if count > 1:
                half = float(student.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
                row.update(low=mean - half, high=mean + half)
            rows.append(row)
        return rows

    @cached_property
    def differences(self) -> Rows:
        """Baseline minus variant per replicate that both have: ``replicate, value``."""
        base, changed = (
            {run.replicate: planned_metric(run.outcome) for run in self.planned_runs.get(arm, [])}
            for arm in ("baseline", "variant")
        )
        rows: Rows = []
        for replicate in sorted(base.keys() & changed.keys()):
            one, other = base[replicate], changed[replicate]
            if one is not None and other is not None:
                rows.append({"replicate": replicate, "value": one - other})
        return rows

    @cached_property
    def lines_per_arm(self) -> int:
        """Number of seeds of an arm that are drawn as lines of their own, from the first."""
        return max(2, self.lines // max(1, len(self.arms)))

    @cached_property
    def curves(self) -> Rows:
        """Checks of each run that is drawn: ``arm, run, update, loss, metric``."""
        drawn = [(arm, run) for arm, runs in self._back_to_front() for run in runs[: self.lines_per_arm]]
        each = max(10, self.budget // max(1, len(drawn)))
        return [
            {"arm": self.labels[arm], "run": f"{arm}/{run.replicate}", **_without(row, "fit")}
            for arm, run in drawn
            for row in rows_of(run.outcome, thinned(run.outcome, each), self.scale)
        ]

    @cached_property
    def means(self) -> Rows:
        """Mean over the seeds of an arm that did not diverge: ``arm, update, loss, metric``.

        Geometric mean of the loss, arithmetic mean of the metric, at the checks that all of these seeds
        have; it ends where the first of them ends, so that a change of seeds never looks like progress.
        """
        rows: Rows = []
        for arm, _ in self._back_to_front():
            outcomes = self._trained(arm)
            end = min((int(outcome.curve.update[-1]) for outcome in outcomes), default=0)
            seen = {
                int(update) for outcome in outcomes for update in outcome.curve.update if 0 < update <= end
            }
            rows += self._means_at(arm, outcomes, thinned_updates(sorted(seen), 100))
        return rows

    @cached_property
    def ends(self) -> Rows:
        """Where the mean of an arm stands at the planned end that its seeds share: ``arm, update, loss, "
        "metric``."""
        rows: Rows = []
        for arm, _ in self._back_to_front():
            outcomes = self._trained(arm)
            planned = [int(outcome.curve.update[outcome.planned]) for outcome in outcomes]
            if planned and min(planned) > 0:
                rows += self._means_at(arm, outcomes, [min(planned)])
        return rows

    @cached_property
    def diverged(self) -> Rows:
        """Where each diverged run was last seen with a finite loss: ``arm, seed, update, loss, metric``."""
        rows: Rows = []
        for arm, runs in self.planned_runs.items():
            for run in runs:
                seen = rows_of(run.outcome, range(len(run.outcome.curve)), self.scale)
                if run.outcome.diverged and seen:
                    rows.append(
                        {"arm": self.labels[arm], "seed": run.outcome.seed, **_without(seen[-1], "fit")}
                    )
        return rows

    @cached_property
    def fits(self) -> Rows:
        """Test metric against what arms are matched on: ``arm, run, fit, metric``.

        Along the curve of a run; where runs were made anew for each length, one point per run.
        """
        drawn = [runs for arm in reversed(self.arms) for runs in self._fit_runs[arm][: self.lines_per_arm]]
        each = max(10, self.budget // max(1, len(drawn)))
        return [
            {
                "arm": self.labels[runs[0].arm],
                "run": f"{runs[0].arm}/{runs[0].replicate}",
                "fit": row["fit"],
                "metric": row["metric"],
            }
            for runs in drawn
            for row in self._path(runs, each)
        ]

    @cached_property
    def fit_means(self) -> Rows:
        """Mean test metric of an arm at levels of fit that all its seeds reach: ``arm, fit, metric``."""
        rows: Rows = []
        for arm in reversed(self.arms):
            paths = self._paths[arm]
            if not paths:
                continue
            start, stop = min(fit[0] for fit, _ in paths), max(fit.min() for fit, _ in paths)
            if not start > stop:
                continue
            for level in np.linspace(start, stop, _LEVELS):
                mean = float(np.mean([first_crossing(fit, metric, float(level)) for fit, metric in paths]))
                rows.append({"arm": self.labels[arm], "fit": short(math.exp(level)), "metric": short(mean)})
        return rows

    @cached_property
    def matched(self) -> Rows:
        """Mean test metric of baseline and variant at the matched level, where all their seeds reach it."""
        rows: Rows = []
        for arm in [arm for arm in ("baseline", "variant") if arm in self.labels and self.level]:
            target = math.log(self.level or 1.0)
            paths = self._paths[arm]
            # A level is stored with fewer digits than it was reached with.
            if paths and all(fit.min() <= target + 1e-3 for fit, _ in paths):
                mean = float(np.mean([first_crossing(fit, metric, target) for fit, metric in paths]))
                rows.append({"arm": self.labels[arm], "fit": self.level, "metric": short(mean)})
        return rows

    @cached_property
    def _fit_runs(self) -> dict[str, list[list[Run]]]:
        """Arm -> for each replicate the runs along which its fit improves, shortest first."""
        if not self.by_length:
            return {arm: [[run] for run in runs] for arm, runs in self.drawn_runs.items()}
        found: dict[str, dict[int, list[Run]]] = {arm: {} for arm in self.arms}
        for run in sorted(self.record.runs, key=lambda run: (run.replicate, run.length)):
            if not run.outcome.diverged and len(run.outcome.curve):
                found[run.arm].setdefault(run.replicate, []).append(run)
        return {arm: list(replicates.values()) for arm, replicates in found.items()}

    def _path(self, runs: list[Run], limit: int) -> Rows:
        rows: Rows = []
        for run in runs:
            index: Iterable[int] = [run.outcome.planned] if self.by_length else thinned(run.outcome, limit)
            rows += rows_of(run.outcome, index, self.scale)
        return [row for row in rows if row["fit"] is not None and row["metric"] is not None]

    @cached_property
    def _paths(self) -> dict[str, list[tuple[Floats, Floats]]]:
        """Arm -> for each replicate log l and metric, in order of training."""
        found: dict[str, list[tuple[Floats, Floats]]] = {}
        for arm, replicates in self._fit_runs.items():
            paths = [rows for runs in replicates if (rows := self._path(runs, 1000))]
            found[arm] = [
                (np.log([row["fit"] for row in rows]), np.asarray([row["metric"] for row in rows]))
                for rows in paths
            ]
        return found

    def _choose(self, worth: Callable[[Run], Any]) -> dict[str, list[Run]]:
        best: dict[tuple[str, int], Run] = {}
        for run in self.record.runs:
            key = (run.arm, run.replicate)
            if key not in best or worth(run) > worth(best[key]):
                best[key] = run
        return {arm: [best[key] for key in sorted(best) if key[0] == arm] for arm in self.arms}

    def _back_to_front(self) -> list[tuple[str, list[Run]]]:
        """Arms with baseline and variant last, so that they are drawn over the others."""
        return [(arm, self.drawn_runs[arm]) for arm in reversed(self.arms)]

    def _trained(self, arm: str) -> list[Outcome]:
        return [
            run.outcome for run in self.drawn_runs[arm] if not run.outcome.diverged and len(run.outcome.curve)
        ]

    def _means_at(self, arm: str, outcomes: list[Outcome], updates: list[int]) -> Rows:
        if not outcomes or not updates:
            return []
        at = np.asarray(updates, dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            losses = np.exp(np.mean([along(o, np.log(o.curve.train_loss), at) for o in outcomes], 0))
        metrics = np.mean([along(o, o.curve.test_metric, at) for o in outcomes], 0)
        return [
            {"arm": self.labels[arm], "update": update, "loss": above_zero(one), "metric": short(other)}
            for update, one, other in zip(updates, losses, metrics, strict=True)
        ]


def _without(row: dict[str, object], key: str) -> dict[str, object]:
    return {name: value for name, value in row.items() if name != key}
