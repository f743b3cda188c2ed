"""The planner against a second, plain implementation of the rules: loops, scipy's quantiles, no laziness.

It sees every run to its longest and follows the text of the rules look by look. Both must come to the
same verdict at the same look with the same shares.
"""

from __future__ import annotations

import math
import statistics
import sys

import numpy as np
import pytest
from scipy import stats
from test_decision_calibration import bench

from algobias.inference.levels import DEFAULT_LOOKS
from algobias.judge.design import Design
from algobias.judge.plan import plan
from algobias.judge.verdict import Verdict

ALPHA, DELTA = 0.0147, 1.0


def spread(values: list[float], step: float) -> float:
    return max(statistics.stdev(values), step / math.sqrt(6))


def bounds(values: list[float], step: float) -> tuple[float, float]:
    n = len(values)
    half = stats.t.ppf(1 - ALPHA, n - 1) * spread(values, step) / math.sqrt(n)
    return statistics.fmean(values) - half, statistics.fmean(values) + half


def hall(values: list[float], step: float) -> float:
    """Hall's upper bound: phi(T) = T + g T^2 / 3 + g^2 T^3 / 27 + g / (6 n) inverted by bisection."""
    n, mean, sd = len(values), statistics.fmean(values), spread(values, step)
    g = n / ((n - 1) * (n - 2)) * sum((x - mean) ** 3 for x in values) / sd**3
    wanted = -stats.t.ppf(1 - ALPHA, n - 1) / math.sqrt(n)

    def phi(t: float) -> float:
        return t + g * t * t / 3 + g * g * t**3 / 27 + g / (6 * n)

    low, high = -1e3, 1e3
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if phi(middle) < wanted else (low, middle)
    return mean - sd * low


def state(values: list[float], step: float) -> str:
    low, high = bounds(values, step)
    if max(high, hall(values, step)) < DELTA:
        return "absent" if len(values) >= 6 else "unknown"
    return "present" if low > 0 else "unknown"


def metric_at(loss: list[float], metric: list[float], level: float) -> float | None:
    for k, value in enumerate(loss):
        if value <= level * (1 + 1e-12):
            if k == 0:
                return metric[0]
            share = math.log(loss[k - 1] / level) / math.log(loss[k - 1] / value)
            return metric[k - 1] + share * (metric[k] - metric[k - 1])
    return None


def follow(world) -> tuple[str, int, float | None, float | None]:
    """Verdict, seeds, mean B and mean F of an audit by the default looks."""
    end = bench.PLANNED_ROW + 1
    loss, metric = world.loss.tolist(), world.metric.tolist()
    reference = math.exp(statistics.fmean(math.log(loss[0][i][end - 1]) for i in range(4)))
    extended: dict[int, int] = {}  # how many checks of a variant are known
    given_up = False
    before: dict[str, bool] = {}  # which quantities an earlier look showed to be present

    def seen(name: str, values: list[float], n: int) -> str:
        here = state(values, world.resolution)
        if here == "absent" and before.get(name) and n < DEFAULT_LOOKS[-1]:
            return "unknown"
        before[name] = before.get(name, False) or here == "present"
        return here

    for n in DEFAULT_LOOKS:
        gap = [metric[0][i][end - 1] - metric[1][i][end - 1] for i in range(n)]
        found = seen("gap", gap, n)
        if found == "absent":
            return "no_gap", n, None, None
        if found == "present":
            target = max(reference, *(min(loss[0][i][:end]) for i in range(n)))
            if target <= 3 * reference and not given_up:
                for i in range(n):
                    if i not in extended and min(loss[1][i][:end]) > target:
                        size = end
                        while size < len(loss[1][i]) and loss[1][i][size - 1] > target:
                            size += 1
                        extended[i] = size
            known = [loss[1][i][: extended.get(i, end)] for i in range(n)]
            level = max(target, *(min(curve) for curve in known))
            given_up = given_up or any(i in extended and min(known[i]) > 3 * reference for i in range(n))
            bias = []
            for i in range(n):
                if level <= 3 * reference:
                    ours = metric_at(loss[0][i][:end], metric[0][i], level)
                    theirs = metric_at(known[i], metric[1][i], level)
                else:
                    ours = metric_at(loss[0][i][:end], metric[0][i], loss[1][i][end - 1])
                    theirs = metric[1][i][end - 1]
                assert ours is not None
                assert theirs is not None
                bias.append(ours - theirs)
            fit = [g - b for g, b in zip(gap, bias, strict=True)]
            shares = statistics.fmean(bias), statistics.fmean(fit)
            kinds = seen("bias", bias, n), seen("fit", fit, n)
            if kinds == ("present", "absent"):
                return "bias", n, *shares
            if kinds == ("absent", "present"):
                return "optimization", n, *shares
            if kinds == ("absent", "absent"):
                return "mixed", n, *shares
            if kinds == ("present", "present") and (
                n == 20 or min(bounds(share, world.resolution)[0] for share in (bias, fit)) > DELTA / 2
            ):
                return "mixed", n, *shares
    return "undecided", 20, None, None


@pytest.mark.parametrize("scenario", [name for name, truth in bench.SCENARIOS.items() if not truth.decays])
@pytest.mark.parametrize("law", bench.TWO_ARMS)
def test_same_verdicts_as_the_plain_rules(scenario: str, law: str) -> None:
    rng = np.random.default_rng([99, len(scenario), bench.LAWS.index(law)])
    design = Design(tolerance=DELTA, resolution=bench.STEPS.get(law, 0.0))
    for _ in range(15):
        world = bench.World(bench.SCENARIOS[scenario], law, 0.0, rng)
        verdict, _ = bench.audit(design, world)
        name, n, bias, fit = follow(world)
        assert (verdict.name, verdict.look) == (name, n)
        if bias is not None and fit is not None:
            assert verdict.split.bias_share is not None
            assert verdict.split.fit_share is not None
            assert verdict.split.bias_share.mean == pytest.approx(bias, abs=1e-9)
            assert verdict.split.fit_share.mean == pytest.approx(fit, abs=1e-9)


def test_a_planted_fault_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # The level without its maximum over the baseline's seeds, as a first draft might have it.
    split = sys.modules["algobias.judge.shares"]
    whole = split.matched_level
    monkeypatch.setattr(split, "matched_level", lambda reference, *arms: whole(reference, *arms[1:]))
    rng = np.random.default_rng(5)
    differs = False
    for _ in range(15):
        world = bench.World(bench.SCENARIOS["all fit"], "gaussian", 0.0, rng)
        verdict, _ = bench.audit(Design(tolerance=DELTA), world)
        name, n, _, fit = follow(world)
        share = verdict.split.fit_share
        differs = differs or (verdict.name, verdict.look) != (name, n)
        differs = differs or (fit is not None and share is not None and abs(share.mean - fit) > 1e-6)
    assert differs


def test_plan_is_the_loop_the_benchmark_runs() -> None:
    world = bench.World(bench.SCENARIOS["all bias"], "gaussian", 0.0, np.random.default_rng(1))
    design, runs = Design(tolerance=DELTA), []
    while isinstance(answer := plan(design, runs), list):
        runs += [world.run(request) for request in answer]
    assert isinstance(answer, Verdict)
    assert answer == bench.audit(design, world)[0]
