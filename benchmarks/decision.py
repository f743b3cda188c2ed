"""How often the decision layer errs, on synthetic outcomes whose truth is known.

Every audit goes through the shipped ``plan``: whole curves of a training loss that falls as a noisy power
of the updates, and of a test metric that follows log l, with planted shares B and F of the gap and with
seed effects of several error laws and correlations between arms. Runs that the planner asks for are
served by the generator. The laws:

- ``gaussian``, ``t4``, ``unequal`` (the variant's sd is twice the baseline's);
- ``lognormal``: the variant loses by a lognormal law (s = 1) of the same sd, the baseline is Gaussian;
- ``discrete 100``, ``discrete 1000``: a share of so many test examples, whose step is 3.3 and 0.33 sd. With
  100 the seeds differ by single examples only, and the differences of all seeds are often equal;
- one-sided, at the tolerance only, which is 1.25 sd of the paired difference: ``lognormal differences``
  (s = 1), and ``rare failures``: every tenth variant loses 10 sd.

    python benchmarks/decision.py                # 10,000 repeats a cell, resumable
    python benchmarks/decision.py --quick        # 500
    python benchmarks/decision.py --workers 2    # so many processes
    python benchmarks/decision.py --table        # the committed results as text

Writes ``benchmarks/results/decision.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from scipy.special import ndtr

from algobias.inference.levels import DEFAULT_LOOKS, error_levels
from algobias.judge.arm import FitScale
from algobias.judge.arm import Path as Leg
from algobias.judge.design import Design, Request, Run
from algobias.judge.matching import curve_arm
from algobias.judge.plan import replay
from algobias.judge.shares import split_gap
from algobias.judge.verdict import Verdict
from algobias.runs.outcome import Curve, Outcome

RESULTS = Path(__file__).parent / "results" / "decision.json"
SYMMETRIC = ("gaussian", "t4", "unequal")
STEPS = {"discrete 100": 10 / 3, "discrete 1000": 1 / 3}
TWO_ARMS = (*SYMMETRIC, "lognormal", *STEPS)
ONE_SIDED = ("lognormal differences", "rare failures")
LAWS = (*TWO_ARMS, *ONE_SIDED)
CORRELATIONS = (-0.3, 0.0, 0.4, 0.8)
SEEDS = DEFAULT_LOOKS[-1]
PLANNED = 2000
LENGTHS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
BLOCK = 500
TOLERANCE = 1.0
CLAIMS = ("bias", "data", "optimization", "mixed")


@dataclass(frozen=True)
class Truth:
    """What is planted, in units of the tolerance, which is one sd (root mean square over both arms).

    Attributes:
        bias: B.
        fit: F.
        slower: How many times more updates the variant needs for the same loss.
        decays: Separate full-schedule runs instead of curves.
    """

    bias: float
    fit: float
    slower: float = 1.0
    decays: bool = False

    @property
    def slope(self) -> float:
        """Metric lost per unit of log l, so that being slower costs just F."""
        return self.fit / math.log(self.slower) if self.slower != 1 else 0.5


SCENARIOS = {
    "no gap": Truth(0, 0),
    "all bias": Truth(2, 0),
    "all fit": Truth(0, 2, slower=4),
    "all fit, never reached": Truth(0, 2, slower=64),
    "all fit, decaying": Truth(0, 2, slower=4, decays=True),
    "half and half": Truth(1.5, 1.5, slower=4),
    "at the tolerance": Truth(1, 0),
}
DIFFERENCE_SD = 0.8
"""Sd of a one-sided paired difference: the tolerance is 1.25 of it."""
RARE, FAILURE = 0.1, 10 * DIFFERENCE_SD
"""How often a variant fails, and what it loses then."""


def checks(end: int) -> np.ndarray:
    """Updates at which a run is checked: round(1.1^k), the planned end and the last."""
    grid = np.unique(np.round(1.1 ** np.arange(math.ceil(math.log(end) / math.log(1.1)) + 1)))
    return np.unique(np.append(grid[grid <= end], [PLANNED, end])).astype(np.int64)


UPDATES = checks(8 * PLANNED)
PLANNED_ROW = int(np.flatnonzero(UPDATES == PLANNED)[0])
LOSS_SD, LOSS_NOISE, METRIC_NOISE = 0.15, 0.02, 0.05


class World:
    """One audit's outcomes: everything that could be asked for, drawn at once."""

    def __init__(self, truth: Truth, law: str, correlation: float, rng: np.random.Generator) -> None:
        self.truth, self.resolution = truth, STEPS.get(law, 0.0)
        self.effects = _effects(truth, law, correlation, rng)
        self.ability = rng.normal(0, LOSS_SD, (2, SEEDS))
        points = len(LENGTHS) if truth.decays else len(UPDATES)
        updates = PLANNED * np.array(LENGTHS) if truth.decays else UPDATES
        pace = np.log(updates[None, :] / (PLANNED * np.array([1.0, truth.slower])[:, None]))
        smooth = self.ability[:, :, None] - pace[:, None, :]
        shape = (2, SEEDS, points)
        self.loss = 2e-4 * np.exp(smooth + LOSS_NOISE * rng.standard_normal(shape))
        offset = np.array([0.0, -truth.bias])[:, None, None]
        self.metric = 90 - truth.slope * smooth + offset + self.effects[:, :, None]
        self.metric += METRIC_NOISE * rng.standard_normal(shape)
        if self.resolution:
            self.metric = _rounded(self.metric, self.resolution, correlation, rng)
        self.blank = np.full(points, math.nan)

    def run(self, request: Request) -> Run:
        """Serve a request."""
        row = ("baseline", "variant").index(request.arm)
        loss, metric = self.loss[row, request.replicate], self.metric[row, request.replicate]
        if self.truth.decays:
            k = LENGTHS.index(request.length)
            curve = Curve(
                np.array([round(PLANNED * request.length)]),
                loss[k : k + 1],
                self.blank[:1],
                metric[k : k + 1],
            )
            return Run(request.arm, request.replicate, Outcome(request.replicate, curve, 0), request.length)
        size = PLANNED_ROW + 1
        if request.length > 1:
            assert request.level is not None
            below = loss[PLANNED_ROW:] <= request.level
            size = PLANNED_ROW + int(below.argmax()) + 1 if below.any() else len(loss)
        curve = Curve(UPDATES[:size], loss[:size], self.blank[:size], metric[:size])
        return Run(
            request.arm, request.replicate, Outcome(request.replicate, curve, PLANNED_ROW), request.length
        )


