"""From runs to the tables that figures draw: curves, means, ends, the metric against the fit."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from algobias.reports.arms import ArmPoints
from algobias.reports.figures.series import (
    Row,
    Rows,
    above_zero,
    along,
    exact_seed,
    rows_of,
    short,
    thinned,
    thinned_updates,
)
from algobias.runs.outcome import Outcome
from algobias.runs.run import Run


class Points(ArmPoints):
    """All tables of one record that figures draw."""

    @cached_property
    def curves(self) -> Rows:
        """Checks of each run that is drawn: ``arm, run, update, loss, metric``."""
        drawn = [(arm, run) for arm, runs in self._back_to_front() for run in runs[: self.lines_per_arm]]
        each = max(10, self.budget // max(1, len(drawn)))
        return [
            {"arm": self.labels[arm], "run": f"{arm}/{run.replicate}", **_without(row, "fit")}
            for arm, run in drawn
            for row in rows_of(run.outcome, thinned(run.outcome, each), self.fit_axis)
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
                seen = rows_of(run.outcome, range(len(run.outcome.curve)), self.fit_axis)
                if run.outcome.diverged and seen:
                    who: Row = {"arm": self.labels[arm], "seed": exact_seed(run.outcome.seed)}
                    rows.append({**who, **_without(seen[-1], "fit")})
        return rows

    @cached_property
    def fits(self) -> Rows:
        """Test metric against what arms are matched on: ``arm, run, fit, metric``.

        Along the curve of a run; where runs were made anew for each length, one point per run.
        """
        drawn = [runs for arm in self.drawing_order for runs in self._fit_runs[arm][: self.lines_per_arm]]
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
        return [
            {"arm": self.labels[arm], "fit": fit, "metric": metric}
            for arm in self.drawing_order
            for curve in self.record.answer.fit.curves
            if curve.arm == arm
            for fit, metric in curve.points
        ]

    @cached_property
    def matched(self) -> Rows:
        """Where baseline and variant are compared: ``arm, fit, metric``, means over seeds.

        At the matched level; in an upward match the variant is shown at its planned end, which defines it.
        """
        return [
            {"arm": self.labels[matched.arm], "fit": matched.level, "metric": matched.mean}
            for matched in self.record.answer.fit.matched_arms
            if matched.arm in self.labels
        ]

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
            rows += rows_of(run.outcome, index, self.fit_axis)
        return [row for row in rows if row["fit"] is not None and row["metric"] is not None]

    def _back_to_front(self) -> list[tuple[str, list[Run]]]:
        return [(arm, self.drawn_runs[arm]) for arm in self.drawing_order]

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


def _without(row: Row, key: str) -> Row:
    return {name: value for name, value in row.items() if name != key}
