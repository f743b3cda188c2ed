"""What a user may ask of a control study: levers fixed, forbidden, named; how many; on which seeds."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from algobias.controls.forecast_rows import staying
from algobias.controls.spec import control_spec
from algobias.errors import BadInput
from algobias.kept.store import Store
from algobias.levers.registry import parse
from algobias.recipe import Recipe
from algobias.running.spec import StudySpec
from algobias.tasks.registry import load_task
from algobias.treatments.candidates import Setting, candidates
from algobias.treatments.gathered import FIXED
from algobias.treatments.seeds import BLOCK, CONFIRMATION_OFFSET, fresh_seeds, selection_seed

CHANGE = "batch:x16,lr=sqrt"


def tried(**asked: Any) -> tuple[Setting, ...]:
    baseline = load_task("digits").recipe()
    recipes: dict[str, Recipe] = {"baseline": baseline, "variant": parse(CHANGE).apply(baseline)}
    return candidates([parse(CHANGE)], recipes, [], **asked)


def test_every_setting_has_what_is_fixed() -> None:
    plain, found = tried(), tried(fix=["clip:1"])
    assert found[0].text == "clip:1"
    assert found[0].why == FIXED
    for one in found:
        for recipe in (one.variant, one.baseline):
            assert sum(part.name == "clip" for part in recipe.parts) == 1
    composed = {one.text for one in found[1:]}
    assert {"clip:1+sam:0.1", "clip:1+lr:x0.5"} <= composed
    assert composed == {f"clip:1+{one.text}" for one in plain}
    assert all("clip" not in one.text.removeprefix("clip:5+") for one in tried(fix=["clip:5"])[1:])
    with pytest.raises(BadInput, match=r"leaves what is fixed as it is .with clip.bound=1.0"):
        tried(fix=["clip:1"], given=["clip:5"])


def test_several_levers_can_be_fixed_and_one_setting_tried() -> None:
    found = tried(fix=["clip:1", "sam:0.1"], only=["lr:x2"])
    assert [one.text for one in found] == ["clip:1+sam:0.1", "clip:1+sam:0.1+lr:x2"]
    assert [lever.name for lever in found[1].levers] == ["clip", "sam", "lr"]


def test_a_relative_lever_that_is_fixed_is_not_undone() -> None:
    half = tried(fix=["lr:x0.5"])
    rates = {one.variant.optimizer.lr for one in half}
    assert len(rates) == 1
    with pytest.raises(BadInput, match=r"leaves what is fixed as it is \(optimizer.lr: 0.2 -> 0.1\)"):
        tried(fix=["lr:x0.5"], given=["lr:x4"])


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"fix": ["lr:x1"]},
            "fix: 'lr:x1' .* a lever that changes the variant's recipe",
        ),
        ({"fix": ["clp:1"]}, "did you mean 'clip'"),
        ({"fix": ["sam:0.1"], "forbid": ["sam"]}, "forbid: 'sam' .* not in sam:0.1, which is fixed"),
        ({"forbid": ["sma"]}, "forbid: 'sma' .*did you mean 'sam'"),
        ({"given": ["clip:1", "clip:2", "clip:3"], "most": 2}, "most: 2 .* at least 3: so many settings"),
        ({"fix": ["sam:0.1"], "only": ["clip:1"], "most": 1}, "most: 1 .* at least 2"),
    ],
)
def test_what_cannot_be_asked_is_told(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        tried(**asked)


def test_how_many_settings_are_tried() -> None:
    assert len(tried(most=3)) == 3
    many = [f"clip:{k}" for k in range(1, 21)]
    assert [one.text for one in tried(given=many)] == many  # all that were named, and nothing besides
    assert len(tried(given=many[:2])) <= 16
    assert [one.text for one in tried(given=many[:2], most=3)][:2] == many[:2]


@pytest.mark.parametrize("settings", [1, 2, 3, 5, 11, 16, 33])
@pytest.mark.parametrize("limits", [1, 2])
def test_the_plan_counts_no_setting_twice(settings: int, limits: int) -> None:
    counts = staying(settings, 3, limits)
    assert counts[0] == settings
    assert all(1 <= later <= earlier for earlier, later in itertools.pairwise(counts))


def test_names_may_be_separated_by_commas() -> None:
    asked = control_spec({"forbid": ["lr, sam", "clip"], "keep": "updates,bytes_sent", "looks": "4,6"})
    assert asked.forbid == ("lr", "sam", "clip")
    assert asked.keep == ("updates", "bytes_sent")
    assert asked.looks == (4, 6)
    assert control_spec({"keep": "none"}).keep == ()
    assert control_spec({"looks": 20}).looks == (20,)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"keep": "update"}, "keep: 'update' .*did you mean 'updates'"),
        ({"rungs": "4,4"}, "rungs: .* increasing numbers of seeds"),
        ({"rungs": "4,x"}, "rungs.1: 'x'"),
        ({"most": 0}, "most: 0"),
        ({"looks": "1"}, "looks: .* the first at least 2"),
        ({"fix": ["sam:0.1..0.2"]}, "fix: 'sam:0.1..0.2' .* without a range"),
        ({"device": "cud"}, "device: 'cud' .* cpu, cuda or cuda:N"),
        ({"seed": -1}, "seed: -1"),
        ({"loks": (4,)}, "loks: 'loks' .*did you mean 'looks'"),
        ({"trials": 4}, "trials: 4 .* at least one setting with a range"),
    ],
)
def test_bad_questions_are_told_with_the_name_of_the_field(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput, match=f"^{field}"):
        control_spec(asked)


AUDIT, OTHER = "a0d100000000", "07e400000000"


def test_every_control_study_of_an_audit_is_confirmed_on_seeds_of_its_own(tmp_path: Path) -> None:
    question = StudySpec(task="digits", change=(CHANGE,), seed=7)

    def begin(store: Store, study: str, seed: int = 7, audit: str = AUDIT) -> tuple[int, int]:
        asked = question.model_copy(update={"seed": seed})
        fresh = fresh_seeds(store, study, store.find_study(audit), asked)
        saved = {**asked.model_dump(mode="json"), "control_of": audit}
        saved |= {"confirmation_seed": fresh.first, "earlier_studies": fresh.earlier}
        store.save_study(study, saved)
        return fresh.first, fresh.earlier

    with Store(tmp_path) as store:
        for audit in (AUDIT, OTHER):
            store.save_study(audit, question.model_dump(mode="json"))
        first = begin(store, "aaaaaaaaaaaa")
        assert first == (7 + CONFIRMATION_OFFSET, 0)
        assert begin(store, "bbbbbbbbbbbb") == (7 + CONFIRMATION_OFFSET + BLOCK, 1)
        assert begin(store, "aaaaaaaaaaaa") == first  # goes on as it began
        assert begin(store, "cccccccccccc", audit=OTHER) == first
        assert begin(store, "dddddddddddd", seed=7 + BLOCK) == (7 + CONFIRMATION_OFFSET + 2 * BLOCK, 2)
        store.remove_study("bbbbbbbbbbbb")
        blocks = [first[0], 7 + CONFIRMATION_OFFSET + 2 * BLOCK]
        found, earlier = begin(store, "eeeeeeeeeeee")
        assert earlier == 2
        assert all(abs(found - other) >= BLOCK for other in blocks)
    assert selection_seed(question) + BLOCK <= first[0]


def test_seeds_of_older_studies_and_of_the_audit_are_kept_away_from(tmp_path: Path) -> None:
    question = StudySpec(task="digits", change=(CHANGE,), seed=0)
    with Store(tmp_path) as store:
        store.save_study(AUDIT, question.model_dump(mode="json"))
        # begun by a version that did not write its seeds down
        store.save_study("01d000000000", {**question.model_dump(mode="json"), "control_of": AUDIT})
        found = fresh_seeds(store, "4e3000000000", store.find_study(AUDIT), question)
        assert found.first == CONFIRMATION_OFFSET + BLOCK
        far = question.model_copy(update={"seed": CONFIRMATION_OFFSET})
        store.save_study("fa4000000000", far.model_dump(mode="json"))
        found = fresh_seeds(store, "4e3e00000000", store.find_study("fa4000000000"), question)
        assert found.first == CONFIRMATION_OFFSET + BLOCK
