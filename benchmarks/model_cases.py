"""Changes to the model: the reference's six tasks, and its cases, judged against what it measured.

    python benchmarks/model_cases.py baselines             # every task's seeds, one at a time; resumable
    python benchmarks/model_cases.py baselines senti m30k  # some tasks
    python benchmarks/model_cases.py cases                 # every question of cases/model, over one store
    python benchmarks/model_cases.py cases B10             # some of them
    python benchmarks/model_cases.py table                 # judge what is committed, train nothing

Tasks are functions of ``cases/model/tasks.py``; data are looked for below ``ALGOBIAS_DATA``. Baselines go to
``cases/model/baselines.json``, seed by seed; a question ``NAME.yaml`` leaves ``NAME.json`` and ``NAME.svg``
beside it. ``cases/model/expected.yaml`` says what is expected and was written before anything was run.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cases import CASES, Check, run_case, standard_error, table

FOLDER = CASES / "model"
BASELINES = FOLDER / "baselines.json"
NOT_CASES = ("expected",)


def expectations() -> dict[str, Any]:
    """``cases/model/expected.yaml``."""
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "expected.yaml").read_text(encoding="utf-8"))
    return loaded


def committed(name: str) -> dict[str, Any]:
    """The committed result of a case, or the baselines."""
    result: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return result


def names() -> list[str]:
    """The questions of the folder, by number."""
    found = [path.stem for path in FOLDER.glob("*.yaml") if path.stem not in NOT_CASES]
    return sorted(found, key=lambda name: (name[0], len(name), name))


def train_baselines(name: str, seeds: Sequence[int], found: dict[str, Any]) -> None:
    """Train a task's baselines one by one, and write the file after each; those that are there stay."""
    from algobias.running.arms import build_arms
    from algobias.running.spec import StudySpec
    from algobias.tasks.registry import load_task
    from algobias.training.loop import train
    from machine import machine

    task = load_task(str(FOLDER / f"tasks.py:{name}"))
    arms = build_arms(StudySpec(task=task.text or "", aa=True), task)
    recipe = arms.recipes["baseline"]
    address = arms.address(recipe)
    entry = found["tasks"].get(name)
    if entry is None or entry["address"] != address:
        entry = {"metric": task.metric_name, "trivial": task.trivial_metric(), "address": address, "runs": []}
        found["tasks"][name] = entry
    for seed in seeds:
        if seed in [run["seed"] for run in entry["runs"]]:
            continue
        wall, core = time.perf_counter(), time.process_time()
        (outcome,) = train(recipe, task, (seed,))
        entry["runs"].append(
            {
                "seed": seed,
                "metric": float(f"{outcome.end_metric:.6g}"),
                "train_loss": float(f"{outcome.curve.train_loss[outcome.planned]:.6g}"),
                "also": {key: float(f"{value:.6g}") for key, value in outcome.also.items()},
                "wall_seconds": round(time.perf_counter() - wall, 2),
                "core_seconds": round(time.process_time() - core, 2),
            }
        )
        entry["runs"].sort(key=lambda run: run["seed"])
        found["environment"] = machine()
        BASELINES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{name}, seed {seed}: {entry['runs'][-1]}", file=sys.stderr, flush=True)


def judge_baseline(
    entry: Mapping[str, Any], expected: Mapping[str, Any], rules: Mapping[str, Any]
) -> list[Check]:
    """Compare a task's baselines with the second implementation's."""
    runs = entry["runs"]
    checks = [_level(entry["metric"], [run["metric"] for run in runs], expected, expected["seeds"], rules)]
    for key, reference in expected.get("also", {}).items():
        checks.append(_level(key, [run["also"][key] for run in runs], reference, expected["seeds"], rules))
    loss = np.mean([run["train_loss"] for run in runs])
    checks.append(Check("training loss", f"{loss:.3g}", f"{expected['train_loss']:.3g}", "", None))
    return checks


def _level(
    what: str, values: Sequence[float], reference: Mapping[str, Any], seeds: int, rules: Mapping[str, Any]
) -> Check:
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    squares = (len(values) - 1) * sd**2 + (seeds - 1) * reference["sd"] ** 2
    most = rules["pooled_sd"] * math.sqrt(squares / (len(values) + seeds - 2))
    return Check(
        what,
        f"{mean:.4g}, {sd:.2g} ({len(values)})",
        f"{reference['mean']:.4g}, {reference['sd']:.2g} ({seeds})",
        f"± {most:.2g}",
        len(values) >= seeds and abs(mean - reference["mean"]) <= most,
    )


def judge_case(
    result: Mapping[str, Any], case: Mapping[str, Any], tolerances: Mapping[str, Any]
) -> list[Check]:
    """Compare one audit with the reference."""
    allowed = case["verdict"]
    checks = [
        Check("verdict", result["verdict"], allowed[0], " or ".join(allowed), result["verdict"] in allowed)
    ]
    shares = {"gap": result["gap"], "bias_share": result["fit"]["bias_share"]}
    for key in ("gap", "bias_share"):
        if key in case:
            checks.append(_gap(key.replace("_", " "), shares[key], case[key], tolerances["gap"]))
    controls = {entry["lever"]: at_planned_end(entry) for entry in result["controls"]}
    for lever, reference in case.get("recovered", {}).items():
        checks.append(_recovered(lever, controls[lever], reference, tolerances["recovered"]))
    bounds = [*_bounds(case, "least", shares, controls), *_bounds(case, "most", shares, controls)]
    return [*checks, *bounds, *_order(case.get("order", ()), controls)]


