"""How often a confirmed control is one by chance: whole searches on outcomes whose truth is known.

The change costs three tolerances at equal fit. Every candidate gives two of them back, to the variant
alone, so that each leaves a gap of exactly one tolerance: none is truly ``recovered``, and the search can
choose only noise. Search and confirmation are the shipped ones (``plan_search``, ``plan_confirmation``); seed
effects have unit variance, one tolerance, under three error laws; search and confirmation share no seed.

    python benchmarks/control_decision.py              # 2,500 searches for each number of candidates
    python benchmarks/control_decision.py --searches 100
    python benchmarks/control_decision.py --table      # the committed results as text

Writes ``benchmarks/results/control_decision.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from algobias.study.control.confirm import plan_confirmation
from algobias.study.control.limits import Limits
from algobias.study.control.search import SearchDesign, plan_search
from algobias.study.design import Design, Request, Run
from algobias.training.outcome import Cost, Curve, Outcome

RESULTS = Path(__file__).parent / "results" / "control_decision.json"
CANDIDATES = (4, 8, 16, 32)
LAWS = ("gaussian", "t4", "unequal")
SEARCHES, BLOCK = 2500, 50
TOLERANCE, GAP, GAIN = 1.0, 3.0, 2.0
UPDATES = np.array([8, 16, 32, 64, 128, 256, 512])
PLANNED = 3
MOST_SEEDS = 20


class World:
    """Outcomes of all arms on one set of seeds; equal fit throughout, so that the gap is all bias."""

    def __init__(self, candidates: int, law: str, rng: np.random.Generator) -> None:
        shape = (2 + 2 * candidates, MOST_SEEDS)
        draw = rng.standard_t(4, shape) / math.sqrt(2) if law == "t4" else rng.standard_normal(shape)
        if law == "unequal":  # arms in turn half and one and a half times as wide
            draw *= np.where(np.arange(len(draw)) % 2, 0.5, 1.5)[:, None] / math.sqrt(1.25)
        self.effect = draw
        self.loss = 2e-3 * UPDATES[PLANNED] / UPDATES

    def run(self, request: Request) -> Run:
        head, plus, control = request.arm.partition("+control:")
        variant = head == "variant"
        row = (2 + 2 * int(control) if plus else 0) + variant
        level = 90 - (GAP - (GAIN if plus else 0.0)) * variant
        size = PLANNED + 1
        if request.level is not None:
            size = min(len(UPDATES), PLANNED + 1 + int((self.loss[PLANNED:] > request.level).sum()))
        metric = np.full(size, level + self.effect[row, request.replicate])
        curve = Curve(UPDATES[:size], self.loss[:size], np.full(size, 99.0), metric)
        spent = float(UPDATES[size - 1]) * (0.1 if variant else 1.0)
        cost = Cost(updates=spent, examples=spent, gradients=spent)
        return Run(
            request.arm,
            request.replicate,
            Outcome(request.replicate, curve, PLANNED, cost=cost),
            request.length,
        )


def search_and_confirm(candidates: int, law: str, rng: np.random.Generator) -> dict[str, Any]:
    """One search, and the confirmation of what it chose."""
    audit = Design(tolerance=TOLERANCE)
    design = SearchDesign(audit, "matched", candidates, (False,) * candidates, (Limits(),))
    world, runs = World(candidates, law, rng), []
    while isinstance(asked := plan_search(design, runs), list):
        runs += [world.run(request) for request in asked]
    chosen = asked.chosen[0]
    if chosen is None:
        return {"said": "nothing chosen", "seeds": 0, "covered": {}}
    fresh, made = World(1, law, rng), []
    while isinstance(
        found := plan_confirmation(Design(TOLERANCE, controls=1, at="matched"), made, [(0, "matched")]), list
    ):
        made += [fresh.run(request) for request in found]
    judged = found.judged(0, "matched")
    assert judged is not None
    truth = {"recovered": GAIN / GAP, "against_treated_baseline": GAIN / GAP, "treated_gap": GAP - GAIN}
    covered = {}
    for name, value in truth.items():
        interval = getattr(judged, name)
        if interval is not None:
            covered[name] = bool(interval.low <= value <= interval.high)
    return {"said": judged.verdict, "seeds": found.look, "covered": covered}


def block(candidates: int, law: str, number: int, size: int) -> dict[str, Any]:
    """Counts over some searches, with random numbers of their own."""
    rng = np.random.default_rng([7, candidates, LAWS.index(law), number])
    said: Counter[str] = Counter()
    covered: dict[str, list[int]] = {}
    seeds = 0
    for _ in range(size):
        one = search_and_confirm(candidates, law, rng)
        said[one["said"]] += 1
        seeds += one["seeds"]
        for name, hit in one["covered"].items():
            count = covered.setdefault(name, [0, 0])
            count[0] += hit
            count[1] += 1
    return {"of": size, "said": dict(said), "seeds": seeds, "covered": covered}


def merged(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """Blocks of one cell together."""
    said: Counter[str] = Counter()
    covered: dict[str, list[int]] = {}
    for one in blocks:
        said.update(one["said"])
        for name, (hits, of) in one["covered"].items():
            count = covered.setdefault(name, [0, 0])
            count[0] += hits
            count[1] += of
    of = sum(one["of"] for one in blocks)
    return {
        "searches": of,
        "recovered": said["recovered"] / of,
        "said": {name: count / of for name, count in sorted(said.items())},
        "seeds": sum(one["seeds"] for one in blocks) / of,
        "covered": {name: hits / count for name, (hits, count) in covered.items()},
    }


def table(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        "| candidates | seed effects | searches | `recovered` (at most 5.5 %) | R covered (at least 94 %) | "
        "R* covered | fresh seeds, mean |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, cell in found["cells"].items():
        candidates, law = name.split(", ")
        cover = cell["covered"]
        lines.append(
            f"| {candidates} | {law} | {cell['searches']} | {100 * cell['recovered']:.2f} % | "
            f"{100 * cover['recovered']:.1f} % | {100 * cover['against_treated_baseline']:.1f} % | "
            f"{cell['seeds']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    from machine import machine

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--searches", type=int, default=SEARCHES, help="for each number of candidates")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(RESULTS.read_text(encoding="utf-8"))))
        return
    kept = Path(".algobias") / "control_decision"
    kept.mkdir(parents=True, exist_ok=True)
    started = time.time()
    wanted = []
    for candidates in CANDIDATES:
        for number in range(math.ceil(given.searches / BLOCK)):
            law = LAWS[number % len(LAWS)]
            path = kept / f"{candidates}-{law}-{number}.json"
            if not path.exists():
                wanted.append((candidates, law, number, BLOCK, path))
    with ProcessPoolExecutor(given.workers) as pool:
        for (*_, path), made in zip(
            wanted, pool.map(block, *zip(*(w[:4] for w in wanted), strict=True)), strict=True
        ):
            path.write_text(json.dumps(made))
    cells = {}
    for candidates in CANDIDATES:
        for law in LAWS:
            blocks = [
                json.loads(path.read_text()) for path in sorted(kept.glob(f"{candidates}-{law}-*.json"))
            ]
            if blocks:
                cells[f"{candidates}, {law}"] = merged(blocks)
    every = [json.loads(path.read_text()) for path in kept.glob("*.json")]
    found = {
        "environment": machine(),
        "seconds": round(time.time() - started),
        "tolerance": TOLERANCE,
        "gap": GAP,
        "gain": GAIN,
        "all": merged(every),
        "cells": cells,
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
