"""What an arm has cost up to where it is compared."""

from __future__ import annotations

import math
from dataclasses import fields

from algobias.judge.arm import Arm, Floats
from algobias.runs.cost import Cost


def costs_to(arm: Arm, log_level: float | Floats | None) -> Cost:
    """Mean cost of an arm over replicates, up to its planned end or to a level.

    At a level the cost is interpolated like the metric; replicates that do not reach it are left out.
    """
    costs = []
    if log_level is None:
        for row in arm.paths:
            outcome = next(path.outcome for path in row if path.length >= 1)
            costs.append(outcome.cost.after(float(outcome.curve.update[outcome.planned])))
        return _mean_cost(costs)
    columns, weights = arm.crossing(log_level)
    for row, column, weight in zip(arm.paths, columns, weights, strict=True):
        if math.isnan(weight):
            continue
        if arm.of_ends:
            ends = [path.outcome.cost for path in row[max(column - 1, 0) : column + 1]]
            costs.append(_mix(ends[0], ends[-1], float(weight)))
        else:
            outcome = row[0].outcome
            updates = outcome.curve.update
            before, here = float(updates[max(column - 1, 0)]), float(updates[column])
            costs.append(outcome.cost.after(before + weight * (here - before)))
    return _mean_cost(costs)


AXES = tuple(axis.name for axis in fields(Cost))


def _mix(a: Cost, b: Cost, weight: float) -> Cost:
    return Cost(**{axis: (1 - weight) * getattr(a, axis) + weight * getattr(b, axis) for axis in AXES})


def _mean_cost(costs: list[Cost]) -> Cost:
    if not costs:
        return Cost(**dict.fromkeys(AXES, math.nan))
    return Cost(**{axis: sum(getattr(cost, axis) for cost in costs) / len(costs) for axis in AXES})


def ratios(costs: Cost, reference: Cost) -> dict[str, float]:
    """Cost over reference cost per axis; 1 where both are 0."""
    found = {}
    for axis in AXES:
        top, bottom = getattr(costs, axis), getattr(reference, axis)
        found[axis] = top / bottom if bottom else (1.0 if top == 0 else math.inf)
    return found