def at_planned_end(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a control gives back where both arms end as planned."""
    place = entry if entry["at"] == "planned_end" else entry.get("other") or {}
    found: Mapping[str, Any] = place.get("recovered") or {"mean": None}
    return found


def _gap(what: str, ours: Mapping[str, Any], reference: Mapping[str, Any], rules: Mapping[str, Any]) -> Check:
    mean, se = reference["mean"], reference["se"]
    told = f"{mean:.3g} ± {se:.2g}"
    if ours["mean"] is None:
        return Check(what, "none", told, "a number", False)
    error = standard_error(ours)
    most = max(rules["relative"] * abs(mean), rules["standard_errors"] * math.hypot(error, se))
    near = abs(ours["mean"] - mean) <= most
    return Check(what, f"{ours['mean']:.3g} ± {error:.2g}", told, f"± {most:.2g}", near)


def _recovered(
    lever: str, ours: Mapping[str, Any], reference: Mapping[str, Any], rules: Mapping[str, Any]
) -> Check:
    told = f"{reference['mean']:.2f} [{reference['low']:.2f}, {reference['high']:.2f}]"
    judged = reference["mean"] >= rules["at_least"]
    allowed = f"± {rules['absolute']}" if judged else ""
    if ours["mean"] is None:
        return Check(f"recovered by {lever}", "none", told, allowed, False if judged else None)
    bounds = ["unbounded" if ours[side] is None else f"{ours[side]:.2f}" for side in ("low", "high")]
    passed = abs(ours["mean"] - reference["mean"]) <= rules["absolute"]
    shown = f"{ours['mean']:.2f} [{', '.join(bounds)}]"
    return Check(f"recovered by {lever}", shown, told, allowed, passed if judged else None)


def _bounds(
    case: Mapping[str, Any], side: str, shares: Mapping[str, Any], controls: Mapping[str, Any]
) -> Iterator[Check]:
    """What must hold in any case: at ``least`` or at ``most`` so much."""
    bounds = case.get(side, {})
    asked = {key.replace("_", " "): (shares[key]["mean"], bounds[key]) for key in shares if key in bounds}
    for lever, bound in bounds.get("recovered", {}).items():
        asked[f"recovered by {lever}"] = controls[lever]["mean"], bound
    for what, (ours, bound) in asked.items():
        shown = "none" if ours is None else f"{ours:.3g}"
        holds = ours is not None and (ours >= bound if side == "least" else ours <= bound)
        yield Check(what, shown, "", f"at {side} {bound}", holds)


def _order(levers: Sequence[str], controls: Mapping[str, Any]) -> Iterator[Check]:
    """Whether each control gives back more than the next."""
    for first, second in pairwise(levers):
        ours = [controls[lever]["mean"] for lever in (first, second)]
        shown = " and ".join("none" if mean is None else f"{mean:.2f}" for mean in ours)
        holds = None not in ours and ours[0] > ours[1]
        yield Check(f"{first} before {second}", shown, "", "the first gives back more", holds)


def judged() -> dict[str, list[Check]]:
    """All checks of what is committed."""
    expected = expectations()
    tolerances, found = expected["tolerances"], {}
    if BASELINES.exists():
        tasks = committed("baselines")["tasks"]
        for name, reference in expected["tasks"].items():
            if name in tasks:
                found[name] = judge_baseline(tasks[name], reference, tolerances["baseline"])
    for name in names():
        if (FOLDER / f"{name}.json").exists():
            found[name] = judge_case(committed(name), expected["cases"][name], tolerances)
    return found


def task_table() -> str:
    """Baselines as a table: metric, what knows nothing, seconds of one seed."""
    head = ("task", "metric", "knows nothing", "baseline", "training loss", "core s per seed", "wall s")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    tasks = committed("baselines")["tasks"]
    for name in (name for name in expectations()["tasks"] if name in tasks):
        entry, runs = tasks[name], tasks[name]["runs"]
        metric = [run["metric"] for run in runs]
        means = {
            key: np.mean([run[key] for run in runs]) for key in ("train_loss", "core_seconds", "wall_seconds")
        }
        cells = [name, entry["metric"], f"{entry['trivial']:.4g}"]
        cells += [f"{np.mean(metric):.4g} ± {np.std(metric, ddof=1):.2g}", f"{means['train_loss']:.3g}"]
        cells += [f"{means['core_seconds']:.0f}", f"{means['wall_seconds']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("baselines", "cases", "table"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="tasks or cases; default: all")
    parser.add_argument("--store", type=Path, default=Path(".algobias"), help="of the cases")
    parser.add_argument("--workers", type=int, help="processes of the cases; 0: this one")
    given = parser.parse_args()
    expected = expectations()
    known = list(expected["tasks"]) if given.what == "baselines" else names()
    for name in given.names:
        if name not in known:
            parser.error(f"unknown name {name!r}; one of {', '.join(known)}")
    asked = given.names or known
    if given.what != "table":
        import torch

        torch.set_num_threads(1)
    if given.what == "baselines":
        found = committed("baselines") if BASELINES.exists() else {"environment": {}, "tasks": {}}
        for name in asked:
            train_baselines(name, range(expected["tasks"][name]["seeds"]), found)
    if given.what == "cases":
        from algobias.kept.store import Store

        with Store(given.store) as store:
            for name in asked:
                verdict = run_case(name, store, given.workers, FOLDER)["verdict"]
                print(f"{name}: {verdict}", file=sys.stderr, flush=True)
    if BASELINES.exists():
        print(task_table(), end="\n\n")
    print(table(judged()))


if __name__ == "__main__":
    main()
