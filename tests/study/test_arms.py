"""From levers to arms: what rules say of themselves, and controls that leave the baseline as it is."""

from __future__ import annotations

import pytest

from algobias.console.terminal import plan_panel
from algobias.errors import BadInput
from algobias.kept.store import Store
from algobias.running.arms import build_arms
from algobias.running.spec import spec_from
from algobias.runs.progress import Progress
from algobias.studies.audit import run_audit
from algobias.studies.forecast import forecast
from algobias.tasks.registry import load_task

PLAIN = "optimizer:sgd,lr=0.5,momentum=0"


def arms(**given):
    spec = spec_from({"task": "digits", "base": [PLAIN], "probes": "none", **given})
    return build_arms(spec, load_task("digits"))


def test_rules_say_what_they_set(capsys) -> None:
    from rich.console import Console

    made = arms(change=["delay:8"], control=["match_stability", "delay:8,lr=rule,momentum=0", "sam:0.1"])
    assert made.derivations == (
        "match_stability: lr = 0.5 x 0.184537 / 2 = 0.0461342 (critical products)",
        "delay:8,lr=rule,momentum=0: lr = 0.5 x sin(pi / 34) = 0.0461342",
    )
    plan = forecast(made, workers=1).to_json()
    assert plan["derivations"] == list(made.derivations)
    Console(width=120).print(plan_panel(plan))
    assert "sin(pi / 34)" in capsys.readouterr().out


ADAM = "optimizer:adam,lr=0.001"


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (
            {"change": ["compress:sign", "compress:topk,fraction=0.2"]},
            ["compress:topk,fraction=0.2 replaces compress:sign"],
        ),
        (
            {"change": [ADAM, "optimizer:sgd,lr=0.1"]},
            [f"optimizer:sgd,lr=0.1 replaces {ADAM}"],
        ),
        (
            {"change": [ADAM, "optimizer:sgd"]},  # the rate stays
            [f"optimizer:sgd replaces optimizer.name of {ADAM}"],
        ),
        ({"base": [PLAIN, ADAM], "change": ["clip:1"]}, [f"{ADAM} replaces optimizer.lr of {PLAIN}"]),
        ({"change": ["lr:0.1", "clip:1", "lr:0.2"]}, ["lr:0.2 replaces lr:0.1"]),
        ({"change": ["lr:0.1", "lr:0.2", "lr:0.3"]}, ["lr:0.2 replaces lr:0.1", "lr:0.3 replaces lr:0.2"]),
        ({"change": ["delay:8"], "control": ["delay:4"]}, ["delay:4 replaces delay:8"]),
        ({"change": ["batch:x2"], "control": ["clip:1+clip:2"]}, ["clip:2 replaces clip:1"]),
        ({"change": ["lr:0.1"], "control": ["lr:0.2+clip:1"]}, ["lr:0.2 replaces lr:0.1"]),
        # what follows from what was there, or is set by a control of another kind, replaces nothing
        ({"change": ["lr:x0.5", "lr:x0.5"]}, []),
        ({"change": ["lr:x0.5", "batch:x2,lr=linear"]}, []),
        ({"change": ["batch:x2,lr=linear"], "control": ["lr:0.1"]}, []),
        ({"change": [ADAM]}, []),
        ({"change": ["compress:sign", "delay:2", "clip:1"]}, []),
    ],
)
def test_levers_that_replace_others_are_named(given, lines) -> None:
    made = arms(**given)
    assert list(made.replaced) == lines


@pytest.mark.wide
def test_what_is_replaced_is_said_in_the_plan_and_with_the_answer(tmp_path, capsys) -> None:
    from rich.console import Console

    asked = {"task": "digits", "base": ["budget:updates=30"], "change": ["compress:sign", "compress:topk"]}
    spec = spec_from({**asked, "tolerance": 40.0, "looks": [2], "probes": "none"})
    line = "compress:topk replaces compress:sign"
    plan = forecast(build_arms(spec, load_task("digits")), workers=1).to_json()
    assert plan["replaced"] == [line]
    Console(width=120).print(plan_panel(plan))
    assert line in capsys.readouterr().out
    said = []

    class Heard(Progress):
        def message(self, text: str) -> None:
            said.append(text)

    result = run_audit(spec, Store(tmp_path), progress=Heard()).result
    assert line in result["warnings"]
    assert line in said


def test_a_control_that_undoes_the_change_leaves_the_baseline() -> None:
    made = arms(change=["delay:8"], control=["match_stability"])
    assert made.recipes["baseline+control:0"] == made.recipes["baseline"]
    assert made.recipes["variant+control:0"].optimizer.lr == pytest.approx(0.0461342, rel=1e-6)


def test_a_control_must_change_the_variant() -> None:
    with pytest.raises(BadInput, match="variant's recipe"):
        arms(change=["batch:x2"], control=["match_stability"])


@pytest.mark.wide
def test_both_recoveries_are_the_same_where_the_baseline_is(tmp_path) -> None:
    spec = spec_from(
        {
            "task": "digits",
            "base": [PLAIN, "budget:updates=150"],
            "change": ["delay:8"],
            "control": ["match_stability"],
            "tolerance": 0.4,
            "looks": [4],
            "probes": "none",
        }
    )
    with Store(tmp_path / "store") as store:
        result = run_audit(spec, store).result
    assert result["verdict"] == "broken"
    (control,) = result["controls"]
    assert control["recovered"]["mean"] > 0.4
    assert control["recovered"] == pytest.approx(control["recovered_against_treated_baseline"])
