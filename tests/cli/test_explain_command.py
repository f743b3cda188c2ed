"""``algobias explain`` as a command: the result object, what it may cost, bad input."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from algobias.kept.store import Store
from algobias.running.spec import spec_from
from algobias.running.trainer import Options
from algobias.studies.audit import run_audit

TASK = """
from algobias import Task
import torch
from torch import nn
from torch.nn.functional import cross_entropy

made = torch.Generator().manual_seed(0)
x = torch.randn(300, 6, generator=made)
y = (x[:, 0] * x[:, 1] > 0).long()

task = Task("product", (x[:80], y[:80]), (x[80:], y[80:]),
            lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2)),
            lambda model, batch: cross_entropy(model(batch[0]), batch[1]),
            lambda model, batch: 100.0 * (model(batch[0]).argmax(-1) == batch[1]),
            {"lr": 0.3, "batch": 10, "updates": 120}, trivial=50.0)
"""
QUESTION = {"task": "own.py:task", "change": "lr:x0.5", "looks": 6, "tolerance": 2.0}
ASKED = ("--at", "0.5", "--doses", "0.5", "--only", "lr:x3", "--workers", "0", "--store", "store")
KEYS = {
    "schema", "study", "task", "change", "verdict", "reason", "gap", "fit", "arms", "moved", "controls",
    "readings", "explain_of", "interventions", "dose_response", "doses_left_out", "statements", "store",
    "report", "seconds",
}  # fmt: skip
INTERVENTION = {
    "kind", "text", "at", "restart", "dose", "place", "reason", "gap", "recovered",
    "against_treated_baseline", "returned", "arm", "members", "undoes",
}  # fmt: skip
PLAN = {
    "schema", "task", "change", "explain_of", "looks", "workers", "arms", "readings", "worst_case_updates",
    "worst_case_seconds", "worst_case_bytes",
}  # fmt: skip


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task, and a store with an audit without a gap and, used last, one with a gap."""
    folder = tmp_path_factory.mktemp("explain")
    (folder / "own.py").write_text(TASK)
    with pytest.MonkeyPatch.context() as patch, Store(folder / "store") as store:
        patch.chdir(folder)
        for edit in ({"tolerance": 90.0}, {"probes": "weight_norm"}):
            spec = spec_from({"probes": "none", **QUESTION, **edit})
            run_audit(spec, store, Options(workers=0))
    return folder


def contents(folder: Path) -> tuple[Any, ...]:
    """Every row of the store's tables, and the files beside them."""
    with sqlite3.connect(folder / "store" / "store.sqlite") as found:
        tables = [row[0] for row in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {table: found.execute(f"SELECT * FROM {table}").fetchall() for table in sorted(tables)}
    files = sorted(str(path) for path in (folder / "store").rglob("*") if "sqlite" not in path.name)
    return rows, files


@pytest.fixture
def there(run, audited: Path, monkeypatch: pytest.MonkeyPatch):
    """``run`` in the folder of the audits."""
    monkeypatch.chdir(audited)
    return run


def test_a_plan_trains_nothing_and_leaves_the_store_as_it_was(there, audited):
    before = contents(audited)
    found = there("explain", "last", *ASKED, "--plan", "--json")
    assert found.code == 0, found.err
    plan = found.json
    assert plan.keys() >= PLAN
    assert plan["looks"] == [6]
    arms = {arm["name"]: arm for arm in plan["arms"]}
    assert list(arms) == [
        "variant", "variant+off after 50 %", "variant+on after 50 %", "variant+lr:x0.707", "variant+lr:x3",
        "baseline+lr:x3",
    ]  # fmt: skip
    assert {arm["seeds"] for arm in arms.values()} == {6}
    assert {arm["updates"] for arm in arms.values()} == {120}
    assert arms["variant"]["worst_case_updates"] == 7 * 120, "the audit has the planned runs"
    assert arms["variant+lr:x3"]["worst_case_updates"] == 120, "compared at the planned end"
    told = sum(arm["worst_case_updates"] * arm["seeds"] for arm in arms.values())
    assert plan["worst_case_updates"] == told
    assert plan["worst_case_seconds"] > 0
    assert plan["worst_case_bytes"] > 0
    shown = there("explain", "last", *ASKED, "--plan")
    assert (shown.code, shown.out) == (0, "")
    assert "off after 50 %" in shown.err
    assert "Nothing is trained" in shown.err
    assert contents(audited) == before


STUDY = "explain", "last", "--store", "store"


@pytest.mark.parametrize("plan", [(), ("--plan",)], ids=["run", "plan"])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--at", "1.5"), "--at: 1.5 is not possible; allowed: shares of the planned updates, above 0 and"),
        (("--at", "0.5,x"), "--at: '0.5,x' is not possible; allowed: numbers separated by commas, or none"),
        (("--at", "nan"), "--at: nan is not possible"),
        (("--doses", "x"), "--doses: 'x' is not possible; allowed: numbers separated by commas, or none"),
        (("--doses", "0.5,9"), "--doses: 9.0 is not possible; allowed: sizes of the change, above 0 and at"),
        (
            ("--force", "nosuchlever"),
            "lever: 'nosuchlever' is not possible (did you mean 'schedule'?); allowed: accumulate,",
        ),
        (("--force", "bacth:x2"), "(did you mean 'batch'?)"),
        (("--force", "sam:x"), "sam: 'x' is not possible"),
        (("--force", "lr:x1"), "--force: 'lr:x1' is not possible; allowed: a lever that changes the variant"),
        (("--only", "lr:x1"), "--only: 'lr:x1' is not possible; allowed: a lever that changes the variant's"),
        (
            ("--only", "batch:4096"),
            "batch: '4096' is not possible; allowed: at most the 80 training examples",
        ),
        (("--seeds", "2"), "Invalid value for '--seeds'"),
        (("--most", "0"), "Invalid value for '--most'"),
        (("--seed", "3"), "No such option: --seed"),
        (("--device", "cuda"), "No such option: --device"),
    ],
)
def test_bad_options_are_named_and_nothing_is_stored(there, refused, audited, words, says, plan):
    before = contents(audited)
    refused(*STUDY, *words, *plan, says=says)
    assert contents(audited) == before


