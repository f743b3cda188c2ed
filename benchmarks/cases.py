"""The committed cases: real audits on real data, judged against an independent implementation.

    python benchmarks/cases.py                  # every case of cases/, over one store; resumable
    python benchmarks/cases.py P7 P15           # some of them
    python benchmarks/cases.py --table          # judge the committed results again, training nothing
    python benchmarks/cases.py --rules          # the verdict rules as users meet them: sequential looks,
                                                # several disjoint pools of seeds

A case is ``cases/NAME.yaml`` (the question, as for ``algobias audit --spec``); written beside it are
``NAME.json`` (what ``audit --json`` prints, without paths) and ``NAME.svg``. ``cases/expected.yaml`` says
what the reference found and how far from it a result may lie. All checks go to
``benchmarks/results/cases.json``, those of ``--rules`` to ``benchmarks/results/rules.json``. C1o needs
FashionMNIST below ``ALGOBIAS_DATA``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from scipy import stats

HERE = Path(__file__).parent
CASES = HERE.parent / "cases"
RESULTS = HERE / "results" / "cases.json"
RULES_RESULTS = HERE / "results" / "rules.json"
ORDER = ("lr_x1", "P7", "P15", "P6", "X1", "P12", "P13", "P2", "P3", "P1", "P1c", "C1o")
ORDER += ("X2", "X3", "P8", "P9", "P10b", "P10", "P11", "P4", "P4c", "P4d", "P4b", "P5", "C1")


@dataclass(frozen=True)
class Check:
    """One comparison of a result with the reference.

    Attributes:
        what: What is compared.
        ours: What the audit found.
        reference: What the reference found.
        allowed: The tolerance, in words.
        passed: Whether the result lies within it; None where the reference's text leaves it unjudged.
    """

    what: str
    ours: str
    reference: str
    allowed: str
    passed: bool | None


def expectations() -> dict[str, Any]:
    """``cases/expected.yaml``."""
    loaded: dict[str, Any] = yaml.safe_load((CASES / "expected.yaml").read_text(encoding="utf-8"))
    return loaded


def judge(name: str, result: Mapping[str, Any], expected: Mapping[str, Any]) -> list[Check]:
    """Compare one result with the reference, by the tolerances of ``expected``."""
    case, tolerances = expected["cases"][name], expected["tolerances"]
    family = result["task"].partition(":")[0]
    allowed = case["verdict"]
    checks = [
        Check("verdict", result["verdict"], allowed[0], " or ".join(allowed), result["verdict"] in allowed)
    ]
    if "gap" in case:
        checks += _gap(case["gap"], result, tolerances, family)
    arms = {arm["name"]: arm["metric"]["mean"] for arm in result["arms"]}
    near = tolerances["test"][family] if "test" in case else math.nan
    for what, reference in case.get("test", {}).items():
        ours = (
            arms["baseline"] - result["fit"]["bias_share"]["mean"]
            if what == "variant at matched fit"
            else arms[what]
        )
        checks.append(_level(f"test, {what}", ours, reference, near))
    controls = {control["lever"]: control for control in result["controls"]}
    for lever, reference in case.get("recovered", {}).items():
        entry = controls[lever]
        if entry["at"] != reference["at"]:
            entry = entry.get("other") or {}
        checks.append(_recovered(lever, entry, reference, case["gap"]["mean"], tolerances["recovered"]))
        if "treated at matched fit" in reference and entry:
            ours = arms["baseline"] - entry["treated_gap"]["mean"]
            checks.append(
                _level(f"test, +{lever} at matched fit", ours, reference["treated at matched fit"], near)
            )
    return [replace(check, passed=None) for check in checks] if case.get("reported") else checks


def standard_error(interval: Mapping[str, Any], alpha: float = 0.025) -> float:
    """Standard error of a mean from its t-interval at ``alpha`` per side over ``n`` pairs."""
    width: float = interval["high"] - interval["low"]
    return width / 2 / float(stats.t.isf(alpha, interval["n"] - 1))


def _gap(
    reference: Mapping[str, Any], result: Mapping[str, Any], tolerances: Mapping[str, Any], family: str
) -> Iterator[Check]:
    ours = result["fit"]["bias_share"] if reference["of"] == "fit.bias_share" else result["gap"]
    name = "gap at matched fit" if reference["of"] == "fit.bias_share" else "gap"
    mean, se = reference["mean"], reference["se"]
    if ours["mean"] is None:
        yield Check(name, "none", f"{mean:.2f} ± {se:.2f}", "a number", False)
        return
    error = standard_error(ours)
    rules = tolerances["gap"]
    most = max(rules["relative"] * abs(mean), rules["standard_errors"] * math.hypot(error, se))
    yield Check(
        name,
        f"{ours['mean']:.2f} ± {error:.2f}",
        f"{mean:.2f} ± {se:.2f}",
        f"± {most:.2f}",
        abs(ours["mean"] - mean) <= most,
    )
    ratio = tolerances["standard_error"]["ratio"]
    yield Check("standard error", f"{error:.3f}", f"{se:.2f}", f"at most x{ratio}", error <= ratio * se)
    if result["verdict"] == "no_gap":
        most = tolerances["no_gap"][family]
        yield Check("upper bound of the gap", f"{ours['high']:.2f}", "", f"below {most}", ours["high"] < most)


def _level(what: str, ours: float, reference: float, near: float) -> Check:
    return Check(what, f"{ours:.2f}", f"{reference:.2f}", f"± {near}", abs(ours - reference) <= near)


def _recovered(
    lever: str, entry: Mapping[str, Any], reference: Mapping[str, Any], gap: float, rules: Mapping[str, Any]
) -> Check:
    told = f"{reference['mean']:.2f} [{reference['low']:.2f}, {reference['high']:.2f}]"
    allowed = f"± {rules['absolute']} or overlapping"
    found = entry.get("recovered") or {}
    if found.get("mean") is None:
        return Check(f"recovered by {lever}", "none", told, allowed, False)
    bounds = [found[side] for side in ("low", "high")]
    shown = ", ".join("unbounded" if bound is None else f"{bound:.2f}" for bound in bounds)
    low, high = (
        (-math.inf if bounds[0] is None else bounds[0]),
        (math.inf if bounds[1] is None else bounds[1]),
    )
    overlapping = low <= reference["high"] and reference["low"] <= high
    passed = abs(found["mean"] - reference["mean"]) <= rules["absolute"] or overlapping
    judged = gap >= rules["gap_at_least"]
    what = f"recovered by {lever}, {reference['at'].replace('_', ' ')}"
    return Check(what, f"{found['mean']:.2f} [{shown}]", told, allowed, passed if judged else None)


def without_paths(result: Mapping[str, Any], folder: Path = CASES) -> dict[str, Any]:
    """The result as it is committed: where it was made is nobody's business.

    Args:
        result: What an audit found.
        folder: Of the case; levers in files there are named as the specification names them.
    """
    text = json.dumps({**result, "store": None, "report": None}, ensure_ascii=False)
    shorter: dict[str, Any] = json.loads(text.replace(json.dumps(f"{folder.resolve()}/")[1:-1], ""))
    return shorter


def run_case(name: str, store: Any, workers: int | None, folder: Path = CASES) -> dict[str, Any]:
    """Run one case of a folder and write its JSON and its picture."""
    from algobias.reports.figures import case_svg
    from algobias.running.spec import read_spec
    from algobias.running.trainer import Options
    from algobias.studies.audit import run_audit
    from algobias.studies.reports import record_of

    audit = run_audit(
        read_spec(folder / f"{name}.yaml"),
        store,
        Options(workers=workers),
        command=f"algobias audit --spec {folder.relative_to(HERE.parent).as_posix()}/{name}.yaml",
    )
    result = without_paths(audit.result, folder)
    text = json.dumps(result, indent=1, allow_nan=False, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    (folder / f"{name}.svg").write_text(case_svg(record_of(store, audit.study)), encoding="utf-8")
    return result


def committed(name: str) -> dict[str, Any]:
    """The committed result of a case."""
    result: dict[str, Any] = json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))
    return result


def table(judged: Mapping[str, list[Check]]) -> str:
    """All checks as one Markdown table."""
    lines = ["| case | what | ours | reference | allowed | |", "|---|---|---|---|---|---|"]
    for name, checks in judged.items():
        for place, check in enumerate(checks):
            mark = {True: "pass", False: "**FAIL**", None: "not judged"}[check.passed]
            cells = (name if place == 0 else "", *list(asdict(check).values())[:4], mark)
            lines.append("| " + " | ".join(cells) + " |")
    every = [check.passed for checks in judged.values() for check in checks if check.passed is not None]
    return "\n".join([*lines, "", f"{sum(every)} of {len(every)} checks pass, {len(judged)} cases."])


@dataclass(frozen=True)
class Rule:
    """An audit as a user asks it, and the verdicts it must end with on every pool (none: unjudged)."""

    question: Mapping[str, Any]
    allowed: tuple[str, ...]
    reference: str


RULES = {
    "P1": Rule({"change": ["batch:x16,lr=sqrt"]}, ("bias",), "bias 8 of 8, 4-20 seeds"),
    "P1, variant in 20 epochs": Rule(
        {"change": ["batch:x16,lr=sqrt", "budget:x0.5"]},
        ("mixed",),
        "mixed 8 of 8, 6-9 seeds (G 1.9-2.8, B .9-1.3, F 1.0-1.8)",
    ),
    "P1, both arms in 20 epochs": Rule(
        {"base": ["budget:epochs=20"], "change": ["batch:x16,lr=sqrt"]}, (), "not measured"
    ),
    "P6": Rule({"change": ["batch:x16"]}, ("optimization",), "optimization 8 of 8, 4-13 seeds"),
    "P7": Rule({"change": ["budget:x0.125"]}, ("optimization",), "optimization 8 of 8, 4-6 seeds"),
    "P14": Rule({"change": ["batch:x4,lr=sqrt"]}, ("bias",), "bias 8 of 8, 4-13 seeds"),
    "lr:x0.4": Rule({"change": ["lr:x0.4"]}, ("bias",), "bias 7 of 7, 4-9 seeds"),
    "P15": Rule({"aa": True}, ("no_gap", "undecided"), "no_gap 7, undecided 1 of 8, 4-20 seeds"),
}
SEEDS = 20


def run_rules(names: list[str], pools: int, store: Any, workers: int | None) -> dict[str, Any]:
    """Every rule on ``pools`` disjoint pools of seeds; results are written after each audit."""
    from algobias.running.spec import spec_from
    from algobias.running.trainer import Options
    from algobias.studies.audit import run_audit
    from machine import machine

    found: dict[str, Any] = {"environment": machine(), "rules": {}}
    if RULES_RESULTS.exists():
        before = json.loads(RULES_RESULTS.read_text(encoding="utf-8"))["rules"]
        found["rules"] = {name: before[name] for name in RULES if name in before}
    for pool in range(pools):
        for name in names:
            rule = RULES[name]
            # An A/A takes two blocks of seeds.
            seed = pool * SEEDS * (2 if rule.question.get("aa") else 1)
            spec = spec_from({"task": "digits", "tolerance": 0.4, "seed": seed, **rule.question})
            result = run_audit(spec, store, Options(workers=workers)).result
            entry = {
                "first_seed": seed,
                "verdict": result["verdict"],
                "passed": result["verdict"] in rule.allowed if rule.allowed else None,
                "n": result["gap"]["n"],
                **{
                    key: [
                        None if value is None else round(value, 3)
                        for value in (one["mean"], one["low"], one["high"])
                    ]
                    for key, one in (
                        ("gap", result["gap"]),
                        ("bias_share", result["fit"]["bias_share"]),
                        ("fit_share", result["fit"]["fit_share"]),
                    )
                },
                "side": result["fit"]["side"],
                "level": result["fit"]["level"],
            }
            there = found["rules"].get(name, {}).get("pools", [])
            kept = [one for one in there if one["first_seed"] != seed]
            found["rules"][name] = {
                "question": dict(rule.question),
                "must_be": list(rule.allowed),
                "reference": rule.reference,
                "pools": sorted([*kept, entry], key=lambda one: one["first_seed"]),
            }
            RULES_RESULTS.parent.mkdir(exist_ok=True)
            RULES_RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(
                f"{name}, seeds from {seed}: {entry['verdict']} at {entry['n']} seeds",
                file=sys.stderr,
                flush=True,
            )
    return found


def rules_table(found: Mapping[str, Any]) -> str:
    """Verdicts, seeds and shares of every rule, and what the reference's rules gave."""
    lines = ["| audit | verdict (seeds) by pool | G | B | F | reference | |", "|---|---|---|---|---|---|---|"]
    for name, rule in found["rules"].items():
        pools = rule["pools"]
        ends = ", ".join(f"{one['verdict']} ({one['n']})" for one in pools)
        spans = []
        for key in ("gap", "bias_share", "fit_share"):
            means = [one[key][0] for one in pools if one[key][0] is not None]
            spans.append(f"{min(means):.2f} to {max(means):.2f}" if means else "")
        passed = [one["passed"] for one in pools]
        mark = "**FAIL**" if False in passed else "pass" if all(passed) else "not judged"
        lines.append(f"| {name} | {ends} | {' | '.join(spans)} | {rule['reference']} | {mark} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="cases (or, with --rules, rules); default: all"
    )
    parser.add_argument(
        "--store", type=Path, default=Path(".algobias"), help="workspace folder (default .algobias)"
    )
    parser.add_argument("--workers", type=int, help="processes; default: one per core; 0: this one")
    parser.add_argument("--table", action="store_true", help="judge what is committed, train nothing")
    parser.add_argument("--rules", action="store_true", help="sequential audits on several pools of seeds")
    parser.add_argument("--pools", type=int, default=3, help="pools of 20 seeds for --rules (default 3)")
    given = parser.parse_args()
    known = list(RULES) if given.rules else list(ORDER)
    for name in given.names:
        if name not in known:
            parser.error(f"unknown name {name!r}; one of {', '.join(known)}")
    names = given.names or known
    if given.rules and given.table:
        print(rules_table(json.loads(RULES_RESULTS.read_text(encoding="utf-8"))))
        return
    if not given.table:
        import torch

        from algobias.kept.store import Store

        torch.set_num_threads(1)
        with Store(given.store) as store:
            if given.rules:
                print(rules_table(run_rules(names, given.pools, store, given.workers)))
                return
            for name in names:
                started = time.monotonic()
                verdict = run_case(name, store, given.workers)["verdict"]
                print(f"{name}: {verdict} ({time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)
    there = [name for name in ORDER if (CASES / f"{name}.json").exists()]
    expected = expectations()
    judged = {name: judge(name, committed(name), expected) for name in there}
    if not given.table:
        write_results(judged)
    print(table(judged))


def write_results(judged: Mapping[str, list[Check]]) -> None:
    """All checks of all cases, with what they were made on."""
    from machine import machine

    found = {
        "environment": machine(),
        "cases": {
            name: {
                "passed": all(check.passed is not False for check in checks),
                "checks": [asdict(check) for check in checks],
            }
            for name, checks in judged.items()
        },
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
