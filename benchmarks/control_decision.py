"""How often a confirmed control is one by chance: whole searches on outcomes whose truth is known.

The cells: the change costs three tolerances at equal fit. Every candidate gives two of them back, to the
variant alone, so that each leaves a gap of exactly one tolerance: none is truly ``recovered``, and the search
can choose only noise. The worlds (``control_worlds.py``): candidates that do nothing, no gap or a small one
on fresh seeds, two limits on cost, candidates that do harm. Search and confirmation are the shipped ones.

    python benchmarks/control_decision.py              # 2,500 searches for each number of candidates, world
    python benchmarks/control_decision.py --searches 100
    python benchmarks/control_decision.py --worlds     # the worlds only; the committed cells stay
    python benchmarks/control_decision.py --table      # the committed results as text

Writes ``benchmarks/results/control_decision.json``. The worlds' entries are counts.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from control_tables import table
from control_worlds import LAWS, TOLERANCE, WORLDS, Candidate, Outcomes, World, confirm, search, study

RESULTS = Path(__file__).parent / "results" / "control_decision.json"
KEPT = Path(".algobias") / "control_decision"
CANDIDATES = (4, 8, 16, 32)
SEARCHES, BLOCK = 2500, 50
GAP, GAIN = 3.0, 2.0


def search_and_confirm(candidates: int, law: str, rng: np.random.Generator) -> dict[str, Any]:
    """One search, and the confirmation of what it chose."""
    asked = search(Outcomes(World(GAP, (Candidate(GAIN),) * candidates), law, rng))
    chosen = asked.chosen[0]
    if chosen is None:
        return {"said": "nothing chosen", "seeds": 0, "covered": {}}
    found = confirm(Outcomes(World(GAP, (Candidate(GAIN),)), law, rng), [0], [(0, "matched")])
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


def world_block(name: str, law: str, number: int, size: int) -> dict[str, float]:
    """Counts over some studies in one world, with random numbers of their own."""
    started = time.time()
    rng = np.random.default_rng([8, zlib.crc32(name.encode()), LAWS.index(law), number])
    counts: Counter[str] = Counter()
    for _ in range(size):
        counts.update(study(WORLDS[name], law, rng))
    return {**counts, "computing_seconds": time.time() - started}


def summed(blocks: list[dict[str, float]]) -> dict[str, float]:
    """Blocks of one world and law together; a count of 0 may be missing in some."""
    total: Counter[str] = Counter()
    for one in blocks:
        total.update(one)
    return {name: round(total[name]) for name in sorted(total) if name != "computing_seconds"}


def make(
    work: Callable[..., dict[str, Any]], cells: Sequence[int | str], searches: int, workers: int
) -> None:
    """Compute every block of some cells that is not kept yet; each law in turn gets a block."""
    wanted = []
    for cell in cells:
        for number in range(math.ceil(searches / BLOCK)):
            law = LAWS[number % len(LAWS)]
            path = KEPT / f"{slug(cell)}-{law}-{number}.json"
            if not path.exists():
                wanted.append((cell, law, number, BLOCK, path))
    with ProcessPoolExecutor(workers) as pool:
        arguments = zip(*(each[:-1] for each in wanted), strict=True)
        for (*_, path), made in zip(wanted, pool.map(work, *arguments), strict=True):
            path.write_text(json.dumps(made))


def slug(cell: int | str) -> str:
    """How the blocks of a cell are named: its number of candidates, or its world."""
    return str(cell) if isinstance(cell, int) else "world-" + cell.replace(" ", "_")


def blocks_of(cell: int | str, law: str) -> list[dict[str, Any]]:
    """The blocks there are."""
    return [json.loads(path.read_text()) for path in sorted(KEPT.glob(f"{slug(cell)}-{law}-*.json"))]


def found_cells() -> dict[str, Any]:
    """All cells, and all of them together."""
    kept = {f"{many}, {law}": blocks_of(many, law) for many in CANDIDATES for law in LAWS}
    every = [one for blocks in kept.values() for one in blocks]
    return {
        "tolerance": TOLERANCE,
        "gap": GAP,
        "gain": GAIN,
        "all": merged(every),
        "cells": {name: merged(blocks) for name, blocks in kept.items() if blocks},
    }


def found_worlds() -> dict[str, Any]:
    """Counts of every world by law; ``all`` is all laws together."""
    kept = {name: {law: blocks_of(name, law) for law in LAWS} for name in WORLDS}
    counts = {}
    for name, laws in kept.items():
        every = [one for blocks in laws.values() for one in blocks]
        counts[name] = {law: summed(blocks) for law, blocks in laws.items() if blocks} | {
            "all": summed(every)
        }
    seconds = sum(
        one["computing_seconds"] for laws in kept.values() for blocks in laws.values() for one in blocks
    )
    return {"computing_seconds": round(seconds), "counts": counts}


def main() -> None:
    from machine import machine

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--searches", type=int, default=SEARCHES, help="for each number of candidates, world")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--worlds", action="store_true", help="the worlds only")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    if given.table:
        print(table(found))
        return
    KEPT.mkdir(parents=True, exist_ok=True)
    started = time.time()
    if not given.worlds:
        make(block, CANDIDATES, given.searches, given.workers)
        found |= {"environment": machine(), "seconds": round(time.time() - started), **found_cells()}
    make(world_block, tuple(WORLDS), given.searches, given.workers)
    found["worlds"] = {"environment": machine(), **found_worlds()}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