def test_studies_that_cannot_be_explained(there, refused, audited):
    before = contents(audited)
    without_gap = next(row[0] for row in before[0]["studies"] if json.loads(row[4])["tolerance"] == 90.0)
    refused(
        "explain", "zzz", "--store", "store", says="study: 'zzz' is not possible; allowed: last, or an id"
    )
    near = without_gap[:-1] + ("0" if without_gap[-1] != "0" else "1")
    refused("explain", near, "--store", "store", says=f"(did you mean {without_gap!r}?)")
    says = f"study: '{without_gap} (no_gap)' is not possible; allowed: an audit that ended bias, mixed"
    refused("explain", without_gap, "--store", "store", says=says)
    refused("explain", without_gap, "--store", "store", "--plan", says=says)
    refused("explain", without_gap, "--store", "store", says="the newest that would do: ")
    assert contents(audited) == before


def test_no_store_yet(refused):
    refused("explain", says="which has none yet")


def test_what_undoes_the_change_and_what_has_no_dose_is_said(there, audited):
    undoes = "it undoes the change: the treated variant is the baseline"
    words = ("explain", "last", "--at", "0.5", "--doses", "0.5,1", "--only", "lr:x2", "--seeds", "4")
    words += ("--workers", "0", "--store", "store")
    plan = there(*words, "--plan", "--json").json
    same = {"dose": 1.0, "reason": "the same as the variant"}
    assert plan["remarks"] == [f"lr:x2: {undoes}", "no dose of 1: the same as the variant"]
    assert plan["doses_left_out"] == [same]
    shown = " ".join(there(*words, "--plan").err.split())
    assert f"lr:x2: {undoes}" in shown
    found = there(*words, "--json")
    assert found.code == 0, found.err
    (forced,) = (one for one in found.json["interventions"] if one["kind"] == "force")
    assert (forced["undoes"], forced["members"]) == (undoes, [])
    assert forced["gap"]["mean"] == 0.0
    assert forced["against_treated_baseline"]["mean"] is None
    assert found.json["doses_left_out"] == [same]
    assert all(one["word"] != "caused by" for one in found.json["statements"])
    told = " ".join(found.err.replace("\u2502", " ").split())
    assert undoes in told
    assert "No dose of 1: the same as the variant." in told


def test_an_audit_is_explained(there, audited):
    found = there("explain", "last", *ASKED, "--json")
    assert found.code == 0, found.err
    assert "Cause by intervention" in found.err
    result = found.json
    assert result.keys() >= KEYS
    assert [one["kind"] for one in result["interventions"]] == ["switch_off", "switch_on", "dose", "force"]
    assert all(one.keys() == INTERVENTION for one in result["interventions"])
    assert result["dose_response"].keys() == {"doses", "place", "gap_slope", "coordinates"}
    for one in result["statements"]:
        assert one.keys() == {"coordinate", "word", "because", "forced"}
    assert (audited / result["report"]).stat().st_size < 2_000_000
    audit = result["explain_of"]
    again = there("explain", result["study"], *ASKED, "--json", "--quiet")
    assert again.err == ""
    assert again.json["explain_of"] == audit, "an explanation stands for the audit that it is of"
    assert again.json["interventions"] == result["interventions"]
