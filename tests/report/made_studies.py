"""The synthetic studies of the report's tests, by name."""

from __future__ import annotations

from functools import cache

import synthetic
import synthetic_readings

from algobias.reports.record import StudyRecord

CASES: dict[str, dict[str, object]] = {
    **{verdict: {"verdict": verdict, "seeds": 9} for verdict in synthetic.VERDICTS},
    "controls": {
        "verdict": "bias",
        "seeds": 9,
        "controls": 2,
        "unbounded": True,
        "rate_only": True,
        "levels": True,
    },
    "side arm": {"verdict": "bias", "seeds": 6, "rate_only": True, "broken_side_arm": True},
    "decaying": {"verdict": "mixed", "seeds": 6, "decaying": True},
    "diverged": {"verdict": "broken", "seeds": 6, "diverged": 4, "bias_missing": True},
    "all diverged": {"verdict": "broken", "seeds": 4, "diverged": 4},
    "nats": {"verdict": "bias", "seeds": 5, "nats": True},
    "one seed": {"verdict": "undecided", "seeds": 1},
    "twenty seeds": {"verdict": "bias", "seeds": 20, "controls": 3, "rate_only": True},
    "label noise": {"verdict": "bias", "seeds": 4, "alters_loss": True},
    "long path": {
        "verdict": "data",
        "seeds": 4,
        "task": f"/home/somebody/{'a-long-folder/' * 9}task.py:task",
    },
}


@cache
def case(name: str) -> StudyRecord:
    """One synthetic study by name."""
    if name == "moved":
        return synthetic_readings.with_readings(case("side arm"))
    if name == "controlled":
        return synthetic_readings.with_coordinates(case("controls"))
    return synthetic.hostile() if name == "hostile" else synthetic.record(**CASES[name])  # type: ignore[arg-type]
