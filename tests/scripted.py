"""Outcomes written by hand, for tests of the decision layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from algobias.judge.design import Design, Request, Run
from algobias.judge.plan import plan
from algobias.judge.verdict import Verdict
from algobias.runs.cost import Cost
from algobias.runs.outcome import Curve, Outcome

UPDATES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
PLANNED = 64


def outcome(
    loss: Sequence[float],
    test: Sequence[float],
    train: Sequence[float] | None = None,
    *,
    updates: Sequence[int] | None = None,
    planned: int | None = None,
    diverged: bool = False,
    trivial: float = 10.0,
    seed: int = 0,
    cost: Cost | None = None,
    per_example: Sequence[float] | None = None,
) -> Outcome:
    """An outcome from plain lists; planned end: the last row."""
    updates = UPDATES[: len(loss)] if updates is None else updates
    curve = Curve(
        np.array(updates, dtype=np.int64),
        np.array(loss, dtype=np.float64),
        np.array([math.nan] * len(loss) if train is None else train, dtype=np.float64),
        np.array(test, dtype=np.float64),
    )
    return Outcome(
        seed,
        curve,
        len(loss) - 1 if planned is None else planned,
        diverged,
        trivial,
        cost=Cost(updates=updates[-1], gradients=10.0 * updates[-1]) if cost is None else cost,
        per_example=None if per_example is None else np.array(per_example, dtype=np.float32),
    )


class Lab:
    """Serves requests from a rule: loss = 1 / (speed * updates), metric = top - slope * log(loss) + shift.

    Args:
        speed: For an arm and a replicate, how fast the loss falls (0: diverges).
        shift: For an arm and a replicate, what is added to the metric.
        slope: Metric lost per unit of log loss.
        decays: Separate full-schedule runs.
        floor: For an arm, the lowest loss it can reach.
    """

    def __init__(
        self,
        speed: Callable[[str, int], float],
        shift: Callable[[str, int], float],
        slope: float = 0.0,
        decays: bool = False,
        floor: Callable[[str], float] = lambda arm: 0.0,
    ) -> None:
        self.speed, self.shift, self.slope, self.decays, self.floor = speed, shift, slope, decays, floor
        self.asked: list[Request] = []

    def run(self, request: Request) -> Run:
        arm, i = request.arm, request.replicate
        speed = self.speed(arm, i)
        if speed == 0:
            done = outcome([3.0, math.inf], [20.0, 10.0], [20.0, 10.0], diverged=True)
            return Run(arm, i, done, request.length)
        updates = np.array(UPDATES, dtype=np.float64)
        if self.decays:
            updates = np.array([PLANNED * request.length])
        loss = np.maximum(1 / (speed * updates), self.floor(arm))
        test = 90 - self.slope * np.log(loss) + self.shift(arm, i)
        size = len(loss) if self.decays else UPDATES.index(PLANNED) + 1
        if request.level is not None and not self.decays:
            while size < len(loss) and loss[size - 1] > request.level:
                size += 1
        planned = 0 if self.decays else UPDATES.index(PLANNED)
        done = outcome(
            loss[:size].tolist(),
            test[:size].tolist(),
            [99.0] * size,
            updates=updates[:size].astype(int).tolist(),
            planned=planned,
            seed=i,
        )
        return Run(arm, i, done, request.length)

    def audit(self, design: Design) -> tuple[Verdict, list[Run], list[list[Request]]]:
        """Run an audit to its end; also the runs it made and the batches it asked for."""
        runs: list[Run] = []
        batches: list[list[Request]] = []
        while isinstance(answer := plan(design, runs), list):
            assert answer, "an empty batch would never end"
            keys = [(request.arm, request.replicate, request.length) for request in answer]
            assert len(set(keys)) == len(keys), "the same run twice in one batch"
            there = {(run.arm, run.replicate, run.length) for run in runs}
            assert not there & set(keys), "a run that is already there"
            batches.append(answer)
            runs += [self.run(request) for request in answer]
        return answer, runs, batches


def wiggle(i: int, size: float = 0.1) -> float:
    """A fixed sequence of small numbers with mean about 0, different for each replicate."""
    return size * math.cos(2.4 * i + 1.0)
