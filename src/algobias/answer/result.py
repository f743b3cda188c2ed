"""The one object that ``--json`` prints and the report is made from (schema 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from algobias.judge.checks import Failures
from algobias.judge.design import Design, Run
from algobias.judge.plan import Look
from algobias.judge.recovery import Recovery
from algobias.judge.statistics import Interval, t_quantile
from algobias.judge.verdict import RateOnly, Verdict
from algobias.runs.cost import Cost
from algobias.runs.outcome import Outcome

SCHEMA = 1


def interval(value: Interval | None) -> dict[str, Any]:
    """``{mean, low, high, n}``; None stands for a bound or an estimate that does not exist."""
    if value is None:
        return {"mean": None, "low": None, "high": None, "n": 0}
    return {"mean": number(value.mean), "low": number(value.low), "high": number(value.high), "n": value.n}


def number(value: float | None) -> float | None:
    """A finite number, or None: JSON has no NaN and no infinity."""
    return None if value is None or not math.isfinite(value) else float(value)


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation over seeds; a value that is not finite makes both None."""
    array = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = number(float(array.mean())) if len(array) else None
        sd = number(float(array.std(ddof=1))) if len(array) > 1 else None
    return {"mean": mean, "sd": sd}


def own_interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean and sd over seeds with the arm's own ordinary 95 % t-interval: ``{mean, sd, low, high, n}``."""
    summary = {**spread(values), "low": None, "high": None, "n": len(values)}
    if summary["sd"] is not None:
        half = t_quantile(0.025, len(values) - 1) * summary["sd"] / math.sqrt(len(values))
        summary |= {"low": summary["mean"] - half, "high": summary["mean"] + half}
    return summary


def arm_summary(
    name: str, outcomes: Sequence[Outcome], recipe: Mapping[str, Any] | None, address: str | None
) -> dict[str, Any]:
    """One entry of ``arms``: the arm at its planned end.

    A run that diverged by then counts with its trivial metric; the cost is the mean over seeds, up to then.
    """
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.also)
    also = {name: spread([o.also[name] for o in outcomes if name in o.also]) for name in names}
    return {
        "name": name,
        "recipe": recipe,
        "address": address,
        "seeds": [o.seed for o in outcomes],
        "metric": own_interval([o.end_metric for o in outcomes]),
        "per_seed": [number(o.end_metric) for o in outcomes],
        "also": also,
        "train_metric": spread([float(o.curve.train_metric[o.planned]) for o in outcomes]),
        "train_loss": spread([float(o.curve.train_loss[o.planned]) for o in outcomes]),
        "diverged": sum(o.diverged for o in outcomes),
        "cost": mean_cost([o.cost.after(float(o.curve.update[o.planned])) for o in outcomes]),
    }


def mean_cost(costs: Sequence[Cost]) -> dict[str, float]:
    """Mean cost vector over seeds."""
    rows = [asdict(cost) for cost in costs]
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]} if rows else {}


