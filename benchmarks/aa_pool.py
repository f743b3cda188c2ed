"""How often an audit finds a gap where there is none, on real trainings.

One pool of 200 baselines of a task is trained. Each of 200 audits draws 40 different seeds of it, 20 for
the baseline and 20 for the variant: the baseline against itself, with the default looks, through the
shipped ``plan``. Runs that the planner asks for besides (the variant trained on) are trained for real. A
verdict other than ``no_gap`` and ``undecided`` is a false gap. The audits share one pool, so they are not
independent of each other; within an audit no seed is used twice.

    python benchmarks/aa_pool.py            # trains the pool (minutes), then audits; resumable
    python benchmarks/aa_pool.py --table    # the committed results as text

Writes ``benchmarks/results/aa_pool.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from algobias.judge.design import Design, Request, Run
from algobias.judge.plan import plan
from algobias.judge.verdict import Verdict
from algobias.kept.store import Store
from algobias.recipe import Recipe
from algobias.running.arms import Arms, build_arms
from algobias.running.executor import Executor
from algobias.running.job import Job
from algobias.running.pool import start_executor
from algobias.running.spec import StudySpec
from algobias.runs.outcome import Outcome
from algobias.tasks.registry import load_task
from machine import machine

RESULTS = Path(__file__).parent / "results" / "aa_pool.json"
FIRST_SEED, POOL = 1000, 200
AUDITS, PER_ARM = 200, 20
TOLERANCE = 0.4
MOST_FALSE = 18
STACK = 20
NO_CLAIM = ("no_gap", "undecided")
ARMS = ("baseline", "variant")


class Pool:
    """Baselines in a store, trained on request."""

    def __init__(self, arms: Arms, executor: Executor) -> None:
        self.arms, self.executor = arms, executor
        self.kept: dict[tuple[str, int], Outcome] = {}
        self.extensions = 0

    def get(self, recipe: Recipe, seeds: Sequence[int]) -> list[Outcome]:
        """One recipe with these seeds, from memory, from the store, or trained now."""
        address = self.arms.address(recipe)
        missing = tuple(dict.fromkeys(seed for seed in seeds if (address, seed) not in self.kept))
        if missing:
            extended = recipe.budget.extension is not None
            parent = self.arms.address(self.arms.recipes["baseline"]) if extended else None
            self.extensions += len(missing) * extended
            blocks = [missing[start : start + STACK] for start in range(0, len(missing), STACK)]
            self.executor.run([Job("baseline", recipe, "digits", address, block, parent) for block in blocks])
            for seed in missing:
                outcome = self.executor.store.get(address, seed)
                assert outcome is not None
                self.kept[address, seed] = outcome
        return [self.kept[address, seed] for seed in seeds]

    def serve(self, requests: Sequence[Request], seeds: dict[str, list[int]]) -> list[Run]:
        """The runs a planner asks for, with ``seeds[arm][replicate]``."""
        runs = []
        for request in requests:
            (outcome,) = self.get(self.arms.recipe(request), [seeds[request.arm][request.replicate]])
            runs.append(Run(request.arm, request.replicate, outcome, request.length))
        return runs


def audit(pool: Pool, design: Design, seeds: dict[str, list[int]]) -> Verdict:
    """One audit of the baseline against itself."""
    runs: list[Run] = []
    while isinstance(answer := plan(design, runs), list):
        runs += pool.serve(answer, seeds)
    return answer


def draw(number: int) -> dict[str, list[int]]:
    """Seeds of both arms of one audit: 40 different ones of the pool."""
    rng = np.random.default_rng([7, number])
    seeds = (FIRST_SEED + rng.choice(POOL, 2 * PER_ARM, replace=False)).tolist()
    return {arm: seeds[i * PER_ARM : (i + 1) * PER_ARM] for i, arm in enumerate(ARMS)}


def benchmark(store: Store) -> dict[str, Any]:
    """Train the pool, audit, count."""
    torch.set_num_threads(1)
    arms = build_arms(StudySpec(task="digits", aa=True), load_task("digits"))
    design = arms.design(TOLERANCE)
    with start_executor(store, workers=0) as executor:
        pool = Pool(arms, executor)
        started = time.monotonic()
        outcomes = pool.get(arms.recipes["baseline"], range(FIRST_SEED, FIRST_SEED + POOL))
        print(f"pool of {POOL} after {time.monotonic() - started:.0f} s", flush=True)
        verdicts = [audit(pool, design, draw(number)) for number in range(AUDITS)]
    metric = [float(outcome.curve.test_metric[outcome.planned]) for outcome in outcomes]
    counts = Counter(verdict.name for verdict in verdicts)
    false = sum(count for name, count in counts.items() if name not in NO_CLAIM)
    return {
        "what": "audits of a baseline against itself, resampled from one pool of real trainings",
        "environment": machine(),
        "task": "digits",
        "recipe": arms.recipes["baseline"].resolved(),
        "pool": {
            "seeds": [FIRST_SEED, FIRST_SEED + POOL - 1],
            "metric": {"mean": float(np.mean(metric)), "sd": float(np.std(metric, ddof=1))},
            "end_metric": [round(value, 6) for value in metric],
            "end_train_loss": [float(f"{o.curve.train_loss[o.planned]:.6g}") for o in outcomes],
        },
        "audits": {
            "number": AUDITS,
            "seeds_per_arm": PER_ARM,
            "looks": list(design.looks),
            "tolerance": TOLERANCE,
            "verdicts": dict(counts),
            "false_gaps": false,
            "at_most": MOST_FALSE,
            "held": false <= MOST_FALSE,
            "stopped_at": dict(sorted(Counter(verdict.look for verdict in verdicts).items())),
            "runs_trained_on": pool.extensions,
            "each": [
                {
                    "verdict": verdict.name,
                    "n": verdict.look,
                    "gap": [round(value, 4) for value in (gap.mean, gap.low, gap.high)],
                }
                for verdict in verdicts
                for gap in (verdict.split.gap,)
            ],
        },
    }


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    pool, audits = result["pool"], result["audits"]
    verdicts = ", ".join(f"{name} {count}" for name, count in audits["verdicts"].items())
    stops = ", ".join(f"{n}: {count}" for n, count in audits["stopped_at"].items())
    covered = sum(one["gap"][1] <= 0 <= one["gap"][2] for one in audits["each"])
    return "\n".join(
        [
            f"pool: {len(pool['end_metric'])} baselines, test metric {pool['metric']['mean']:.2f}, "
            f"sd {pool['metric']['sd']:.3f}",
            f"{audits['number']} audits at tolerance {audits['tolerance']}: {verdicts}",
            f"false gaps: {audits['false_gaps']} (at most {audits['at_most']})",
            f"audits that stopped at n seeds: {stops}",
            f"the printed interval of the gap holds 0 in {covered} of {audits['number']}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--store", type=Path, default=Path(".algobias"), help="workspace folder (default .algobias)"
    )
    parser.add_argument("--table", action="store_true", help="print the results that are there")
    given = parser.parse_args()
    if not given.table:
        with Store(given.store) as store:
            result = benchmark(store)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(table(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
