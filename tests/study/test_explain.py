"""Interventions and what they support: doses, transplants, the rule for coordinates, a whole explanation."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_control_study import TASK
from test_kill import without_times

from algobias.coordinates.evidence import Forced, judge, slope
from algobias.errors import BadInput
from algobias.explanations.run import run_explain
from algobias.explanations.spec import explain_spec
from algobias.inference.levels import Errors, error_levels
from algobias.inference.statistics import Interval
from algobias.kept.store import Store
from algobias.levers.registry import parse
from algobias.recipe import Recipe
from algobias.running.spec import spec_from
from algobias.running.trainer import Options
from algobias.studies.audit import run_audit
from algobias.tasks.registry import load_task
from algobias.treatments.candidates import candidates
from algobias.treatments.interventions import doses, forces, switches

PRINTED = 0.025


def digits() -> Recipe:
    return load_task("digits").recipe()


@pytest.mark.parametrize("lever", ["optimizer:sign", "clip:0.5", "schedule:cosine"])
def test_levers_without_a_size_have_no_doses_and_say_why(lever: str) -> None:
    found = doses([parse(lever)], digits(), (0.5,))
    assert found.made == ()
    ((size, why),) = found.left_out
    assert size is None
    assert why.startswith(f"{lever}: ")


def test_a_change_has_no_doses_where_one_of_its_levers_has_none() -> None:
    """At none of it the other optimizer would still be there: the slope would not start at the baseline."""
    found = doses([parse("optimizer:adam,lr=0.001"), parse("batch:x16")], digits(), (0.25, 0.5))
    assert found.made == ()
    assert found.left_out[0][1].startswith("optimizer:adam,lr=0.001: another optimizer is a choice")


@pytest.mark.parametrize("spelling", ["budget:x0.2", "budget:epochs=8", "budget:updates=400"])
def test_every_spelling_of_a_change_has_its_doses(spelling: str) -> None:
    found = doses([parse(spelling)], digits(), (0.25, 0.5, 0.75))
    lengths = [one.recipe.planned_updates for one in found.made]
    assert lengths == pytest.approx([2000 * 0.2**share for share in (0.25, 0.5, 0.75)], rel=0.005)


def test_doses_that_are_the_same_are_made_once_and_the_others_said() -> None:
    found = doses([parse("delay:2")], digits(), (0.1, 0.25, 0.5, 0.75, 1, 2))
    assert [(one.dose, one.text) for one in found.made] == [(0.5, "delay:1"), (2, "delay:4")]
    assert found.left_out == (
        (0.1, "the same as the baseline"),
        (0.25, "the same as the baseline"),
        (0.75, "the same as the variant"),
        (1, "the same as the variant"),
    )
    ((size, why),) = doses([parse("label_noise:0.5")], digits(), (4,)).left_out
    assert size == 4
    assert "label_noise: 2.0 is not possible" in why


def test_doses_of_several_levers_go_together() -> None:
    (found,) = doses([parse("batch:x16"), parse("lr:x4")], digits(), (0.5,)).made
    assert (found.recipe.batch, found.recipe.optimizer.lr) == (64, pytest.approx(0.1))


def test_a_lever_that_rounds_to_nothing_is_left_out_of_a_dose_and_not_put_in_whole() -> None:
    (found,) = doses([parse("delay:1"), parse("lr:x0.1")], digits(), (0.25,)).made
    assert found.text == "delay:0 then lr:x0.562"


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
    found = forces(settings, recipes["variant"], {"top_eigenvalue", "trace"}, 4)
    assert found[0].text == "ema:0.9"
    assert found[0].members == {"ema", "parts.ema"}
    kinds = [one.members for one in found[1:]]
    assert len(kinds) == 4
    for number, one in enumerate(kinds):
        assert not any(one & other for other in kinds[:number])
    assert {"sam", "parts.sam"} in kinds


def test_levers_that_set_the_same_number_are_of_one_kind() -> None:
    base = parse("optimizer:sgd,lr=0.5,momentum=0").apply(digits())
    change = parse("delay:8")
    recipes = {"baseline": base, "variant": change.apply(base)}
    only = ["match_stability", "match_stability+clip:1", "lr:x0.1", "clip:1", "optimizer:sgd,lr=0.1"]
    settings = candidates([change], recipes, [], only=only)
    found = {one.text: one.members for one in forces(settings, recipes["variant"], set(), 4)}
    rate = {"match_stability", "match_stability+clip:1", "lr:x0.1", "optimizer:sgd,lr=0.1"}
    for one, other in combinations(only, 2):
        shared = {one, other} <= rate or {one, other} == {"match_stability+clip:1", "clip:1"}
        assert bool(found[one] & found[other]) == shared, (one, other)


def test_a_lever_that_undoes_the_change_forces_nothing_back() -> None:
    change = parse("lr:x0.5")
    recipes = {"baseline": digits(), "variant": change.apply(digits())}
    settings = candidates([change], recipes, [], given=["lr:x2", "lr:x2+sam:0.1", "sam:0.3"], most=64)
    found = {one.text: one for one in forces(settings, recipes["variant"], set(), 64)}
    assert found["lr:x2"].members == found["lr:x2+sam:0.1"].members == frozenset()
    assert str(found["lr:x2"].undoes).startswith("it undoes the change")
    assert found["sam:0.3"].members == {"sam", "parts.sam"}
    assert all(one.undoes is None for text, one in found.items() if not text.startswith("lr:x2"))


def seen(
    kind: str,
    back: tuple[float, float, float],
    gone: tuple[float, float, float],
    repair: bool = True,
    against: float | None = None,
) -> Forced:
    star = None if against is None else Interval(against, against - 0.1, against + 0.1, 9)
    made = [Interval(mean, low, high, 9) for mean, low, high in (back, gone)]
    members = frozenset(kind.split("+")) - {CHANGE}
    return Forced(f"{kind}:1", members, *made, repair, star)


CHANGE = "the change"


BACK, STAYED, UNCLEAR = (0.9, 0.7, 1.1), (0.0, -0.2, 0.2), (0.5, -0.4, 1.4)


@pytest.mark.parametrize(
    ("forced", "word"),
    [
        ([seen("sam", BACK, BACK), seen("lr", BACK, BACK)], "caused by"),
        ([seen("sam", BACK, BACK), seen("lr", UNCLEAR, UNCLEAR)], "undecided"),
        ([seen("sam", BACK, BACK), seen("sam", BACK, BACK)], "undecided"),
        ([seen("rule", BACK, BACK), seen("rule+clip", BACK, BACK)], "undecided"),
        ([seen("rule+lr", BACK, BACK), seen("lr", BACK, BACK), seen("lr+clip", BACK, BACK)], "undecided"),
        ([seen("rule", BACK, BACK), seen("rule+clip", BACK, BACK), seen("clip", BACK, BACK)], "caused by"),
        ([seen("a+b", BACK, BACK), seen("a+c", BACK, BACK), seen("b+d", BACK, BACK)], "caused by"),
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


def test_one_piece_of_evidence_says_what_its_levers_share() -> None:
    told = judge("trace", [seen("rule", BACK, BACK), seen("rule+clip", BACK, BACK)], moved=True).because
    assert told == (
        "it came back with generalisation under rule:1 and rule+clip:1 only, which share rule and so are one "
        "piece of evidence: a lever of another kind would decide"
    )
    alone = judge("trace", [seen("rule", BACK, BACK)], moved=True).because
    assert alone == "it came back with generalisation under rule:1 only: a lever of another kind would decide"


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
        from algobias.studies.reports import write_report

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
