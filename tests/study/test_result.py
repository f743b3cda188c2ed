"""What a result object may hold: JSON has no NaN."""

from __future__ import annotations

import json
import math

from algobias.answer.result import control_result
from algobias.inference.statistics import Interval
from algobias.judge.costs import AXES
from algobias.judge.recovery import Recovery


def test_costs_that_are_not_known_are_no_numbers_of_the_result() -> None:
    """A variant that never reaches the matched fit has no cost there."""
    gap = Interval(1.0, 0.5, 1.5, 8)
    costs = dict.fromkeys(AXES, 2.0) | {"seconds": math.inf}
    nowhere = dict.fromkeys(AXES, math.nan)
    found = Recovery(0, "planned_end", None, None, "none", None, gap, gap, None, None, costs, nowhere)
    entry = control_result(found, "sam:0.1").to_json()
    assert "NaN" not in json.dumps(entry, allow_nan=False)
    assert entry["cost_ratio"] == {"variant": {**costs, "seconds": None}}