def verdict_result(design: Design, verdict: Verdict, controls: Sequence[str]) -> dict[str, Any]:
    """The part of the result that follows from the verdict alone."""
    split = verdict.split
    return {
        "verdict": verdict.name,
        "reason": verdict.reason,
        "warnings": list(verdict.warnings),
        "tolerable": verdict.tolerable,
        "would_decide": verdict.would_decide,
        "tolerance": design.tolerance,
        "looks": list(design.looks),
        "gap": {
            **interval(split.gap),
            "state": split.gap_state,
            "bounds": [number(b) for b in (split.gap_bounds.low, split.gap_bounds.high)],
            "per_seed": [a - b for a, b in zip(split.baseline_end, split.variant_end, strict=True)]
            if split.paired
            else None,
        },
        "resolution": number(split.resolution),
        "failures": failures_result(verdict.failures),
        "claim": "this test set",
        "population": interval(verdict.population) if verdict.population else None,
        "welch": interval(verdict.welch),
        "correlation": number(verdict.correlation),
        "sign_flip_p": number(verdict.sign_flip_p),
        "alpha": verdict.alpha,
        "fit": {
            "matched": split.side is not None,
            "on": split.on,
            "side": split.side,
            "level": number(split.level),
            "reference_level": number(split.reference_level),
            "reason": split.unavailable_because,
            "levels": [
                {"level": one.level, "gap": interval(one.gap), "seeds_reached": one.seeds_reached}
                for one in verdict.levels
            ],
            "seeds_reached": split.seeds_reached,
            "fit_share": {**interval(split.fit_share), "state": split.fit_state},
            "bias_share": {**interval(split.bias_share), "state": split.bias_state},
        },
        "moved": [],
        "rate_only": rate_only_result(verdict.rate_only),
        "controls": [
            control_result(one, controls[one.control], undoes=design.undone_by(one.control))
            for one in verdict.recoveries
        ],
    }


def failures_result(failures: Failures | None) -> dict[str, Any] | None:
    """``{failed, of, at_most}``: variant seeds that came to nothing, and the share that may; or None."""
    return None if failures is None else {**failures._asdict(), "at_most": failures.at_most}


def rate_only_result(found: RateOnly | None) -> dict[str, Any] | None:
    """What changing the learning rate alone does, or None."""
    if found is None:
        return None
    at_level = found.at_level
    return {
        "gap": interval(found.gap),
        "level": None if at_level is None else at_level.level,
        "at_level": interval(None if at_level is None else at_level.gap),
    }


def control_result(
    recovery: Recovery, lever: str, *, undoes: str | None = None, nested: bool = False
) -> dict[str, Any]:
    """One entry of ``controls``.

    Args:
        recovery: What it recovers.
        lever: As spelled.
        undoes: How it leaves nothing of the change, or None.
        nested: The entry is the ``other`` of another.
    """
    ratios = {"variant": _ratios(recovery.cost_ratio)}
    matched = recovery.cost_ratio_matched
    if matched is not None and any(math.isfinite(value) for value in matched.values()):
        ratios["variant_at_matched_fit"] = _ratios(matched)
    entry = {
        "lever": lever,
        "at": recovery.at,
        "level": number(recovery.level),
        "on": recovery.on,
        "recovered": interval(recovery.recovered),
        "recovered_against_treated_baseline": interval(recovery.against_treated_baseline),
        "treated_gap": interval(recovery.treated_gap),
        "improvement": interval(recovery.improvement),
        "verdict": recovery.verdict,
        "general": recovery.general,
        "undoes": undoes,
        "reason": recovery.reason,
        "cost_ratio": ratios,
    }
    if recovery.other is not None and not nested:
        entry["other"] = control_result(recovery.other, lever, undoes=undoes, nested=True)
    return entry


def _ratios(found: Mapping[str, float]) -> dict[str, float | None]:
    return {axis: number(value) for axis, value in found.items()}


def outcomes_of(runs: Sequence[Run], arm: str, replicates: int) -> list[Outcome]:
    """Outcomes of an arm as planned (length 1, or what contains it), by replicate."""
    best: dict[int, Run] = {}
    for run in runs:
        if run.arm != arm or run.replicate >= replicates or run.length < 1:
            continue
        kept = best.get(run.replicate)
        if kept is None or run.length < kept.length:
            best[run.replicate] = run
    return [best[replicate].outcome for replicate in sorted(best)]


def look_entry(look: Look) -> dict[str, Any]:
    """One look for the decision log."""
    split = look.split
    return {
        "n": look.n,
        "gap": interval(split.gap),
        "bias_share": interval(split.bias_share),
        "fit_share": interval(split.fit_share),
        "states": {"gap": split.gap_state, "bias share": split.bias_state, "fit share": split.fit_state},
        "decided": look.text,
    }
