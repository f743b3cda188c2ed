"""Figures: what they draw, that they compile, and that the tables behind them are right."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
import pytest
from made_studies import case
from synthetic import outcome, record

from algobias.answer.interval import own_interval
from algobias.judge.design import Run
from algobias.reports import figures
from algobias.reports.figures.base import Spec, decades, window
from algobias.reports.figures.points import Points
from algobias.reports.figures.seeds import metric_title
from algobias.reports.figures.series import thinned
from algobias.reports.figures.shares import piled
from algobias.reports.record import StudyRecord
from algobias.reports.words import arm_label
from algobias.runs.outcome import Curve, Outcome

DRAWINGS: list[Callable[..., Spec]] = [
    figures.seed_dots,
    figures.training_loss,
    figures.metric_curve,
    figures.metric_against_fit,
    figures.split,
    figures.recovery,
    figures.gap_by_look,
]


def marks(svg: str, role: str) -> list[ET.Element]:
    """Marks of the first group of a kind (``mark-symbol``, ``mark-line``), over all layers."""
    root = ET.fromstring(svg)
    groups = [item for item in root.iter() if role in (item.get("class") or "").split()]
    return [child for group in groups for child in group]


@pytest.mark.parametrize("name", ["controls", "all diverged", "one seed", "label noise", "hostile"])
@pytest.mark.parametrize("draw", DRAWINGS, ids=lambda draw: draw.__name__)
def test_every_figure_compiles(draw: Callable[..., Spec], name: str) -> None:
    spec = draw(Points(case(name), budget=300), 400)
    json.dumps(spec, allow_nan=False)
    svg = figures.svg(spec)
    assert ET.fromstring(svg).tag.endswith("svg")
    assert "NaN" not in svg
    assert spec["description"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_seed_dots_draw_one_mark_per_seed_and_one_line_per_pair(scheme: str) -> None:
    svg = figures.svg(figures.seed_dots(Points(case("controls")), 600), scheme)  # type: ignore[arg-type]
    assert len(marks(svg, "mark-symbol")) == 7 * 9
    # One polyline per seed that baseline and variant share.
    assert len(marks(svg, "mark-line")) == 9


def test_curves_draw_one_line_per_run_and_one_mean_per_arm() -> None:
    points = Points(case("controls"))
    for draw in (figures.training_loss, figures.metric_curve, figures.metric_against_fit):
        assert len(marks(figures.svg(draw(points, 600)), "mark-line")) == 7 * 9 + 7, draw.__name__


def test_diverged_runs_are_marked_and_left_out_of_means_but_not_of_scores() -> None:
    points = Points(case("diverged"))
    assert len(points.diverged) == 4
    svg = figures.svg(figures.training_loss(points, 600))
    assert svg.count("\N{MULTIPLICATION SIGN}") == 4
    scores = [row["metric"] for row in points.seeds if row["arm"] == "variant"]
    assert scores[:4] == [10.0] * 4
    variant = next(row for row in points.arm_means if row["arm"] == "variant")
    assert variant["mean"] == pytest.approx(np.mean(scores))


def test_split_draws_missing_shares_as_text_only() -> None:
    svg = figures.svg(figures.split(Points(case("diverged")), 600))
    assert svg.count("not available") == 2


def test_recovery_draws_unbounded_intervals_as_such() -> None:
    spec = figures.recovery(Points(case("controls")), 600)
    assert len(spec["datasets"]["unbounded"]) == 1
    assert "[unbounded]" in figures.svg(spec)


def test_arms_keep_their_colour_and_shape_in_every_figure() -> None:
    points = Points(case("controls"))
    found = set()
    for draw in DRAWINGS[:4]:
        for layer in draw(points, 600)["layer"]:
            for channel in ("color", "shape"):
                if channel in layer["encoding"]:
                    found.add((channel, tuple(layer["encoding"][channel]["scale"]["domain"])))
    assert found == {(channel, tuple(points.labels.values())) for channel in ("color", "shape")}


def test_specs_fetch_nothing() -> None:
    for draw in DRAWINGS:
        text = json.dumps(draw(Points(case("controls"))))
        assert "http" not in text
        assert '"url"' not in text


@pytest.mark.parametrize("char", ["\x00", "\x1b", "\ufffe", "\ud800", "&", "<", "]]>", "\u2028"])
def test_no_character_ends_the_renderer(char: str) -> None:
    honest = record("bias", 2)
    name = f"a{char}b"
    runs = [*honest.runs, Run(name, 0, outcome(0, planned=20))]
    spec = figures.seed_dots(
        Points(StudyRecord({**honest.result, "metric": name, "change": [name]}, runs)), 400
    )
    for drawn in (spec, {**spec, "title": name}):
        assert ET.fromstring(figures.svg(drawn)).tag.endswith("svg")


def test_case_svg_is_one_small_picture_with_the_verdict(study: StudyRecord) -> None:
    svg = figures.case_svg(study)
    text = "".join(ET.fromstring(svg).itertext())
    assert f"Verdict: {str(study.result['verdict']).replace('_', ' ')}" in text
    assert len(svg) < 250_000


def test_case_svg_of_a_study_without_runs_tells_the_reason() -> None:
    bare = StudyRecord({"verdict": "not_applied", "task": "digits", "reason": "The recipe is the same."})
    text = "".join(ET.fromstring(figures.case_svg(bare)).itertext())
    assert "Verdict: not applied" in text
    assert "The recipe is the same." in text
    assert "not available" not in text


def test_case_svg_shows_each_seed_of_both_arms() -> None:
    svg = figures.case_svg(record("bias", 6, controls=1))
    # 6 seeds in two arms; on the matched level one mark per arm; three estimates; six seed gaps.
    assert len(marks(svg, "mark-symbol")) == 6 * 2 + 2 + 3 + 6


def curve_of(updates: list[int], losses: list[float], metrics: list[float]) -> Curve:
    nothing = np.full(len(updates), math.nan)
    return Curve(np.array(updates), np.array(losses), nothing, np.array(metrics))


def test_means_are_geometric_for_the_loss_and_end_with_the_first_seed() -> None:
    runs = [
        Run("baseline", 0, Outcome(0, curve_of([0, 1, 10, 100], [2.0, 1.0, 0.1, 0.01], [0, 10, 20, 30]), 3)),
        Run("baseline", 1, Outcome(1, curve_of([0, 1, 10], [2.0, 4.0, 0.4], [0, 20, 40]), 2)),
    ]
    points = Points(StudyRecord({"verdict": "undecided"}, runs))
    assert [(row["update"], row["loss"], row["metric"]) for row in points.means] == [
        (1, pytest.approx(2.0), pytest.approx(15.0)),
        (10, pytest.approx(0.2), pytest.approx(30.0)),
    ]


def test_score_comes_from_the_planned_run_and_the_curve_from_the_longest() -> None:
    planned = outcome(0, planned=100, key=3)
    longer = outcome(0, planned=100, last=800, key=3)
    runs = [Run("variant", 0, longer, 8.0), Run("variant", 0, planned, 1.0), Run("baseline", 0, planned)]
    points = Points(StudyRecord({"verdict": "bias"}, runs))
    assert not points.by_length
    assert max(row["update"] for row in points.curves) == 800
    assert next(row for row in points.ends if row["arm"] == "variant")["update"] == 100
    assert len(points.seeds) == 2


def test_separate_schedules_are_drawn_as_one_point_per_run() -> None:
    points = Points(case("decaying"))
    assert points.by_length
    assert len(points.fits) == len(case("decaying").runs)
    assert max(row["update"] for row in points.curves) == 2000


def test_thinning_keeps_first_planned_and_last() -> None:
    long = outcome(0, planned=2000, last=16000)
    kept = thinned(long, 12)
    assert {0, long.planned, len(long.curve) - 1} <= set(kept)
    assert len(kept) <= 15
    assert kept == sorted(kept)


def test_curve_points_are_bounded_whatever_the_study() -> None:
    assert len(Points(case("twenty seeds"), budget=3000).curves) <= 3000 * 1.3


def test_matched_marks_stand_at_the_matched_level() -> None:
    points = Points(case("bias"))
    rows = {row["arm"]: row for row in points.matched}
    assert set(rows) == {"baseline", "variant"}
    assert rows["baseline"]["metric"] > rows["variant"]["metric"] + 0.5
    for arm, row in rows.items():
        mean = min(
            (one for one in points.fit_means if one["arm"] == arm),
            key=lambda one: abs(one["fit"] - row["fit"]),
        )
        assert row["metric"] == pytest.approx(mean["metric"], abs=0.1)


def test_labels_name_controls_by_number_or_lever() -> None:
    many, one = case("controls"), record("bias", 2, controls=1)
    assert arm_label("variant+control:1", many) == "variant + control 2"
    assert arm_label("baseline+sam:0.1", many) == "baseline + control 2"
    assert arm_label("variant+control:0", one) == "variant + control"
    assert arm_label("rate_only", many) == "rate only"


@pytest.mark.parametrize(
    ("domain", "ticks"),
    [
        ((1.0, 2000.0), [1, 10, 100, 1000]),
        ((3e-4, 2.3), [1e-3, 1e-2, 0.1, 1]),
        ((0.03, 0.2), [0.05, 0.1, 0.2]),
        ((1e-12, 1.0), [1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1]),
    ],
)
def test_log_ticks(domain: tuple[float, float], ticks: list[float]) -> None:
    assert decades(domain) == pytest.approx(ticks)


def test_window_holds_the_ends_and_never_more_than_the_data() -> None:
    low, high = window((95.0, 97.0), [10.0, 50.0, 95.0, 97.0], 0.4)
    assert 93.5 < low < 95.0
    assert high == 97.0
    assert window((95.0, 97.0), [], 0.4) == (95.0, 97.0)


def test_a_broken_side_arm_does_not_squash_the_comparison() -> None:
    runs = [
        *record("bias", 4).runs,
        *(Run("rate_only", seed, outcome(seed, planned=2000, final=1.5, key=9)) for seed in range(4)),
    ]
    arms = [
        {"name": "rate_only", "metric": own_interval([run.outcome.end_metric for run in runs[-4:]]).to_json()}
    ]
    result = {"verdict": "bias", "metric": "accuracy", "tolerance": 0.4, "arms": arms}
    points = Points(StudyRecord(result, runs))
    ends = [row["metric"] for row in points.seeds if row["arm"] != "rate only"]
    low, high = points.scale_range
    assert (low, high) == (min(ends), max(ends))
    assert [(row["arm"], row["count"], row["below"]) for row in points.off_scale] == [("rate only", 4, True)]
    assert "all seeds off the scale, mean" in figures.svg(figures.seed_dots(points, 600))
    axis = figures.metric_curve(points)["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert axis[0] > low - 3


def test_a_broken_variant_is_on_the_scale_with_all_its_seeds() -> None:
    points = Points(case("diverged"))
    assert points.scale_range[0] == 10.0
    assert points.off_scale == []


def test_one_diverged_seed_is_named_and_does_not_squash_the_others() -> None:
    points = Points(record("bias", 9, diverged=1))
    assert [(row["arm"], row["count"], row["total"]) for row in points.off_scale] == [("variant", 1, 9)]
    assert points.scale_range[0] > 90
    assert "1 of 9 seeds off the scale" in figures.svg(figures.seed_dots(points, 600))


def test_equal_gaps_stand_under_each_other() -> None:
    gaps = [{"replicate": seed, "value": value} for seed, value in enumerate([0.9, 1.8, 0.9, 0.9])]
    assert [[row["replicate"] for row in rows] for rows in piled(gaps)] == [[0, 1], [2], [3], []]
    assert piled([]) == [[], [], [], []]


def test_numbers_that_are_not_finite_are_no_bounds_of_an_interval() -> None:
    assert not StudyRecord({}).answer.gap.known
    assert not StudyRecord({"gap": {"mean": math.nan}}).answer.gap.known
    value = StudyRecord({"gap": {"mean": 1, "low": -math.inf, "high": 2.0, "n": 4}}).answer.gap
    assert (value.mean, value.low, value.high, value.n, value.bounded) == (1.0, None, 2.0, 4, False)


@pytest.mark.parametrize("domain", [(2.1, 4.9), (56, 112), (1.12, 1.38), (0.0311, 0.0389)])
def test_a_short_log_axis_has_ticks(domain: tuple[float, float]) -> None:
    ticks = decades(domain)
    assert 2 <= len(ticks) <= 7
    assert all(domain[0] <= tick <= domain[1] for tick in ticks)


@pytest.mark.parametrize(
    ("metric", "title"), [("accuracy", "Test accuracy"), ("test_acc", "Test acc"), ("Test loss", "Test loss")]
)
def test_an_axis_says_once_that_its_metric_is_of_the_test(metric: str, title: str) -> None:
    points = Points(StudyRecord({"metric": metric, "verdict": "no_gap"}))
    assert metric_title(points) == title
