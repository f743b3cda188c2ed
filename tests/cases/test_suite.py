"""The suite of the closed loop: what it must hold, its planted fault, and the committed results."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import closed_loop as benchmark
from algobias.kept.store import Store
from algobias.levers.parallel.local_sgd import LocalUpdates
from algobias.levers.registry import LEVERS
from algobias.running.spec import spec_from
from algobias.tasks.registry import load_task
from algobias.training.before.checks import null_check

ROOT = Path(__file__).parents[2]
FIELDS = {
    "digits": "vision",
    "fashion_mnist": "vision",
    "gtsrb": "driving",
    "steering": "driving",
    "polarity": "text classification",
    "shakespeare": "text generation",
    "books": "text generation",
    "multi30k": "translation",
    "spoken_digits": "speech",
}


CASES = benchmark.suite()


@pytest.fixture
def planted() -> Any:
    before = dict(LEVERS)
    benchmark.plant()
    yield LEVERS["faulty_averager"]
    LEVERS.clear()
    LEVERS.update(before)


def test_the_suite_is_broad_and_holds_planted_faults() -> None:
    assert len(CASES) >= 18
    assert len({case["spec"]["task"] for case in CASES.values()}) >= 6
    assert len({FIELDS[case["spec"]["task"].split(":")[0]] for case in CASES.values()}) >= 4
    firsts = [case["verdict"][0] for case in CASES.values()]
    for verdict, least in {"no_gap": 3, "optimization": 3, "broken": 2, "not_applied": 1, "bias": 3}.items():
        assert firsts.count(verdict) >= least, verdict
    sources = " ".join(case["source"] for case in CASES.values())
    for planted in ("never reached", "throws the momentum away", "under-trained", "seed noise alone"):
        assert planted in sources
    assert {case["source"].split()[0].strip(",") for case in CASES.values()} == {
        "reference",
        "planted",
        "study",
    }
    for name, case in CASES.items():
        spec = spec_from(case["spec"])
        assert spec.seed >= 50_000, f"{name}: seeds that other studies of the repository use"
        assert {"P3", "P5", "P12", "X1", "X2"} <= {one["source"].split()[-1] for one in CASES.values()}


def test_only_the_fault_of_the_planted_averager_is_found(planted: type[LocalUpdates], tmp_path: Path) -> None:
    """The same class with its fault taken out passes the null check that the faulty one fails."""

    class Mended(planted):  # type: ignore[misc,valid-type]
        _remembered = LocalUpdates._remembered

    task = load_task("digits")
    assert "must change nothing" in str(null_check(planted(every=8), task.recipe(), task))
    LEVERS[planted.name] = Mended  # a recipe names its parts; the fixture puts the registry back
    assert null_check(Mended(every=8), task.recipe(), task) is None
    LEVERS[planted.name] = planted
    with Store(tmp_path) as store:
        found = benchmark.run_case(CASES["digits-faulty-averager"], store, 0)
    assert (found["verdict"], found["n"]) == ("broken", 0)


def entry(r: float | None, verdict: str = "bias") -> dict[str, Any]:
    chosen = {"lever": "sam:0.1", "recovered": None if r is None else [r, r - 0.1, r + 0.1]}
    return {"verdict": verdict, "control": {"chosen": [chosen]}}


@pytest.mark.parametrize(("r", "near"), [(0.5, True), (0.46, True), (0.44, False), (None, False)])
def test_a_control_is_near_the_best_listed_or_not(r: float | None, near: bool) -> None:
    case = {"verdict": ["bias"], "best": 0.8}
    assert benchmark.judged(case, entry(r)) == {"verdict": True, "control": near}
    assert benchmark.judged(case, {"verdict": "no_gap", "control": None}) == {
        "verdict": False,
        "control": False,
    }


@pytest.mark.skipif(not benchmark.RESULTS.exists(), reason="the suite has not been run")
class TestCommitted:
    found: Any = benchmark.committed()["cases"] if benchmark.RESULTS.exists() else {}

    def test_every_case_was_run(self) -> None:
        assert set(self.found) == set(CASES)
        assert not re.search(r"/(work|tmp|root|home|Users)/", json.dumps(self.found))

    def test_misses_are_explained(self) -> None:
        """Each verdict and each control that is not as expected stands by name in the page."""
        page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
        summary = benchmark.summary(CASES, self.found)
        far = [name for name in CASES if benchmark.judged(CASES[name], self.found[name])["control"] is False]
        for name in (*summary["missed"], *far):
            assert f"`{name}`" in page
        assert summary["verdicts_right"] >= 0.9 * summary["cases"]

    def test_the_page_shows_the_committed_results(self) -> None:
        page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
        assert benchmark.verdict_table(CASES, self.found) in page
        assert benchmark.control_table(CASES, self.found) in page
