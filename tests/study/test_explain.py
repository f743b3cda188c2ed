"""Interventions and what they support: doses, transplants, the rule for coordinates, a whole explanation."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_control_study import TASK
from test_kill import without_times

from algobias.errors import BadInput
from algobias.levers.registry import parse
from algobias.recipe import Recipe
from algobias.study.audit import run_audit
from algobias.study.control.candidates import candidates
from algobias.study.explain.evidence import CHANGE, Forced, judge, slope
from algobias.study.explain.interventions import at_dose, doses, forces, switches
from algobias.study.explain.run import run_explain
from algobias.study.explain.spec import explain_spec
from algobias.study.spec import spec_from
from algobias.study.statistics import Errors, Interval, error_levels
from algobias.study.store import Store
from algobias.study.trainer import Options
from algobias.tasks.registry import load_task

PRINTED = 0.025


def digits() -> Recipe:
    return load_task("digits").recipe()


@pytest.mark.parametrize(
    ("lever", "share", "expected"),
    [
        ("batch:x16,lr=sqrt", 0.25, "batch:x2,lr=sqrt"),
        ("batch:x16,lr=sqrt", 1.25, "batch:x32,lr=sqrt"),
        ("batch:256", 0.5, "batch:64"),
        ("lr:x0.01", 0.5, "lr:x0.1"),
        ("data:0.25", 0.5, "data:0.5"),
        ("delay:8,lr=rule,momentum=0", 0.5, "delay:4,lr=rule,momentum=0"),
        ("local_sgd:64,workers=4", 0.5, "local_sgd:8,workers=4"),
        ("drop_compute:p=0.5", 0.5, "drop_compute:p=0.25"),
        ("sam:0.1", 0.5, "sam:0.05"),
    ],
)
def test_a_dose_lies_between_nothing_and_the_change(lever: str, share: float, expected: str) -> None:
    found = at_dose(parse(lever), digits(), share)
    assert found is not None
    assert found.apply(digits()) == parse(expected).apply(digits())


@pytest.mark.parametrize("lever", ["batch:x16,lr=sqrt", "lr:x0.1", "delay:8", "local_sgd:64", "data:0.5"])
def test_the_whole_dose_is_the_change(lever: str) -> None:
    found = at_dose(parse(lever), digits(), 1.0)
    assert found is not None
    assert found.apply(digits()) == parse(lever).apply(digits())


@pytest.mark.parametrize("lever", ["optimizer:sign", "clip:0.5"])
def test_levers_without_a_size_have_no_doses(lever: str) -> None:
    assert doses([parse(lever)], digits(), (0.5,)) == []


def test_doses_that_are_the_same_are_made_once() -> None:
    found = doses([parse("delay:2")], digits(), (0.1, 0.25, 0.5, 0.75))
    assert [one.text for one in found] == ["delay:1"]


def test_doses_of_several_levers_go_together() -> None:
    (found,) = doses([parse("batch:x16"), parse("lr:x4")], digits(), (0.5,))
    assert (found.recipe.batch, found.recipe.optimizer.lr) == (64, pytest.approx(0.1))


def test_switches_go_both_ways_and_restart_only_where_that_differs() -> None:
    base = digits().edit(budget={"updates": 100})
    variant = base.edit(optimizer__lr=0.01)
    lengths = {"baseline": 100, "variant": 100}
    found = switches({"baseline": base, "variant": variant}, lengths, (0.25,))
    assert [one.kind for one in found] == ["switch_off", "switch_on"]
    off, on = (one.recipe for one in found)
    assert off.optimizer == base.optimizer
    assert off.origin is not None
    assert off.origin.recipe.optimizer == variant.optimizer
    assert (off.origin.updates, off.origin.start, off.planned_end) == (25, 25, 100)
    assert on.optimizer == variant.optimizer
    cosine = base.edit(schedule={"name": "cosine", "warmup": 0.0})
    found = switches({"baseline": cosine, "variant": variant}, lengths, (0.25,))
    assert [one.restart for one in found] == [False, True, False]
    restarted = found[1].recipe
    assert restarted.origin is not None
    assert (restarted.origin.start, restarted.planned_updates, restarted.planned_end) == (0, 75, 100)


def test_switches_where_lengths_differ_take_shares_of_both() -> None:
    base = digits().edit(budget={"epochs": 4})
    variant = parse("batch:x4").apply(base)
    lengths = {"baseline": base.planned_updates, "variant": variant.planned_updates}
    off = switches({"baseline": base, "variant": variant}, lengths, (0.5,))[0].recipe
    assert off.origin is not None
    assert (off.origin.updates, off.origin.start) == (24, 100)
    assert off.planned_end == 124


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_switches_out_of_range_are_refused(share: float) -> None:
    with pytest.raises(BadInput, match="at"):
        switches({"baseline": digits(), "variant": digits()}, {"baseline": 9, "variant": 9}, (share,))


def test_several_kinds_of_lever_come_before_several_settings_of_one() -> None:
    change = parse("batch:x16,lr=sqrt")
    recipes = {"baseline": digits(), "variant": change.apply(digits())}
    settings = candidates([change], recipes, [], given=["ema:0.9"], most=64)
    found = forces(settings, {"top_eigenvalue", "trace"}, 4)
    assert found[0].text == "ema:0.9"
    kinds = [one.text.partition(":")[0] for one in found[1:]]
    assert len(set(kinds)) == 4
    assert "sam" in kinds


def seen(
    kind: str,
    back: tuple[float, float, float],
    gone: tuple[float, float, float],
    repair: bool = True,
    against: float | None = None,
) -> Forced:
    star = None if against is None else Interval(against, against - 0.1, against + 0.1, 9)
    made = [Interval(mean, low, high, 9) for mean, low, high in (back, gone)]
    return Forced(f"{kind}:1", kind, *made, repair, star)


BACK, STAYED, UNCLEAR = (0.9, 0.7, 1.1), (0.0, -0.2, 0.2), (0.5, -0.4, 1.4)


@pytest.mark.parametrize(
    ("forced", "word"),
    [
        ([seen("sam", BACK, BACK), seen("lr", BACK, BACK)], "caused by"),
        ([seen("sam", BACK, BACK), seen("lr", UNCLEAR, UNCLEAR)], "undecided"),
        ([seen("sam", BACK, BACK), seen("sam", BACK, BACK)], "undecided"),
        ([seen("sam", BACK, BACK), seen(CHANGE, BACK, BACK)], "undecided"),
        ([seen("sam", BACK, BACK), seen("lr", BACK, BACK, repair=False)], "undecided"),
        ([seen("sam", BACK, BACK), seen("lr", BACK, BACK), seen("ema", BACK, STAYED)], "accompanied by"),
        ([seen("sam", BACK, BACK), seen("lr", BACK, BACK), seen("ema", STAYED, BACK)], "accompanied by"),
        ([seen(CHANGE, STAYED, BACK)], "accompanied by"),
        ([seen("ema", BACK, STAYED, against=0.8)], "undecided"),
        ([seen("ema", BACK, STAYED, against=0.1)], "accompanied by"),
        ([seen("sam", STAYED, STAYED)], "undecided"),
        ([], "undecided"),
    ],
)
def test_the_rule_for_a_coordinate_that_moved(forced: Sequence[Forced], word: str) -> None:
    found = judge("trace", forced, moved=True)
    assert found.word == word
    assert found.because


def test_a_coordinate_beyond_the_baseline_is_not_the_whole_cause() -> None:
    beyond, part = (1.5, 1.2, 1.8), (0.7, 0.5, 0.9)
    both = judge("trace", [seen("sam", beyond, part), seen("lr", BACK, BACK)], moved=True)
    assert both.word == "caused by"
    assert both.because.endswith(
        "not the whole cause: sam:1 took it beyond the baseline, and part of the gap stayed"
    )
    for quiet in (
        seen("sam", beyond, (0.9, 0.7, 1.1)),
        seen("sam", (1.1, 0.9, 1.3), part),
        seen("sam", beyond, part, against=1.0),
        seen(CHANGE, beyond, part),
    ):
        assert "whole cause" not in judge("trace", [quiet, seen("lr", BACK, BACK)], moved=True).because


def test_what_did_not_move_is_not_related() -> None:
    assert judge("trace", [seen("sam", BACK, BACK)], moved=False).word == "not related"


def test_few_seeds_do_not_make_it_unrelated() -> None:
    wide = judge("trace", [], moved=False, still=False)
    assert wide.word == "undecided"
    assert "more seeds" in wide.because


def test_what_could_not_be_read_is_not_said_to_have_stayed() -> None:
    told = judge("trace", [seen(CHANGE, BACK, BACK)], moved=True).because
    assert "nothing is known" in told
    assert "nothing is known" in judge("trace", [], moved=True).because
    assert "brought it back" in judge("trace", [seen("sam", STAYED, STAYED)], moved=True).because


def test_slope_is_covered_and_exact() -> None:
    made = np.random.default_rng(1)
    sizes = [0.0, 0.25, 0.5, 1.0]
    inside = 0
    for _ in range(2000):
        own = made.normal(2.0, 1.0, 8)  # seeds differ in their slope
        rows = [size * own + made.normal(0, 0.5, 8) for size in sizes]
        found = slope(sizes, rows, PRINTED)
        assert found is not None
        inside += found.low <= 2.0 <= found.high
    assert 0.935 <= inside / 2000 <= 0.965
    exact = slope(sizes, [np.full(4, 3 * size + 1) for size in sizes], PRINTED)
    assert exact is not None
    assert exact.mean == pytest.approx(3.0)
    assert slope([0.0, 1.0], [np.zeros(4), np.ones(4)], PRINTED) is None


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """An audit with a gap, and its explanation; the folder of the task is the current one."""
    folder = tmp_path_factory.mktemp("explained")
    with contextlib.chdir(folder):
        yield explanation(folder)


def explanation(folder: Path) -> tuple[Path, str, dict[str, Any]]:
    shutil.copy(TASK, folder / "own.py")
    spec = spec_from(
        {
            "task": "own.py:task",
            "change": "lr:x0.5",
            "looks": 8,
            "tolerance": 1.0,
            "probes": "weight_norm,distance_from_init",
        }
    )
    with Store(folder / "store") as store:
        audit = run_audit(spec, store, Options(workers=0))
        assert audit.verdict.name in ("optimization", "mixed")
        asked = explain_spec({"at": (0.5,), "doses": (0.5,), "only": ("lr:x2",)})
        found = run_explain(store.find_study(audit.study), asked, store, Options(workers=0))
    return folder, audit.study, found.result


def test_an_explanation_says_what_undoing_the_change_does(
    explained: tuple[Path, str, dict[str, Any]],
) -> None:
    result = explained[2]
    by_kind = {one["kind"]: one for one in result["interventions"]}
    assert list(by_kind) == ["switch_off", "switch_on", "dose", "force"]
    assert 0.2 < by_kind["switch_off"]["recovered"]["mean"] <= 1.2
    assert by_kind["dose"]["text"].startswith("lr:x0.707")
    assert by_kind["force"]["recovered"]["mean"] > 0.9
    assert by_kind["force"]["arm"]["cost"]["updates"] == 120
    assert [one["dose"] for one in result["dose_response"]["doses"]] == [0.0, 0.5, 1.0]
    assert result["dose_response"]["gap_slope"]["low"] > 0
    assert [arm["name"] for arm in result["arms"]] == ["baseline", "variant"]
    json.dumps(result, allow_nan=False)


def test_the_same_question_gives_the_same_answer_from_the_store(
    explained: tuple[Path, str, dict[str, Any]],
) -> None:
    folder, audit, before = explained
    asked = explain_spec({"at": (0.5,), "doses": (0.5,), "only": ("lr:x2",)})
    with Store(folder / "store") as store:
        again = run_explain(store.find_study(audit), asked, store, Options(workers=0)).result
        assert without_times(again) == without_times(before)
        from algobias.report.build import write_report

        text = write_report(store, str(again["study"])).read_text(encoding="utf-8")
    assert "Cause by intervention" in text
    assert "Switching it off brings back this part of the gap" in text


def test_an_audit_without_a_gap_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(TASK, tmp_path / "own.py")
    spec = spec_from({"task": f"{tmp_path}/own.py:task", "aa": True, "looks": 4, "tolerance": 30.0})
    with Store(tmp_path / "store") as store:
        audit = run_audit(spec, store, Options(workers=0))
        with pytest.raises(BadInput, match="no gap to explain"):
            run_explain(store.find_study(audit.study), explain_spec({}), store, Options(workers=0))


@pytest.mark.parametrize(
    ("given", "field"),
    [({"at": (0.0,)}, "at"), ({"doses": (9.0,)}, "doses"), ({"seeds": 2}, "seeds"), ({"most": 0}, "most")],
)
def test_bad_questions_name_the_field(given: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput, match=field):
        explain_spec(given)


def test_error_levels_are_those_of_the_study() -> None:
    assert isinstance(error_levels((9,)), Errors)
