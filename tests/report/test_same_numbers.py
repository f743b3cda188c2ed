"""Figures show the numbers of the result object, and derive none of their own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from synthetic import outcome

import algobias.reports
from algobias.judge.design import Run
from algobias.kept.shape import read_answer
from algobias.kept.tables import Terms
from algobias.reports.figures.curves import metric_against_fit
from algobias.reports.figures.points import Points
from algobias.reports.figures.seeds import seed_dots
from algobias.reports.figures.shares import split
from algobias.reports.record import StudyRecord
from algobias.studies.compare import Comparison, compare_tables

DECIDING = ("describe", "drawn", "extension", "matching", "plan", "shares", "split", "statistics")


def compared(folder: Path, **options: object) -> Comparison:
    """Seven plain pairs of runs, and one whose baseline starts far below the matched level."""
    rows: dict[str, list[str]] = {"baseline": [], "variant": []}
    for seed in range(8):
        late = seed == 7
        for k, loss in enumerate([1e-4, 9e-5, 8e-5] if late else [1.0, 0.1, 0.01]):
            metric = ([10, 50, 90] if late else [50, 80, 90 + seed / 100])[k]
            rows["baseline"].append(f"{seed},{10 ** (k + 1)},{loss},{metric}")
        for k, loss in enumerate([1.0, 0.1, 0.01]):
            rows["variant"].append(f"{seed},{10 ** (k + 1)},{loss},{[50, 80, 88 + seed / 50][k]}")
    for name, lines in rows.items():
        text = "\n".join(["seed,update,train_loss,test_metric", *lines])
        (folder / f"{name}.csv").write_text(text + "\n")
    return compare_tables(
        folder / "baseline.csv",
        folder / "variant.csv",
        Terms(tolerance=0.4, metric="accuracy"),
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture
def points(tmp_path: Path) -> Points:
    found = compared(tmp_path)
    return Points(StudyRecord(found.result, found.runs))


def test_the_marks_at_matched_fit(points: Points) -> None:
    fit = points.record.result["fit"]
    drawn = {row["arm"]: row["metric"] for row in metric_against_fit(points)["datasets"]["matched"]}
    assert drawn == {item["arm"]: item["mean"] for item in fit["matched_arms"]}
    assert drawn["baseline"] == pytest.approx(90.03)
    assert drawn["baseline"] - drawn["variant"] == pytest.approx(fit["bias_share"]["mean"], abs=1e-12)
    assert fit["seeds_reached"] == 7


def test_the_mean_lines_at_equal_fit(points: Points) -> None:
    drawn = metric_against_fit(points)["datasets"]["means"]
    for item in points.record.result["fit"]["curves"]:
        line = [[row["fit"], row["metric"]] for row in drawn if row["arm"] == item["arm"]]
        assert line == item["points"]


def test_the_seeds_and_the_means_of_arms(points: Points) -> None:
    drawn = seed_dots(points)["datasets"]
    for arm in points.record.result["arms"]:
        dots = [row["metric"] for row in drawn["dots"] if row["arm"] == arm["name"]]
        assert dots == arm["per_seed"]
        (mean,) = [row for row in drawn["means"] if row["arm"] == arm["name"]]
        assert {key: mean[key] for key in ("mean", "low", "high")} == {
            key: arm["metric"][key] for key in ("mean", "low", "high")
        }


def test_the_gap_of_each_pair(points: Points) -> None:
    gap = points.record.result["gap"]
    drawn = split(points)["datasets"]
    seeds = {
        row["replicate"]: row["value"] for name, rows in drawn.items() if "seeds" in name for row in rows
    }
    assert [seeds[replicate] for replicate in sorted(seeds)] == gap["per_seed"]
    assert sum(gap["per_seed"]) / len(gap["per_seed"]) == pytest.approx(gap["mean"], abs=1e-12)
    baseline, variant = (arm["per_seed"] for arm in points.record.result["arms"])
    assert gap["per_seed"] == [a - b for a, b in zip(baseline, variant, strict=True)]


def test_seeds_that_are_no_pairs_have_no_gap_of_their_own(tmp_path: Path) -> None:
    found = compared(tmp_path, unpaired=True)
    assert found.result["gap"]["per_seed"] is None
    points = Points(StudyRecord(found.result, found.runs))
    assert points.differences == []
    assert seed_dots(points)["datasets"]["pairs"] == []


def test_a_run_that_diverges_after_its_planned_end_keeps_its_score(tmp_path: Path) -> None:
    """The dot is the planned end, as in the result, not what a predictor that knows nothing scores."""
    for name in ("a", "b"):
        lines = [
            f"{seed},{10 * k},{loss},{metric},{planned}"
            for seed in range(4)
            for k, (loss, metric, planned) in enumerate(
                [(1.0, 50, 0), (0.1, 80 + seed, 1), ("nan" if seed == 2 else 0.05, 20, 0)], 1
            )
        ]
        (tmp_path / f"{name}.csv").write_text(
            "\n".join(["seed,update,train_loss,test_metric,planned", *lines]) + "\n"
        )
    found = compare_tables(tmp_path / "a.csv", tmp_path / "b.csv", Terms(tolerance=0.4, trivial=10))
    points = Points(StudyRecord(found.result, found.runs))
    assert [row["metric"] for row in points.seeds if row["arm"] == "baseline"] == [80, 81, 82, 83]
    assert found.result["arms"][0]["per_seed"] == [80, 81, 82, 83]


def test_seeds_that_a_browser_cannot_tell_apart_are_text() -> None:
    first = 2**53
    runs = [Run(arm, i, outcome(first + i, planned=20)) for arm in ("baseline", "variant") for i in range(2)]
    drawn = seed_dots(Points(StudyRecord({"verdict": "bias"}, runs)))["datasets"]
    assert [row["seed"] for row in drawn["dots"]] == [str(first), str(first + 1)] * 2
    assert len({row["seed"] for row in drawn["pairs"]}) == 2
    assert (
        Points(StudyRecord({"verdict": "bias"}, [Run("baseline", 0, outcome(7, planned=20))])).seeds[0][
            "seed"
        ]
        == 7
    )


def test_the_report_imports_no_rule() -> None:
    for path in sorted(Path(algobias.reports.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                names = {module, *(f"{module}.{name.name}" for name in node.names)}
            elif isinstance(node, ast.Import):
                names = {name.name for name in node.names}
            else:
                continue
            assert not names & {f"algobias.judge.{rule}" for rule in DECIDING}, path.name


def test_a_stored_result_with_these_numbers_is_in_order(points: Points) -> None:
    assert read_answer({**points.record.result, "study": "0123456789ab", "arms": [
        {**arm, "recipe": {}} for arm in points.record.result["arms"]
    ]}).verdict == points.record.answer.verdict  # fmt: skip
