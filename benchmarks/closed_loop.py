"""The closed loop on known answers: is the verdict right, does the search find a control, does it hold?

    python benchmarks/closed_loop.py                  # every case of cases/suite.yaml; hours; resumable
    python benchmarks/closed_loop.py --quick          # a subset: 15 minutes on one core
    python benchmarks/closed_loop.py NAME ...         # some of them
    python benchmarks/closed_loop.py --table          # the committed results as tables, training nothing

Each case is audited as a user would, and where the suite says so a control is searched for and confirmed.
What was found is written to ``benchmarks/results/closed_loop.json`` after every case, so that several
processes may share out the cases. Data are looked for below ``ALGOBIAS_DATA``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

HERE = Path(__file__).parent
SUITE = HERE.parent / "cases" / "suite.yaml"
RESULTS = HERE / "results" / "closed_loop.json"
WITHIN = 0.35
"""By how much R of the control found may lie below that of the best one the reference lists."""


def suite() -> dict[str, dict[str, Any]]:
    """Every case by name; what the defaults say is filled in."""
    loaded = yaml.safe_load(SUITE.read_text(encoding="utf-8"))
    cases: dict[str, dict[str, Any]] = loaded["cases"]
    for case in cases.values():
        kind = "digits" if case["spec"]["task"] == "digits" else "other"
        case["spec"] = {**loaded["defaults"][kind], **case["spec"]}
    return cases


def plant() -> None:
    """Put the planted fault among the levers: an averager that throws the momentum away."""
    from torch import Tensor, zeros_like

    from algobias.levers.parallel.local_sgd import LocalUpdates
    from algobias.levers.registry import LEVERS

    class FaultyAverager(LocalUpdates):
        name = "faulty_averager"

        @property
        def plain(self) -> bool:
            return False

        def _remembered(self, leaf: Any, params: Tensor) -> Any:
            return zeros_like(leaf) if isinstance(leaf, Tensor) else leaf

    LEVERS[FaultyAverager.name] = FaultyAverager


def numbers(interval: Mapping[str, Any] | None) -> list[float | None] | None:
    """Mean and bounds, rounded for the file."""
    if interval is None:
        return None
    values = [interval[key] for key in ("mean", "low", "high")]
    return [None if value is None else round(value, 4) for value in values]


def run_case(case: Mapping[str, Any], store: Any, workers: int | None) -> dict[str, Any]:
    """Audit one case, and search and confirm a control where it says so."""
    from algobias.controls.run import run_control
    from algobias.controls.spec import control_spec
    from algobias.running.spec import spec_from
    from algobias.running.trainer import Options
    from algobias.studies.audit import run_audit

    options = Options(workers=workers)
    audit = run_audit(spec_from(case["spec"]), store, options)
    result = audit.result
    fit = result.get("fit") or {}
    found: dict[str, Any] = {
        "verdict": result["verdict"],
        "reason": result["reason"],
        "n": (result.get("gap") or {}).get("n"),
        "gap": numbers(result.get("gap")),
        "bias_share": numbers(fit.get("bias_share")),
        "fit_share": numbers(fit.get("fit_share")),
        "seconds": round(result["seconds"], 1),
    }
    if "control" not in case:
        return found
    if result["verdict"] in ("no_gap", "not_applied", "undecided"):
        return found | {"control": None}
    control = run_control(store.find_study(audit.study), control_spec(case["control"]), store, options).result
    return found | {"control": controlled(control)}


def controlled(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a control study found, in short."""
    judged = {entry["lever"]: entry for entry in result["controls"]}
    chosen = []
    for choice in result["chosen"]:
        entry = judged.get(choice["lever"]) if choice["lever"] else None
        if entry is not None and entry["at"] != choice["at"]:
            entry = entry.get("other")
        chosen.append(
            {
                "axes": choice["axes"],
                "lever": choice["lever"],
                "at": choice["at"],
                "confirmed": choice["confirmed"],
                "general": choice["general"],
                "over_limit": choice["over_limit"],
                "tuned_gap": numbers(choice["tuned_gap"]),
                "recovered": numbers(entry and entry["recovered"]),
                "recovered_against_treated_baseline": numbers(
                    entry and entry["recovered_against_treated_baseline"]
                ),
                "cost_ratio": None if entry is None else _costs(entry["cost_ratio"]),
            }
        )
    return {
        "chosen": chosen,
        "tuned_baseline": result["tuned_baseline"],
        "tried": [entry["lever"] for entry in result["tried"]],
        "gap": numbers(result["gap"]),
        "n": result["gap"]["n"],
        "seconds": round(result["seconds"], 1),
    }


def _costs(ratios: Mapping[str, Any]) -> dict[str, Any]:
    axes = ("updates", "gradients", "peak_memory", "seconds")
    return {
        against: None if costs is None else {axis: round(costs[axis], 3) for axis in axes}
        for against, costs in ratios.items()
    }


