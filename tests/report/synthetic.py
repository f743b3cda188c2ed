"""Synthetic studies with known shapes, one for each verdict and for each awkward corner."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import t as student

from algobias.answer.interval import own_interval
from algobias.judge.arm import FitScale, Path
from algobias.judge.design import LENGTHS, Run
from algobias.judge.drawn import mean_at_levels
from algobias.judge.matching import curve_arm, frontier_arm
from algobias.reports.record import StudyRecord
from algobias.runs.cost import Cost
from algobias.runs.outcome import Curve, Outcome

VERDICTS = ("not_applied", "broken", "optimization", "bias", "mixed", "data", "no_gap", "undecided")
LOOKS = (4, 6, 9, 13, 20)

YAML = """\
task: digits
examples: 800
optimizer:
  lr: {lr}
  momentum: 0.9
batch: {batch}
budget:
  epochs: 40.0
"""


def checks(last: int) -> np.ndarray:
    marks = {round(1.1**k) for k in range(200)}
    return np.array(sorted({0, last} | {mark for mark in marks if mark < last}), dtype=np.int64)


def outcome(
    seed: int,
    *,
    planned: int,
    last: int | None = None,
    final: float = 2.5e-4,
    top: float = 98.3,
    noise: float = 0.25,
    start: float = 2.3,
    scale: float = 87.0,
    diverges: bool = False,
    cost: Cost | None = None,
    key: int = 0,
) -> Outcome:
    """A run whose loss falls as a power of the updates to ``final`` at ``planned``; metric follows the "
    "loss."""
    rng = np.random.default_rng([seed, key])
    updates = checks(last or planned)
    if planned not in updates:
        updates = np.sort(np.append(updates, planned))
    power = math.log(start / final) / math.log1p(planned / 3)
    wobble = np.exp(0.12 * rng.standard_normal(len(updates)) * (updates > 0))
    loss = start * (1 + updates / 3) ** -(power * (1 + 0.02 * rng.standard_normal())) * wobble
    shift = noise * rng.standard_normal()
    metric = (
        top + shift - scale * np.minimum(1, loss / start) ** 0.45 + 0.04 * rng.standard_normal(len(updates))
    )
    train = 100 - 90 * np.minimum(1, loss / start) ** 0.7
    index = int(np.searchsorted(updates, planned))
    if diverges:
        stop = max(3, index // 2)
        updates, metric, train = updates[: stop + 1], metric[: stop + 1], train[: stop + 1]
        loss = np.append(loss[:stop], np.inf)
        index = stop
    spent = cost or Cost(
        updates=planned,
        examples=planned * 16.0,
        gradients=planned * 16.0,
        flops=planned * 2.5e6,
        peak_memory=3.1e6,
        seconds=9.4,
    )
    return Outcome(
        seed=seed,
        curve=Curve(updates, loss, train, metric),
        planned=index,
        diverged=diverges,
        trivial_metric=10.0,
        cost=spent,
    )


def interval(values: list[float], side: float = 0.0069) -> dict[str, Any]:
    array = np.asarray(values, dtype=float)
    n = len(array)
    if n < 2:
        return {"mean": float(array.mean()), "low": None, "high": None, "n": n}
    half = float(student.ppf(1 - side, n - 1) * array.std(ddof=1) / math.sqrt(n))
    mean = float(array.mean())
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": n}


def score(run: Run) -> float:
    out = run.outcome
    return out.trivial_metric if out.diverged else float(out.curve.test_metric[out.planned])


def at_fit(runs: list[Run], fit: dict[str, Any]) -> dict[str, Any]:
    """Means at equal fit as a study would carry them."""
    names = dict.fromkeys(run.arm for run in runs)
    baselines = [run.outcome for run in runs if run.arm == "baseline"]
    scale = FitScale.of_metric(baselines, None) if fit["on"] == "train_metric" else FitScale()
    arms = {}
    for name in names:
        rows: dict[int, list[Path]] = {}
        for run in sorted((run for run in runs if run.arm == name), key=lambda run: run.length):
            rows.setdefault(run.replicate, []).append(Path(run.length, run.outcome))
        separate = any(len(row) > 1 for row in rows.values())
        arms[name] = (
            frontier_arm(list(rows.values()), scale)
            if separate
            else curve_arm([row[0] for row in rows.values()], scale)
        )
    marks = []
    if fit["level"] is not None:
        for name in ("baseline", "variant"):
            values = arms[name].at_level(math.log(fit["level"]))
            if np.isfinite(values).any():
                mean = float(values[np.isfinite(values)].mean())
                marks.append({"arm": name, "level": fit["level"], "mean": mean, "n": len(values)})
    return {
        "scale": {"best": scale.best, "floor": scale.floor},
        "matched_arms": marks,
        "curves": [
            {"arm": name, "points": points} for name, arm in arms.items() if (points := mean_at_levels(arm))
        ],
    }


def record(
    verdict: str = "bias",
    seeds: int = 9,
    *,
    controls: int = 0,
    rate_only: bool = False,
    decaying: bool = False,
    diverged: int = 0,
    nats: bool = False,
    task: str = "digits",
    change: list[str] | None = None,
    bias_missing: bool = False,
    levels: bool = False,
    unbounded: bool = False,
    alters_loss: bool = False,
    broken_side_arm: bool = False,
) -> StudyRecord:
    """A study that ended with ``verdict``; every number in the result comes from its synthetic runs."""
    shape: dict[str, dict[str, Any]] = {
        "not_applied": {"top": 98.3, "final": 2.5e-4, "planned": 2000, "key": 0},
        "broken": {"top": 98.3, "final": 1.9, "planned": 120, "noise": 6.0},
        "optimization": {"top": 98.3, "final": 9e-2, "planned": 120},
        "bias": {"top": 97.2, "final": 4e-4, "planned": 120},
        "mixed": {"top": 97.2, "final": 9e-3, "planned": 60},
        "data": {"top": 96.7, "final": 2.6e-4, "planned": 2000},
        "no_gap": {"top": 98.28, "final": 2.4e-4, "planned": 2000},
        "undecided": {"top": 97.95, "final": 2.5e-4, "planned": 2000, "noise": 0.8},
    }[verdict]
    options = {"key": 1, **shape}
    metric_options = {"top": -1.42, "scale": 3.0, "noise": 0.004} if nats else {}
    if nats:
        options["top"] = -1.42 - (98.3 - float(options["top"])) * 0.06
        options.update(scale=3.0, noise=0.004)
    last = options["planned"] * 8 if verdict in ("bias", "mixed") and not decaying else None
    runs: list[Run] = []

    def add(arm: str, replicate: int, length: float = 1.0, **more: Any) -> None:
        runs.append(Run(arm, replicate, outcome(replicate, **more), length))

    for seed in range(seeds):
        add("baseline", seed, planned=2000, **metric_options)
        if decaying:
            runs.pop()
            for length in [item for item in LENGTHS if item <= 1]:
                add(
                    "baseline",
                    seed,
                    length,
                    planned=round(2000 * length),
                    final=2.5e-4 / length**1.3,
                    **metric_options,
                )
            for length in [item for item in LENGTHS if item >= 1]:
                settings = {**options, "planned": round(options["planned"] * length)}
                settings["final"] = float(options["final"]) / length**1.3
                add("variant", seed, length, **settings)
        else:
            extra = {"last": last} if last else {}
            add("variant", seed, **options, **extra, diverges=seed < diverged)
        if rate_only and not nats:
            add("rate_only", seed, planned=2000, final=1.5 if broken_side_arm else 3e-4, top=97.6, key=5)
        for index in range(controls):
            treated = {**options, "top": float(options["top"]) + 0.7 - 0.5 * index, "key": 10 + index}
            add(f"variant+control:{index}", seed, **treated)
            add(f"baseline+control:{index}", seed, planned=2000, key=20 + index, **metric_options)
    return assemble(
        runs, verdict, controls, nats, task, change, bias_missing, levels, unbounded, alters_loss, seeds
    )


def assemble(
    runs: list[Run],
    verdict: str,
    controls: int,
    nats: bool,
    task: str,
    change: list[str] | None,
    bias_missing: bool,
    levels: bool,
    unbounded: bool,
    alters_loss: bool,
    seeds: int,
) -> StudyRecord:
    arms: dict[str, list[Run]] = {}
    for run in runs:
        if run.length == 1.0:
            arms.setdefault(run.arm, []).append(run)
    gaps = [score(one) - score(other) for one, other in zip(arms["baseline"], arms["variant"], strict=True)]
    unit = 0.06 if nats else 1.0
    part = {"bias": 1.0, "data": 1.0, "optimization": 0.0, "mixed": 0.5}.get(verdict, 0.5)
    rng = np.random.default_rng(7)
    biases = [part * gap + 0.12 * unit * rng.standard_normal() for gap in gaps]
    tolerance = 0.01 if nats else 0.4
    gap, bias = interval(gaps), interval(biases)
    fit_share = interval([one - other for one, other in zip(gaps, biases, strict=True)])
    no_fit = verdict in ("not_applied", "broken")
    fit: dict[str, Any] = {
        "matched": not (no_fit or bias_missing),
        "on": "train_metric" if alters_loss else "train_loss",
        "side": None if no_fit or bias_missing else "upward" if verdict == "optimization" else "downward",
        "level": None
        if no_fit or bias_missing
        else 1.0
        if alters_loss
        else 9e-2
        if verdict == "optimization"
        else 4.2e-4,
        "levels": [],
        "seeds_reached": seeds,
        "fit_share": None if no_fit or bias_missing else fit_share,
        "bias_share": None if no_fit or bias_missing else bias,
    }
    fit |= at_fit(runs, fit)
    if bias_missing:
        fit["reason"] = "3 of 9 seeds ended with a loss that is not finite, above a quarter"
    if levels:
        fit["levels"] = [
            {"level": 3e-2, "gap": interval([0.2 * gap for gap in gaps]), "seeds_reached": seeds},
            {"level": 3e-3, "gap": interval([0.6 * gap for gap in gaps]), "seeds_reached": seeds},
            {"level": 1e-5, "gap": {"mean": None, "low": None, "high": None, "n": 0}, "seeds_reached": 0},
        ]
    reasons = {
        "not_applied": "Weights, gradients and data were bitwise the same with and without lr:x1 in the "
        "activity check.",
        "broken": f"{seeds} of {seeds} seeds ended with a training metric nearer to the trivial predictor "
        "than to the baseline.",
        "optimization": "the gap is present and at a training loss of 9.0e-2 it is below the tolerance of "
        "0.4 points.",
        "bias": f"the gap is {gap['mean']:.2f} points, and at the same training loss of 4.2e-4 it is still "
        f"{bias['mean']:.2f}.",
        "mixed": "both shares are present: part of the gap goes when the variant fits as well, part stays.",
        "data": "a gap remains at matched fit, and the change removed half of the training examples.",
        "no_gap": "the upper bound of the gap is below the tolerance.",
        "undecided": "the interval of the gap contains both 0 and the tolerance.",
    }
    result: dict[str, Any] = {
        "schema": 1,
        "study": "a3f9c2d17b",
        "task": task,
        "change": change or ["batch:x16,lr=sqrt"],
        "metric": "mean log likelihood (nats)" if nats else "accuracy",
        "tolerance": tolerance,
        "verdict": verdict,
        "reason": reasons[verdict],
        "gap": {**gap, "per_seed": gaps},
        "fit": fit,
        "arms": [],
        "moved": [],
        "controls": [],
        "store": ".algobias",
        "report": "algobias-report.html",
        "seconds": 96.4,
        "looks": list(LOOKS),
    }
    if verdict == "undecided":
        result["would_decide"] = 44
    if verdict == "mixed":
        result["warnings"] = ["The study stopped at an early look: the point estimates are likely too large."]
    for arm, members in arms.items():
        scores = [score(run) for run in members]
        losses = [float(run.outcome.curve.train_loss[run.outcome.planned]) for run in members]
        spent = members[0].outcome.cost
        batch = 16 if "baseline" in arm or arm == "rate_only" else 256
        # A change that is to be kept saves something: fewer updates over as many examples.
        updates = spent.updates * 16 / batch if verdict == "no_gap" else spent.updates
        result["arms"].append(
            {
                "name": arm,
                "recipe": {"batch": batch},
                "address": f"{abs(hash(arm)):064x}"[:64],
                "seeds": [run.outcome.seed for run in members],
                "metric": own_interval(scores).to_json(),
                "per_seed": scores,
                "train_metric": {"mean": 99.9, "sd": 0.05},
                "train_loss": {
                    "mean": float(np.mean(losses)),
                    "sd": float(np.std(losses)) if np.isfinite(losses).all() else math.nan,
                },
                "cost": {
                    "updates": updates,
                    "examples": updates * batch,
                    "gradients": updates * batch,
                    "flops": updates * batch * 1.6e5,
                    "bytes_sent": 0.0,
                    "peak_memory": 2.1e5 * batch,
                    "bits": 32.0,
                    "seconds": updates * (0.001 if batch == 16 else 0.004),
                },
            }
        )
    for index in range(controls):
        open_ended = unbounded and index == controls - 1
        result["controls"].append(
            {
                "lever": "lr:0.4+warmup:40+clip:1" if index == 0 else f"sam:0.{index}",
                "at": "matched",
                "recovered": {
                    "mean": 0.78,
                    "low": None if open_ended else 0.49,
                    "high": None if open_ended else 1.12,
                },
                "recovered_against_treated_baseline": {
                    "mean": 0.31 if index else 0.7,
                    "low": 0.02,
                    "high": 1.05,
                },
                "verdict": ("recovered", "partial", "none", "harmful")[index % 4],
                "general": bool(index),
                "cost_ratio": {
                    "variant": {"updates": 1.0, "gradients": 2.0, "flops": 2.0, "seconds": 1.9},
                    "variant_at_matched_fit": {
                        "updates": 0.46,
                        "gradients": 0.92,
                        "flops": 0.92,
                        "seconds": 0.9,
                    },
                },
            }
        )
    steps = [n for n in LOOKS if n <= seeds] or [seeds]
    decisions = [
        {
            "n": n,
            "gap": interval(gaps[:n]),
            "states": {
                "gap": "present",
                "bias_share": "unknown" if n < steps[-1] else "present",
                "fit_share": "unknown",
            },
            "decided": "another look" if n < steps[-1] else verdict,
        }
        for n in steps
    ]
    return StudyRecord(
        result=result,
        runs=runs,
        differences=["batch: 16 -> 256", "optimizer.lr: 0.05 -> 0.2"] if verdict != "not_applied" else [],
        recipes={
            arm: YAML.format(batch=256 if "variant" in arm else 16, lr=0.2 if "variant" in arm else 0.05)
            for arm in arms
        },
        command=f"algobias audit {task} "
        + " ".join(f"--change {item}" for item in change or ["batch:x16,lr=sqrt"]),
        environment={
            "algobias": "0.1.0",
            "python": "3.11.2",
            "torch": "2.13.0+cpu",
            "machine": "x86_64, 2 cores",
        },
        decisions=[] if verdict in ("not_applied",) else decisions,
    )


HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m</title>{{7*7}}[bold]x"


def hostile() -> StudyRecord:
    """Every text a user could bring in is an attack on HTML, JSON in HTML, a template, or a terminal."""
    honest = record("bias", 4, controls=1)
    result = {
        **honest.result,
        "task": f"/very/long/{'folder-with-a-long-name/' * 6}task_file.py:{HOSTILE}",
        "change": [HOSTILE],
        "metric": f"accuracy {HOSTILE}",
        "reason": HOSTILE,
        "warnings": [HOSTILE, "</script><img src=x onerror=alert(2)>"],
        "study": HOSTILE,
        "report": "/very/long/" + "x" * 150 + ".html",
    }
    result["controls"] = [{**control, "lever": HOSTILE} for control in result["controls"]]
    runs = [*honest.runs, Run(f"own {HOSTILE}", 0, outcome(0, planned=50))]
    return StudyRecord(
        result,
        runs,
        [f"model.name: task -> {HOSTILE}"],
        {HOSTILE: f"task: {HOSTILE}\n"},
        f"algobias audit '{HOSTILE}'",
        {HOSTILE: HOSTILE},
        [
            {
                "n": 4,
                "gap": {"mean": math.nan, "low": -math.inf, "high": math.inf},
                "states": {HOSTILE: HOSTILE},
                "decided": HOSTILE,
            }
        ],
    )
