"""Coordinates for the synthetic studies of the report's tests: read of both arms, and under controls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from algobias.reports.record import StudyRecord


def with_readings(study: StudyRecord) -> StudyRecord:
    """The same study with coordinates read: some moved, some not, one not comparable; two along training."""

    def entry(probe: str, effect: float | None, half: float, status: str, **more: Any) -> dict[str, Any]:
        ends = (None, None) if effect is None else (effect - half, effect + half)
        return {
            "probe": probe,
            "effect": effect,
            "low": ends[0],
            "high": ends[1],
            "status": status,
            "reason": None,
            "twin": "(twin)" in probe,
            "unit": "loss per squared parameter",
            "baseline": {"mean": 0.0631, "sd": 0.011},
            "variant": {"mean": 1.2e-7, "sd": 3.4e-9},
            "difference": {"mean": 0.1, "low": 0.0, "high": 0.2, "n": 9},
            "level": 0.999,
            **more,
        }

    moved = [
        entry("margin_input", -9.7, 1.3, "moved"),
        entry("top_eigenvalue", 6.1, 2.4, "moved"),
        entry("top_eigenvalue (twin)", 5.2, 2.6, "moved", unit="top eigenvalue times squared weight norm"),
        entry("distance_from_init", -1.2, 2.2, "not_moved"),
        entry("margin_frobenius", 0.4, 2.1, "not_moved"),
        entry("gradient_variance", 2.0, 40.0, "not_comparable", reason="only 3 of 9 seeds have a value"),
        entry("trace", None, 0.0, "not_comparable", reason="only 0 of 9 seeds have a value in both arms"),
    ]
    along = [
        {
            "probe": probe,
            "unit": "loss per squared parameter",
            "arm": arm,
            "seed": seed,
            "points": [[10**k, 2.0 / 10**k, sign * value * (seed + k + 1), limit] for k in range(4)],
        }
        for probe, value, sign in (("top_eigenvalue", 3.0, 1), ("margin_input", 0.1, -1))
        for arm, limit in (("baseline", 76.0 if sign > 0 else None), ("variant", 19.0 if sign > 0 else None))
        for seed in (0, 1)
    ]
    arms = [
        {
            "name": name,
            "matched": name != "rate_only",
            "train_loss": 4e-4,
            "values": {one["probe"]: {"mean": 0.1, "sd": 0.01, "n": 9} for one in moved},
        }
        for name in ("baseline", "variant", "rate_only")
    ]
    readings = {
        "probes": ["margin_input", "top_eigenvalue"],
        "matched": True,
        "reason": None,
        "summary": "At matched fit, what moved most: margin input down by 9.7 seed sd.",
        "notes": ["weight decay differs"],
        "gradient_equivalents": 1000.0,
        "arms": arms,
        "trajectories": along,
    }
    result = {**study.result, "moved": moved, "readings": readings}
    return replace(study, result=result)


def with_coordinates(study: StudyRecord) -> StudyRecord:
    """The same study with coordinates, seen under its controls: one that is read, one that is not comparable.

    The second control was chosen for the planned end, where it does nothing.
    """
    read = with_readings(study)
    moved = [one for one in read.result["moved"] if one["status"] == "moved"]

    def after(one: dict[str, Any], status: str, effect: float | None) -> dict[str, Any]:
        ends = (None, None) if effect is None else (effect - 0.5, effect + 0.5)
        return {
            "probe": one["probe"],
            "twin": one["twin"],
            "status": status,
            "reason": None if effect is not None else "not every seed reaches the matched level",
            "effect": effect,
            "low": ends[0],
            "high": ends[1],
        }

    statuses = (("came_back", -0.4), ("beyond", -2.0), ("stayed", 5.0))
    controls = [dict(one) for one in read.result["controls"]]
    controls[0]["coordinates"] = [after(one, *seen) for one, seen in zip(moved, statuses, strict=True)]
    controls[1]["coordinates"] = [after(one, "not_comparable", None) for one in moved]
    controls[1] |= {"on": "train_metric", "level": 0.062}
    controls[1]["other"] = {
        **controls[0],
        "lever": controls[1]["lever"],
        "at": "planned_end",
        "verdict": "none",
    }
    controls[1]["other"]["recovered"] = {"mean": 0.11, "low": -0.58, "high": 0.58}
    chosen = [
        {"lever": controls[0]["lever"], "at": "matched", "confirmed": "recovered", "axes": "updates"},
        {"lever": controls[1]["lever"], "at": "planned_end", "confirmed": "none", "axes": "updates"},
    ]
    return replace(read, result={**read.result, "controls": controls, "chosen": chosen})
