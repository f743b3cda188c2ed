"""``algobias control`` as a user types it: answers, plan, refusals, and what is left behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from algobias import audit
from algobias.kept.store import Store

TASK = Path(__file__).parents[1] / "product_task.py"
QUICK = ("--keep", "none", "--rungs", "2,3", "--looks", "3", "--workers", "0")
KEYS = {
    "control_of",
    "chosen",
    "tried",
    "tuned_baseline",
    "confirmation",
    "seeds",
    "earlier_studies",
    "controls",
    "store",
    "report",
    "seconds",
}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an audit that found a gap, of a small task of the user's own."""
    folder = tmp_path_factory.mktemp("audited")
    shutil.copy(TASK, folder / "product.py")
    audit(
        f"{folder / 'product.py'}:task",
        "budget:x0.1",
        tolerance=2,
        looks=4,
        probes="none",
        store=folder / ".algobias",
        workers=0,
    )
    return folder


@pytest.fixture
def audited(once: Path, tmp_path: Path) -> Path:
    """The same in a folder that may be written to."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.wide
def test_two_answers_one_after_the_other(run, audited: Path) -> None:
    first = run("control", "last", "--only", "lr:0.6", "--only", "budget:x4", *QUICK, "--json")
    assert first.code == 0, first.err
    found = first.json
    assert found.keys() >= KEYS
    assert {entry["lever"] for entry in found["tried"]} == {"lr:0.6", "budget:x4"}
    assert found["chosen"][0]["lever"] == "budget:x4"
    assert found["chosen"][0]["tuned_gap"]["at"] == "planned_end"
    assert found["earlier_studies"] == 0
    page = Path(found["report"]).read_text(encoding="utf-8")
    assert "The recipe to copy" in page
    assert "minus this variant" in page
    assert "had been begun before" not in page
    # asked of the control study, the question is about its audit
    second = run("control", "last", "--only", "lr:0.6", "--fix", "budget:x4", *QUICK, "--json")
    assert second.code == 0, second.err
    again = second.json
    assert again["control_of"] == found["control_of"]
    assert {entry["lever"] for entry in again["tried"]} == {"budget:x4", "budget:x4+lr:0.6"}
    assert again["earlier_studies"] == 1
    assert "A control study of this audit had been begun before" in " ".join(second.err.split())
    used = [
        set(range(one["seeds"]["confirmation"][0], sum(one["seeds"]["confirmation"])))
        for one in (found, again)
    ]
    assert not used[0] & used[1]
    # the same question again is the same study, answered as it was
    third = run("control", "last", "--only", "lr:0.6", "--only", "budget:x4", *QUICK, "--json").json
    assert third["study"] == found["study"]
    assert third["chosen"] == found["chosen"]
    assert third["seeds"] == found["seeds"]


UNDOES = "it undoes the change: the treated variant is the baseline"


def test_a_candidate_that_undoes_the_change_is_no_repair(run, audited: Path) -> None:
    """Ten times the updates of a tenth: R is 1 by construction, and nothing was repaired."""
    plan = run("control", "last", "--plan", "--workers", "1", "--candidate", "budget:x10", *QUICK[:2])
    assert f"budget:x10: {UNDOES}" in " ".join(plan.err.split())
    done = run("control", "last", "--only", "budget:x10", *QUICK, "--json")
    assert done.code == 0, done.err
    found = done.json
    (tried,) = found["tried"]
    (control,) = found["controls"]
    assert [tried["undoes"], control["undoes"], found["chosen"][0]["undoes"]] == [UNDOES] * 3
    assert control["treated_gap"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 3}
    assert control["verdict"] == "recovered"
    assert [control["general"], found["chosen"][0]["general"]] == [None, None]
    told = " ".join(done.err.replace("\u2502", " ").split())
    assert f"But {UNDOES}." in told
    assert f"no repair: {UNDOES}" in told
    assert "a repair:" not in told.replace("no repair:", "")
    page = " ".join(Path(found["report"]).read_text(encoding="utf-8").split())
    assert f"But {UNDOES}." in page
    assert f"no repair: {UNDOES}" in page
    assert "It is a repair" not in page


def test_an_audit_names_a_control_that_undoes_the_change(run, audited: Path) -> None:
    words = ("audit", "product.py:task", "--change", "lr:x0.1", "--tolerance", "2", "--looks", "3")
    asked = (*words, "--probes", "none", "--workers", "0", "--control", "lr:x10", "--control", "lr:x5")
    assert f"lr:x10: {UNDOES}" in " ".join(run(*asked, "--plan").err.split())
    found = run(*asked, "--json").json
    assert [one["undoes"] for one in found["controls"]] == [UNDOES, None]
    assert found["controls"][0]["general"] is None
    assert found["controls"][0]["treated_gap"]["mean"] == 0.0


def test_the_plan_trains_nothing(run, audited: Path) -> None:
    before = contents(audited)
    told = run("control", "last", "--plan", "--forbid", "lr,ema", "--workers", "1")
    assert told.code == 0, told.err
    flat = " ".join(told.err.split())
    assert "Nothing is trained" in flat
    assert "search: sam:0.1, both arms" in flat
    assert "arm seeds updates per seed time" in flat
    assert "lr:" not in flat
    plan = run("control", "last", "--plan", "--json", "--workers", "1", "--only", "sam:0.05..0.2").json
    assert plan["settings"] == ["sam:0.05", "sam:0.0794", "sam:0.126", "sam:0.2"]
    assert plan["rungs"] == [4, 8, 16]
    for total in ("worst_case_updates", "worst_case_seconds", "worst_case_bytes"):
        assert plan[total] > 0
    assert contents(audited) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--keep", "update"), "keep: 'update'"),
        (("--keep", "update"), "did you mean 'updates'"),
        (("--forbid", "lr,sma"), "forbid: 'sma' is not possible"),
        (("--forbid", "lr,sma"), "did you mean 'sam'"),
        (("--fix", "clpi:1"), "did you mean 'clip'"),
        (("--fix", "clip:1", "--forbid", "clip"), "a lever that is not in clip:1, which is fixed"),
        (
            ("--fix", "sam:0.1..0.2"),
            "fix: 'sam:0.1..0.2' is not possible; allowed: a setting without",
        ),
        (("--candidate", "sam:0.4..0.1"), "LOW..HIGH with 0 < LOW < HIGH"),
        (
            ("--only", "clip:1", "--only", "clip:2", "--most", "1"),
            "most: 1 is not possible; allowed: at least 2",
        ),
        (("--only", "budget:x0.1", "--fix", "budget:x2"), "leaves what is fixed as it is"),
        (("--trials", "3"), "trials: 3 is not possible"),
        (("--rungs", "4,x"), "rungs.1: 'x' is not possible"),
        (("--looks", "1"), "the first at least 2"),
        (("--device", "gpu"), "device: 'gpu' is not possible; allowed: cpu, cuda or cuda:N"),
        (("--max-time", "-1"), "--max-time"),
    ],
)
def test_refused_with_what_is_allowed(refused, audited: Path, words, says) -> None:
    before = contents(audited)
    refused("control", "last", *words, says=says)
    assert contents(audited) == before


def test_a_study_that_is_not_there_or_has_no_gap(run, refused, audited: Path) -> None:
    refused("control", "nowhere", says="study: 'nowhere' is not possible")
    words = ("audit", "product.py:task", "--change", "lr:x1", "--tolerance", "2", "--looks", "2")
    assert run(*words, "--quiet").code == 0
    refused("control", "last", says="there is no gap to explain or to bring back")


def contents(folder: Path) -> tuple[list[str], set[Path]]:
    """Studies of the store, and the folders of its runs."""
    with Store(folder / ".algobias") as store:
        studies = [f"{row.id} {row.status}" for row in store.studies()]
    return studies, set((folder / ".algobias" / "runs").glob("*/*/*"))
