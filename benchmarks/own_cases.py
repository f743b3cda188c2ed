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
from collections.abc import Callable, Sequence
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
    base = result["arms"][0]
    gap = result["gap"]
    bounds = f"{gap['mean']:.3g} [{gap['low']:.3g}, {gap['high']:.3g}]"
    metric = f"{base['metric']['mean']:.4g} ± {base['metric']['sd']:.2g}"
    seconds = f"{base['cost']['seconds']:.0f}"
    known = "" if trivial is None else f"{trivial:.4g}"
    change, verdict = f"`{', '.join(result['change'])}`", f"`{result['verdict']}`"
    link = f"[{name.rpartition('/')[2]}]({name}.svg)"
    cells = (link, result["metric"], known, metric, change, bounds, verdict, seconds)
    return "| " + " | ".join(cells) + " |"


def control_rows(name: str, result: dict[str, Any]) -> list[str]:
    """One row for each control of a case."""
    rows = []
    for place, entry in enumerate(result["controls"]):
        found = entry["recovered"]
        bounds = [f"{found[side]:.2f}" for side in ("low", "high") if found[side] is not None]
        costs = entry["cost_ratio"]["variant"]
        cost = ", ".join(f"{axis} x{costs[axis]:.3g}" for axis in ("updates", "gradients", "bytes_sent"))
        cells = [
            f"[{name.rpartition('/')[2]}]({name}.svg)" if place == 0 else "",
            f"`{entry['lever']}`",
            entry["at"].replace("_", " "),
            f"`{entry['verdict']}`",
            f"{found['mean']:.2f} [{', '.join(bounds) or 'unbounded'}]",
            cost,
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def tables(asked: Sequence[str], trivial: Callable[[str], float | None]) -> str:
    """The committed results, and the controls tried on them, as two tables in Markdown."""
    lines = [
        "| case | metric | knows nothing | baseline | change | gap | verdict | s per seed |",
        "|" + "---|" * 8,
    ]
    controls = ["| case | control | compared | verdict | R | cost against the variant |", "|" + "---|" * 6]
    for name in asked:
        path = cases.CASES / f"{name}.json"
        if path.exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            lines.append(row(name, result, trivial(result["task"])))
            controls += control_rows(name, result)
    return "\n".join([*lines, *(["", *controls] if len(controls) > 2 else [])])


def main() -> None:
    import torch

    from algobias.kept.store import Store
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
    print(tables(asked, lambda task: load_task(task).trivial_metric()))


if __name__ == "__main__":
    main()
