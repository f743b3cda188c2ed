"""From runs to the tables that figures draw: curves, means, ends. Numpy only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import t as student

from algobias.report.record import StudyRecord, number_or_none
from algobias.report.words import arm_label, mapping
from algobias.study.design import Run
from algobias.training.outcome import Floats, Outcome

Rows = list[dict[str, Any]]

_FIRST = ("baseline", "variant", "rate_only")


def planned_metric(outcome: Outcome) -> float | None:
    """Test metric at the planned end; a diverged run scores its trivial metric."""
    if outcome.diverged or not len(outcome.curve):
        return _finite(outcome.trivial_metric)
    return _finite(outcome.curve.test_metric[outcome.planned])


@dataclass(frozen=True)
class Points:
    """All tables of one record.

    Attributes:
        record: The record.
        budget: Largest number of curve points kept in all; long curves are thinned evenly in log updates.
    """

    record: StudyRecord
    budget: int = 8_000

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
    def on(self) -> str:
        """What arms are matched on: ``train_loss`` or ``train_metric``."""
        on = mapping(self.record.result.get("fit")).get("on")
        return "train_metric" if on == "train_metric" else "train_loss"

    @cached_property
    def planned_runs(self) -> dict[str, list[Run]]:
        """Arm -> the run of each replicate that was made for the planned end."""
        best: dict[tuple[str, int], Run] = {}
        for run in self.record.runs:
            key = (run.arm, run.replicate)
            if key not in best or _distance(run) < _distance(best[key]):
                best[key] = run
        return {arm: [best[key] for key in sorted(best) if key[0] == arm] for arm in self.arms}

    @cached_property
    def by_length(self) -> bool:
        """Whether some recipe was run anew for each length, so that runs cut short mean nothing."""
        planned: dict[tuple[str, int], set[int]] = {}
        for run in self.record.runs:
            if not run.outcome.diverged and len(run.outcome.curve):
                planned.setdefault((run.arm, run.replicate), set()).add(
                    int(run.outcome.curve.update[run.outcome.planned])
                )
        return any(len(ends) > 1 for ends in planned.values())

    @cached_property
    def seeds(self) -> Rows:
        """One row per arm and replicate: ``arm, seed, replicate, metric, train_loss, diverged``."""
        rows: Rows = []
        for arm, runs in self.planned_runs.items():
            for run in runs:
                outcome = run.outcome
                last = float(outcome.curve.train_loss[outcome.planned]) if len(outcome.curve) else math.nan
                rows.append(
                    {
                        "arm": self.labels[arm],
                        "seed": outcome.seed,
                        "replicate": run.replicate,
                        "metric": planned_metric(outcome),
                        "train_loss": None if outcome.diverged else _finite(last),
                        "diverged": outcome.diverged,
                    }
                )
        return rows

    @cached_property
    def arm_means(self) -> Rows:
        """Mean test metric of each arm at the planned end with its own ordinary 95 % t-interval over seeds."""
        rows: Rows = []
        for arm in self.arms:
            label = self.labels[arm]
            values = [
                row["metric"] for row in self.seeds if row["arm"] == label and row["metric"] is not None
            ]
            if not values:
                continue
            mean, count = float(np.mean(values)), len(values)
            row = {"arm": label, "mean": mean, "low": None, "high": None, "n": count}
            if count > 1:
                half = float(student.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
                row.update(low=mean - half, high=mean + half)
            rows.append(row)
        return rows

    @cached_property
    def matched(self) -> Rows:
        """Mean test metric of baseline and variant at the matched level, where all their seeds reach it."""
        level = number_or_none(mapping(self.record.result.get("fit")).get("level"))
        if level is None or (self.on == "train_loss" and level <= 0):
            return []
        target, rows = self.position(level), []
        for arm in [arm for arm in ("baseline", "variant") if arm in self.labels]:
            paths = self._paths(arm)
            if paths and all(max(fit) >= target for fit, _ in paths):
                values = [
                    first_crossing(np.asarray(fit), np.asarray(metric), target) for fit, metric in paths
                ]
                rows.append({"arm": self.labels[arm], "fit": level, "metric": float(np.mean(values))})
        return rows

    @cached_property
    def differences(self) -> Rows:
        """Baseline minus variant per replicate that both have: ``replicate, value``."""
        table = {
            arm: {run.replicate: planned_metric(run.outcome) for run in runs}
            for arm, runs in self.planned_runs.items()
        }
        base, changed = table.get("baseline", {}), table.get("variant", {})
        rows: Rows = []
        for replicate in sorted(base.keys() & changed.keys()):
            one, other = base[replicate], changed[replicate]
            if one is not None and other is not None:
                rows.append({"replicate": replicate, "value": one - other})
        return rows

    @cached_property
    def curves(self) -> Rows:
        """Checks of each planned run: ``arm, run, update, loss, metric``; non-finite losses are left out."""
        each = max(12, self.budget // max(1, sum(len(runs) for runs in self.planned_runs.values())))
        rows: Rows = []
        for arm, runs in self.planned_runs.items():
            for run in runs:
                for row in _rows(run.outcome, thinned(run.outcome, each)):
                    kept = {key: row[key] for key in ("update", "loss", "metric")}
                    rows.append({"arm": self.labels[arm], "run": f"{arm}/{run.replicate}", **kept})
        return rows

    @cached_property
    def ends(self) -> Rows:
        """Where each planned run stands at its planned end, or where it was last seen before it diverged."""
        rows: Rows = []
        for arm, runs in self.planned_runs.items():
            for run in runs:
                kept = _rows(run.outcome, range(run.outcome.planned + 1))
                if kept:
                    kept[-1].pop("fit")
                    rows.append({"arm": self.labels[arm], "diverged": run.outcome.diverged, **kept[-1]})
        return rows

    @cached_property
    def means(self) -> Rows:
        """Mean over the seeds of an arm that did not diverge: ``arm, update, loss, metric``.

        Geometric mean of the loss, arithmetic mean of the metric, at the checks that all of these seeds
        have; it ends where the first of them ends, so that a change of seeds never looks like progress.
        """
        rows: Rows = []
        for arm, runs in self.planned_runs.items():
            outcomes = [run.outcome for run in runs if not run.outcome.diverged and len(run.outcome.curve)]
            if not outcomes:
                continue
            end = min(int(outcome.curve.update[-1]) for outcome in outcomes)
            grid = _thin_values([u for u in outcomes[0].curve.update.tolist() if 0 < u <= end], 100)
            if not grid:
                continue
            at = np.asarray(grid, dtype=float)
            with np.errstate(divide="ignore", invalid="ignore"):
                losses = np.exp(
                    np.mean(
                        [_along(o, np.log(np.maximum(o.curve.train_loss, 1e-300)), at) for o in outcomes], 0
                    )
                )
                metrics = np.mean([_along(o, o.curve.test_metric, at) for o in outcomes], 0)
            for update, one, other in zip(grid, losses, metrics, strict=True):
                if _finite(one) is not None:
                    rows.append(
                        {
                            "arm": self.labels[arm],
                            "update": update,
                            "loss": _short(one),
                            "metric": _short(other),
                        }
                    )
        return rows

    @cached_property
    def fits(self) -> Rows:
        """Test metric against what arms are matched on: ``arm, run, fit, metric``.

        Along the curve of a run; where runs were made anew for each length, one point per run.
        """
        rows: Rows = []
        each = max(12, self.budget // max(1, len(self.record.runs)))
        for run in self._fit_runs:
            outcome = run.outcome
            if not len(outcome.curve):
                continue
            index: Iterable[int] = [outcome.planned] if self.by_length else thinned(outcome, each)
            for row in _rows(outcome, index):
                fit = row["fit"] if self.on == "train_metric" else row["loss"]
                if fit is None or (self.by_length and outcome.diverged):
                    continue
                rows.append(
                    {
                        "arm": self.labels[run.arm],
                        "run": f"{run.arm}/{run.replicate}",
                        "fit": fit,
                        "metric": row["metric"],
                    }
                )
        return rows

    @cached_property
    def fit_means(self) -> Rows:
        """Mean test metric of an arm at equal fit, over the levels that all of its seeds reach: ``arm, fit, metric``."""
        rows: Rows = []
        for arm in self.arms:
            paths = self._paths(arm)
            if not paths:
                continue
            start = max(min(fit) for fit, _ in paths)
            stop = min(max(fit) for fit, _ in paths)
            if not start < stop:
                continue
            for level in np.linspace(start, stop, 60):
                values = [
                    first_crossing(np.asarray(fit), np.asarray(metric), float(level)) for fit, metric in paths
                ]
                rows.append(
                    {
                        "arm": self.labels[arm],
                        "fit": _short(float(level) if self.on == "train_metric" else math.exp(-level)),
                        "metric": _short(float(np.mean(values))),
                    }
                )
        return rows

    def _paths(self, arm: str) -> list[tuple[list[float], list[float]]]:
        paths: dict[str, tuple[list[float], list[float]]] = {}
        for row in self.fits:
            if row["arm"] == self.labels[arm] and row["metric"] is not None:
                path = paths.setdefault(row["run"], ([], []))
                path[0].append(self.position(row["fit"]))
                path[1].append(row["metric"])
        return list(paths.values())

    def position(self, fit: float) -> float:
        """Fit on the scale on which it is interpolated, growing as training goes on."""
        return fit if self.on == "train_metric" else -math.log(max(fit, 1e-300))

    @property
    def _fit_runs(self) -> list[Run]:
        if not self.by_length:
            return [run for runs in self.planned_runs.values() for run in runs]
        return sorted(
            (run for run in self.record.runs),
            key=lambda run: (self.arms.index(run.arm), run.replicate, run.length),
        )


def first_crossing(position: Floats, metric: Floats, level: float) -> float:
    """Metric where ``position`` first reaches ``level``, linear between the two checks around it.

    Args:
        position: Fit at each check, growing with training but not monotone, [K].
        metric: Metric at each check, [K].
        level: A level that is reached.
    """
    reached = np.nonzero(position >= level - 1e-12)[0]
    if not len(reached):
        return float(metric[-1])
    k = int(reached[0])
    if k == 0:
        return float(metric[0])
    share = (level - position[k - 1]) / (position[k] - position[k - 1])
    return float(metric[k - 1] + share * (metric[k] - metric[k - 1]))


def thinned(outcome: Outcome, limit: int) -> list[int]:
    """Rows of a curve to keep: at most ``limit``, evenly in log updates, with the planned end and the last."""
    total = len(outcome.curve)
    if total <= limit:
        return list(range(total))
    place = np.log1p(np.maximum(outcome.curve.update.astype(float), 0.0))
    wanted = np.linspace(place[0], place[-1], limit)
    chosen = {int(k) for k in np.searchsorted(place, wanted).clip(0, total - 1)}
    return sorted(chosen | {0, int(outcome.planned), total - 1})


def _thin_values(values: Sequence[int], limit: int) -> list[int]:
    if len(values) <= limit:
        return list(values)
    wanted = np.geomspace(values[0], values[-1], limit)
    chosen = {int(k) for k in np.searchsorted(np.asarray(values), wanted).clip(0, len(values) - 1)}
    return [values[k] for k in sorted(chosen | {len(values) - 1})]


def _along(outcome: Outcome, values: Floats, at: Floats) -> Floats:
    """Values of a curve at given updates, linear in log updates."""
    kept = outcome.curve.update > 0
    return np.interp(np.log(at), np.log(outcome.curve.update[kept].astype(float)), values[kept])


def _rows(outcome: Outcome, index: Iterable[int]) -> Rows:
    """Rows after update 0 (the axis of updates is logarithmic) up to where the loss stops being finite.

    A loss that is not above 0 has no place on a log axis and is None.
    """
    curve = outcome.curve
    rows: Rows = []
    for k in index:
        value = float(curve.train_loss[k])
        if curve.update[k] > 0 and math.isfinite(value):
            rows.append(
                {
                    "seed": outcome.seed,
                    "update": int(curve.update[k]),
                    "loss": _short(value) if value > 0 else None,
                    "fit": _short(curve.train_metric[k]),
                    "metric": _short(curve.test_metric[k]),
                }
            )
    return rows


def _distance(run: Run) -> float:
    return abs(math.log(run.length)) if run.length > 0 else math.inf


def _finite(value: float) -> float | None:
    return number_or_none(float(value))


def _short(value: float) -> float | None:
    """Five significant digits: finer than a pixel, and a third of the bytes."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