def best_found(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """The confirmed choice of a case with the largest R, or None where nothing was confirmed."""
    control = entry.get("control")
    known = [one for one in (control or {}).get("chosen", []) if (one["recovered"] or [None])[0] is not None]
    return max(known, key=lambda one: one["recovered"][0], default=None)


def judged(case: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, bool | None]:
    """Whether the verdict is the expected one, and the control near the best one listed."""
    right = entry["verdict"] in case["verdict"]
    if "best" not in case:
        return {"verdict": right, "control": None}
    found = best_found(entry)
    return {"verdict": right, "control": found is not None and found["recovered"][0] >= case["best"] - WITHIN}


def save(name: str, entry: Mapping[str, Any]) -> None:
    """Write one case among those that are there, also beside other processes."""
    from machine import machine

    RESULTS.parent.mkdir(exist_ok=True)
    with FileLock(str(RESULTS) + ".lock"):
        found: dict[str, Any] = committed() if RESULTS.exists() else {"cases": {}}
        found = {"environment": machine(), "cases": {**found["cases"], name: dict(entry)}}
        found["cases"] = {one: found["cases"][one] for one in suite() if one in found["cases"]}
        text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
        RESULTS.write_text(text + "\n", encoding="utf-8")


def committed() -> dict[str, Any]:
    """The committed results."""
    loaded: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return loaded


def _told(interval: Sequence[float | None] | None, digits: int = 2) -> str:
    if interval is None or interval[0] is None:
        return ""
    bounds = ["unbounded" if value is None else f"{value:.{digits}f}" for value in interval[1:]]
    return f"{interval[0]:.{digits}f} [{', '.join(dict.fromkeys(bounds))}]"


def verdict_table(cases: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Every case: the question, what was expected, what came out."""
    lines = ["| case | change | source | expected | verdict | seeds | gap | |", "|" + "---|" * 8]
    for name, entry in found.items():
        spec = cases[name]["spec"]
        change = "baseline against itself" if spec.get("aa") else ", ".join(spec["change"])
        expected = " or ".join(cases[name]["verdict"])
        mark = "right" if judged(cases[name], entry)["verdict"] else "**missed**"
        source = cases[name]["source"]
        cells = (name, f"`{change}`", source, expected, f"`{entry['verdict']}`", str(entry["n"] or ""))
        lines.append("| " + " | ".join((*cells, _told(entry["gap"], 3), mark)) + " |")
    return "\n".join(lines)


def control_table(cases: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Every control that was confirmed, with R, R* and what it costs."""
    header = "| case | control | compared | confirmed | R | R* | tuned - it | cost* | best listed | |"
    lines = [header, "|" + "---|" * 10]
    for name, entry in found.items():
        control = entry.get("control")
        if not control:
            continue
        best = cases[name].get("best")
        mark = {True: "near", False: "**far**", None: ""}[judged(cases[name], entry)["control"]]
        same = {}
        for one in control["chosen"]:
            same.setdefault((one["lever"], one["at"]), one)
        for place, one in enumerate(same.values()):
            costs = (one["cost_ratio"] or {}).get("variant") or {}
            cost = ", ".join(
                f"{axis} x{costs[axis]:.3g}" for axis in ("updates", "gradients") if axis in costs
            )
            cells = [
                name if place == 0 else "",
                f"`{one['lever']}`" if one["lever"] else "none found",
                one["at"].replace("_", " "),
                one["confirmed"] or "",
                _told(one["recovered"]),
                _told(one["recovered_against_treated_baseline"]),
                _told(one.get("tuned_gap")),
                cost,
                "" if best is None or place else f"{best:.2f}",
                "" if place else mark,
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(cases: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Verdict accuracy; medians of R, R* and costs over the cases where a control was confirmed."""
    right = [judged(cases[name], entry)["verdict"] for name, entry in found.items()]
    near = [judged(cases[name], entry)["control"] for name, entry in found.items()]
    best = [one for one in map(best_found, found.values()) if one is not None]

    def middle(key: str, place: int) -> float | None:
        values = [one[key][place] for one in best if one[key] and one[key][place] is not None]
        return round(statistics.median(values), 3) if values else None

    costs = [one["cost_ratio"]["variant"] for one in best]
    return {
        "cases": len(found),
        "verdicts_right": sum(map(bool, right)),
        "missed": [name for name, fine in zip(found, right, strict=True) if not fine],
        "controls_searched": sum(bool(entry.get("control")) for entry in found.values()),
        "near_best_listed": [sum(map(bool, near)), sum(one is not None for one in near)],
        "median_recovered": [middle("recovered", place) for place in range(3)],
        "median_recovered_against_treated_baseline": [
            middle("recovered_against_treated_baseline", place) for place in range(3)
        ],
        "median_cost": {
            axis: round(statistics.median(cost[axis] for cost in costs), 3) if costs else None
            for axis in ("updates", "gradients", "peak_memory")
        },
    }


def main() -> None:
    cases = suite()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="the cases marked quick")
    parser.add_argument("--store", type=Path, default=Path(".algobias"))
    parser.add_argument("--workers", type=int, help="processes; default: one per core; 0: this one")
    parser.add_argument("--table", action="store_true", help="print what is committed, train nothing")
    given = parser.parse_args()
    for name in given.names:
        if name not in cases:
            parser.error(f"unknown name {name!r}; one of {', '.join(cases)}")
    names = given.names or [name for name in cases if cases[name].get("quick") or not given.quick]
    if not given.table:
        import torch

        from algobias.kept.store import Store

        torch.set_num_threads(1)
        plant()
        with Store(given.store) as store:
            for name in names:
                started = time.monotonic()
                entry = run_case(cases[name], store, given.workers)
                save(name, entry)
                marks = judged(cases[name], entry)
                told = f"{name}: {entry['verdict']}, {marks} ({time.monotonic() - started:.0f} s)"
                print(told, file=sys.stderr, flush=True)
    found = committed()["cases"]
    shown = {name: found[name] for name in cases if name in found and (not given.quick or name in names)}
    print(verdict_table(cases, shown), "", control_table(cases, shown), "", sep="\n")
    print(json.dumps(summary(cases, shown), indent=1))


if __name__ == "__main__":
    main()