def _effects(truth: Truth, law: str, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Seed effects, [2, seeds], such that the metric's variance at the planned end is 1 on average.

    One-sided laws: such that the paired difference has variance :data:`DIFFERENCE_SD` squared.
    """
    if law in ONE_SIDED:
        rest = DIFFERENCE_SD**2 - 2 * ((truth.slope * LOSS_SD) ** 2 + METRIC_NOISE**2)
        effects = np.zeros((2, SEEDS))
        if law == "lognormal differences":
            effects[1] = math.sqrt(rest) * _lognormal_loss(rng)
        else:
            # The loss of the few counts in the gap, which is the tolerance all the same.
            lost = FAILURE * (rng.uniform(size=SEEDS) < RARE)
            effects[1] = math.sqrt(rest) * rng.standard_normal(SEEDS) + FAILURE * RARE - lost
        return effects
    draw = rng.standard_t(4, (2, SEEDS)) / math.sqrt(2) if law == "t4" else rng.standard_normal((2, SEEDS))
    if law == "lognormal":
        draw[1] = _lognormal_loss(rng)
    draw[1] = correlation * draw[0] + math.sqrt(1 - correlation**2) * draw[1]
    sizes = np.array([1.0, 2.0]) * math.sqrt(2 / 5) if law == "unequal" else np.ones(2)
    rest = 1 - (truth.slope * LOSS_SD) ** 2 - METRIC_NOISE**2
    if law in STEPS:
        step = STEPS[law]
        rest = max(0.0, rest - (OFF * (1 - OFF) if step > 1 else 1 / 6) * step**2)
    return draw * sizes[:, None] * math.sqrt(rest)


OFF = 0.1
"""Share of seeds in which the baseline has an example more than in the others, where seeds differ by it."""


def _lognormal_loss(rng: np.random.Generator) -> np.ndarray:
    """Minus a lognormal law with s = 1, [seeds], mean 0 and variance 1."""
    mean, sd = math.exp(0.5), math.sqrt((math.e - 1) * math.e)
    return (mean - rng.lognormal(0, 1, SEEDS)) / sd


def _rounded(metric: np.ndarray, step: float, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Whole numbers of examples whose mean is the metric, [2, seeds, points]; one draw for a whole run."""
    draw = rng.standard_normal((2, SEEDS))
    draw[1] = correlation * draw[0] + math.sqrt(1 - correlation**2) * draw[1]
    places = (metric - 90) / step + OFF
    return (np.floor(places + ndtr(draw)[:, :, None]) - OFF) * step + 90


@dataclass
class Count:
    """A number of events among a number of chances."""

    hits: int = 0
    of: int = 0

    def add(self, hit: bool) -> None:
        self.hits += hit
        self.of += 1

    @property
    def share(self) -> float:
        return self.hits / self.of if self.of else math.nan


def audit(design: Design, world: World) -> tuple[Verdict, int]:
    """One audit, and the number of runs it made."""
    runs: list[Run] = []
    while True:
        _, answer = replay(design, runs)
        if isinstance(answer, Verdict):
            return answer, len(runs)
        runs += [world.run(request) for request in answer]


def block(scenario: str, law: str, correlation: float, number: int, repeats: int = BLOCK) -> dict[str, Any]:
    """Counts over one block of audits; its own random numbers, so blocks can be made in any order."""
    truth = SCENARIOS[scenario]
    cell = [list(SCENARIOS).index(scenario), LAWS.index(law), CORRELATIONS.index(correlation), number]
    rng = np.random.default_rng([2024, *cell])
    design = Design(tolerance=TOLERANCE, decays=truth.decays, resolution=STEPS.get(law, 0.0))
    names = ("gap", "bias_share", "fit_share", "gap, all looks", "gap present at 20 seeds", "no width")
    counts = {name: Count() for name in names}
    verdicts: Counter[str] = Counter()
    states: Counter[str] = Counter()
    seeds = runs = 0
    for _ in range(repeats):
        world = World(truth, law, correlation, rng)
        verdict, made = audit(design, world)
        split = verdict.split
        verdicts[verdict.name] += 1
        states[split.gap_state] += 1
        seeds, runs = seeds + verdict.look, runs + made
        for name, planted in (
            ("gap", truth.bias + truth.fit),
            ("bias_share", truth.bias),
            ("fit_share", truth.fit),
        ):
            interval = getattr(split, name)
            if interval is not None:
                counts[name].add(interval.low <= planted <= interval.high)
                counts["no width"].add(interval.high - interval.low < 1e-9)
        if scenario in ("no gap", "all bias"):
            looks, gap = every_look(world), truth.bias + truth.fit
            counts["gap, all looks"].add(all(look.gap.low <= gap <= look.gap.high for look in looks))
            counts["gap present at 20 seeds"].add(looks[-1].gap_state == "present")
    return {
        "scenario": scenario,
        "repeats": repeats,
        "verdicts": dict(verdicts),
        "gap_states": dict(states),
        "seeds": seeds,
        "runs": runs,
        "counts": {name: [count.hits, count.of] for name, count in counts.items()},
    }


def every_look(world: World) -> list[Any]:
    """The gap at every look, taken whether or not an audit would have stopped before."""
    arms = []
    for arm in ("baseline", "variant"):
        legs = [Leg(1.0, world.run(Request(arm, i)).outcome) for i in range(SEEDS)]
        arms.append(curve_arm(legs, FitScale()))
    errors = error_levels(DEFAULT_LOOKS)
    return [
        split_gap(arms[0].first(n), arms[1].first(n), None, tolerance=TOLERANCE, errors=errors, shares=False)
        for n in DEFAULT_LOOKS
    ]


MAIN = ("no gap", "all bias", "all fit", "at the tolerance")


def blocks_of(scenario: str, wanted: int) -> int:
    """The promises rest on three scenarios; the other ways to a match get a fifth of the repeats."""
    return wanted if scenario in MAIN else math.ceil(wanted / 5)


def cells() -> Iterator[tuple[str, str, float]]:
    for scenario, truth in SCENARIOS.items():
        for law in LAWS:
            if law in ONE_SIDED and scenario != "at the tolerance":
                continue
            if law not in SYMMETRIC and scenario not in MAIN:
                continue
            # Separate runs take ten times as long to plan as curves: one correlation for them.
            several = CORRELATIONS if law in SYMMETRIC else (0.0, 0.8)
            for correlation in (0.0,) if truth.decays or law in ONE_SIDED else several:
                yield scenario, law, correlation


def merge(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of one cell from its blocks."""
    repeats = sum(one["repeats"] for one in blocks)
    verdicts: Counter[str] = Counter()
    states: Counter[str] = Counter()
    for one in blocks:
        verdicts.update(one["verdicts"])
        states.update(one["gap_states"])
    counts = {
        name: Count(*(sum(one["counts"][name][i] for one in blocks) for i in (0, 1)))
        for name in blocks[0]["counts"]
    }
    return {
        "scenario": blocks[0]["scenario"],
        "repeats": repeats,
        "verdicts": {name: verdicts[name] / repeats for name in sorted(verdicts)},
        "claims_a_gap": sum(verdicts[name] for name in CLAIMS) / repeats,
        "claims_bias": (verdicts["bias"] + verdicts["data"]) / repeats,
        "claims_no_gap": verdicts["no_gap"] / repeats,
        "no_width": counts["no width"].share,
        "not_present_at_the_stop": 1 - states["present"] / repeats,
        "seeds": sum(one["seeds"] for one in blocks) / repeats,
        "runs": sum(one["runs"] for one in blocks) / repeats,
        "coverage": {
            name: {"share": counts[name].share, "of": counts[name].of}
            for name in ("gap", "bias_share", "fit_share")
        },
        "covered_at_all_looks": counts["gap, all looks"].share,
        "not_present_at_20_seeds": 1 - counts["gap present at 20 seeds"].share,
    }


def worst(
    found: dict[str, dict[str, Any]],
    pick: Callable[[dict[str, Any]], float],
    sign: str,
    only: tuple[str, ...],
    laws: tuple[str, ...],
) -> dict[str, Any]:
    """The cell of some scenarios and laws in which a figure is worst."""
    values = {
        name: pick(cell)
        for name, cell in found.items()
        if cell["scenario"] in only
        and name.split(", ")[-2] in laws
        # Beside a correlated baseline the paired difference is nearly the lognormal loss alone.
        and not name.endswith("lognormal, +0.8")
    }
    values = {name: value for name, value in values.items() if not math.isnan(value)}
    name = (max if sign == "<=" else min)(values, key=lambda key: values[key])
    return {"worst": values[name], "cell": name}


def bounds(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The promises, each with its worst cell."""

    every = tuple(SCENARIOS)
    fits = tuple(name for name, truth in SCENARIOS.items() if truth.bias == 0 and truth.fit > 0)
    limit = ("at the tolerance",)
    promises: list[tuple[str, Callable[[dict[str, Any]], float], str, float, tuple[str, ...]]] = [
        ("false no_gap at the tolerance", lambda c: c["claims_no_gap"], "<=", 0.055, limit),
        ("intervals of no width", lambda c: c["no_width"], "<=", 0.0, every),
        ("false gap", lambda c: c["claims_a_gap"], "<=", 0.055, ("no gap",)),
        ("false bias", lambda c: c["claims_bias"], "<=", 0.055, fits),
        (
            "2 delta not present after 20 seeds",
            lambda c: c["not_present_at_20_seeds"],
            "<=",
            0.02,
            ("all bias",),
        ),
        (
            "2 delta not present at the stop",
            lambda c: c["not_present_at_the_stop"],
            "<=",
            0.02,
            ("all bias",),
        ),
        ("coverage of G", lambda c: c["coverage"]["gap"]["share"], ">=", 0.945, every),
        ("coverage of B", lambda c: c["coverage"]["bias_share"]["share"], ">=", 0.945, every),
        ("coverage of F", lambda c: c["coverage"]["fit_share"]["share"], ">=", 0.945, every),
        # 95 % by construction for Gaussian differences: the worst of many cells falls a little below.
        ("G covered at all five looks", lambda c: c["covered_at_all_looks"], ">=", 0.94, every),
    ]
    result = {}
    for name, pick, sign, bound, only in promises:
        # Early looks of a metric of few values are not covered one by one, which decides nothing.
        laws = SYMMETRIC if name == "G covered at all five looks" else TWO_ARMS
        one = worst(found, pick, sign, only, laws)
        held = one["worst"] <= bound if sign == "<=" else one["worst"] >= bound
        result[name] = {**one, "bound": f"{sign} {100 * bound:g} %", "held": held}
    one = worst(found, lambda c: c["claims_no_gap"], "<=", limit, ONE_SIDED[:1])
    name = "false no_gap at 1.25 sd, lognormal differences"
    result[name] = {**one, "bound": "<= 5.5 %", "held": one["worst"] <= 0.055}
    return result


def environment() -> dict[str, str]:
    cpu = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "cpu": cpu,
        "date": datetime.now(UTC).date().isoformat(),
    }


def table(result: dict[str, Any]) -> str:
    lines = ["| promise | worst | bound | cell |", "|---|---|---|---|"]
    for name, one in result["promises"].items():
        mark = "" if one["held"] else " **missed**"
        lines.append(f"| {name} | {100 * one['worst']:.2f} % | {one['bound']}{mark} | {one['cell']} |")
    lines += ["", "| cell | verdicts | seeds | runs | coverage G, B, F |", "|---|---|---|---|---|"]
    for name, cell in result["cells"].items():
        verdicts = ", ".join(f"{key} {100 * value:.1f}" for key, value in cell["verdicts"].items())
        covered = ", ".join(f"{100 * one['share']:.1f}" for one in cell["coverage"].values())
        lines.append(f"| {name} | {verdicts} | {cell['seeds']:.1f} | {cell['runs']:.1f} | {covered} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=10_000,
        help="audits per cell, rounded up to blocks of 500; a fifth of it in secondary scenarios",
    )
    parser.add_argument("--quick", action="store_true", help="500 repeats per cell")
    parser.add_argument("--workers", type=int, default=1, help="processes, one per core")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the results that are there")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.out.read_text())))
        return
    blocks_wanted = math.ceil((BLOCK if given.quick else given.repeats) / BLOCK)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    parts = given.out.with_suffix(".parts.jsonl")
    done: dict[tuple[str, str, float, int], dict[str, Any]] = {}
    if parts.exists():
        for line in parts.read_text().splitlines():
            key, one = json.loads(line)
            done[tuple(key)] = one
    wanted = [
        (scenario, law, correlation, number)
        for number in range(blocks_wanted)
        for scenario, law, correlation in cells()
        if number < blocks_of(scenario, blocks_wanted)
    ]
    missing = [key for key in wanted if key not in done]
    with parts.open("a") as sink, ProcessPoolExecutor(given.workers) as pool:
        for key, one in zip(
            missing, pool.map(block, *(list(column) for column in zip(*missing, strict=True))), strict=True
        ):
            done[key] = one
            sink.write(json.dumps([key, one]) + "\n")
            sink.flush()
            print(f"{len(done)} of {len(wanted)} after {time.monotonic() - started:.0f} s", flush=True)
    found = {
        f"{scenario}, {law}, {correlation:+.1f}": merge(
            [done[scenario, law, correlation, number] for number in range(blocks_of(scenario, blocks_wanted))]
        )
        for scenario, law, correlation in cells()
    }
    result = {
        "what": "the decision layer on synthetic outcomes, through the shipped plan; tolerance 1 sd",
        "environment": environment(),
        "looks": DEFAULT_LOOKS,
        "scenarios": {name: asdict(truth) for name, truth in SCENARIOS.items()},
        "promises": bounds(found),
        "cells": found,
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    parts.unlink()
    print(table(result))


if __name__ == "__main__":
    main()
