"""Audits of our own, without a reference: one in each field (``domains``), of parallel training
(``parallel``).

    python benchmarks/own_cases.py                         # every spec, over one store; resumable
    python benchmarks/own_cases.py domains/gtsrb parallel  # some of them; a folder stands for all in it
    python benchmarks/own_cases.py domains --table         # the committed results as a table

Written beside ``cases/FOLDER/NAME.yaml`` are ``NAME.json`` (what ``audit --json`` prints, without paths) and
``NAME.svg``. Data are looked for below ``ALGOBIAS_DATA``. Results embed no example of the data.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cases

FOLDERS = ("domains", "parallel")


def names(asked: Sequence[str]) -> list[str]:
    """Every question asked for, as ``FOLDER/NAME``; all there are where none is named."""
    found: list[str] = []
    for name in asked or FOLDERS:
        inside = sorted(f"{name}/{path.stem}" for path in (cases.CASES / name).glob("*.yaml"))
        found += inside or [name]
    return found


def row(name: str, result: dict[str, Any], trivial: float | None) -> str:
    """One row of the table."""
    arms = {arm["name"]: arm for arm in result["arms"]}
    base = arms["baseline"]
    gap = result["gap"]
    bounds = f"{gap['mean']:.3g} [{gap['low']:.3g}, {gap['high']:.3g}]"
    metric = f"{base['metric']['mean']:.4g} ± {base['metric']['sd']:.2g}"
    seconds = f"{base['cost']['seconds']:.0f}"
    known = "" if trivial is None else f"{trivial:.4g}"
    change, verdict = ", ".join(result["change"]), f"`{result['verdict']}`"
    cells = (name, result["metric"], known, metric, change, bounds, verdict, seconds)
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    import torch

    from algobias.study.store import Store
    from algobias.tasks.registry import load_task

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*")
    parser.add_argument("--store", type=Path, default=Path(".algobias"))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    asked = names(given.names)
    if not given.table:
        torch.set_num_threads(1)
        with Store(given.store) as store:
            for name in asked:
                started = time.monotonic()
                folder, _, question = name.rpartition("/")
                verdict = cases.run_case(question, store, given.workers, cases.CASES / folder)["verdict"]
                print(f"{name}: {verdict} ({time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)
    print("| task | metric | knows nothing | baseline | change | gap | verdict | s per seed |")
    print("|---|---|---|---|---|---|---|---|")
    for name in asked:
        path = cases.CASES / f"{name}.json"
        if path.exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            print(row(name, result, load_task(result["task"]).trivial_metric()))


if __name__ == "__main__":
    main()
