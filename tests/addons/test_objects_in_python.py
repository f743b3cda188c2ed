"""Levers, probes and labs that are objects in Python, and how they are named where they are read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import algobias
from algobias.answer.measured.moved import Effect
from algobias.controls.spec import control_spec
from algobias.errors import BadInput
from algobias.explanations.spec import explain_spec
from algobias.levers.registry import parse
from algobias.own.user_file import in_words, without_folder
from algobias.probes.base import Card, Probe
from algobias.probes.monitor import Monitor
from algobias.probes.registry import parse_many
from algobias.reports.figures.entries import _key
from algobias.reports.readings import readings_table
from algobias.running.spec import spec_from
from algobias.treatments.candidates import candidates

HERE = Path(__file__).parent
TASK = f"{HERE.parent / 'product_task.py'}:task"


@pytest.fixture
def mine(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The user's file, imported as their own program does."""
    monkeypatch.syspath_prepend(folder)
    for name in ("mine", "beside"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import mine

    yield mine
    for name in ("mine", "beside"):
        sys.modules.pop(name, None)


def test_objects_are_spelled_by_the_file_of_their_class(folder: Path, mine: Any) -> None:
    spec = spec_from(
        {
            "task": TASK,
            "change": mine.Shrink(factor=0.2),
            "base": ["lr:x2", parse("clip:1")],
            "control": [mine.Halved(really=True), "sam:0.05"],
            "probes": [mine.Positive(above=0.1), "trace", *parse_many("weight_norm")],
        }
    )
    assert spec.change == (f"{folder}/mine.py:Shrink:0.2",)
    assert spec.base == ("lr:x2", "clip:1")
    assert spec.control == (f"{folder}/mine.py:Halved:really", "sam:0.05")
    assert spec.probes == f"{folder}/mine.py:Positive:0.1,trace,weight_norm"
    assert spec_from({**spec.model_dump(), "probes": mine.Positive()}).probes == f"{folder}/mine.py:Positive"
    assert control_spec({"only": [mine.Shrink(factor=0.5)]}).only == (f"{folder}/mine.py:Shrink:0.5",)
    assert explain_spec({"force": mine.Halved(really=True)}).force == (f"{folder}/mine.py:Halved:really",)


def test_an_audit_of_objects_is_that_of_their_spellings(folder: Path, mine: Any) -> None:
    asked = {"looks": 2, "tolerance": 1.0, "workers": 0, "store": folder / "store"}
    made = algobias.audit(TASK, mine.Shrink(factor=0.2), probes=[mine.Positive(above=0.1)], **asked)
    typed = algobias.audit(TASK, "mine.py:Shrink:0.2", probes="mine.py:Positive:0.1", **asked)
    assert made.study == typed.study
    assert made.result["change"] == [f"{folder}/mine.py:Shrink:0.2"]
    assert algobias.lab(mine.Descent(rate=0.2)).options == {"rate": 0.2}
    assert algobias.lab(mine.Descent(rate=0.2), rate=0.3).options == {"rate": 0.3}


def test_a_class_that_no_other_process_finds_is_refused(mine: Any) -> None:
    class Inner(mine.Shrink):
        """One in a function."""

        name: ClassVar[str] = "inner"

    for field, item in (("change", Inner(factor=0.5)), ("control", [Inner(factor=0.5)])):
        with pytest.raises(BadInput, match=r"lever: 'Inner' .* at the top level of a Python file"):
            spec_from({"task": TASK, "change": "lr:x2", field: item})


@pytest.mark.parametrize("guarded", [True, False])
def test_a_script_that_asks_for_its_own_class(folder: Path, guarded: bool) -> None:
    """The file is executed again to find the class: what it asks must not be asked again then."""
    words = f"{TASK!r}, Shrink(factor=0.2), looks=2, tolerance=1.0, workers=0, probes='none'"
    ask = f"print(algobias.audit({words}).study)"
    if guarded:
        ask = f"if __name__ == '__main__':\n    {ask}"
    with (folder / "mine.py").open("a") as file:
        file.write(f"\n\nimport algobias\n{ask}\n")
    ended = subprocess.run([sys.executable, "mine.py"], capture_output=True, text=True, check=False)
    assert "will execute" in ended.stderr
    if guarded:
        assert ended.returncode == 0, ended.stderr
        assert len(ended.stdout.strip()) == 12
    else:
        assert ended.returncode == 1
        assert "a class of a file that asks for nothing while it is executed" in ended.stderr


def test_own_levers_can_be_forbidden(folder: Path, refused) -> None:
    spec = control_spec({"forbid": "lr,mine.py:Shrink"})
    assert spec.forbid == ("lr", f"{folder}/mine.py:Shrink")
    recipe = algobias.tasks.load_task(TASK).recipe()
    recipes = {"baseline": recipe, "variant": recipe.edit(optimizer__lr=recipe.optimizer.lr / 2)}
    change = [parse("lr:x0.5")]
    with pytest.raises(BadInput, match=r"forbid: 'shrink' is not possible; allowed: a lever that is not in"):
        candidates(change, recipes, (), given=["mine.py:Shrink:0.5"], forbid=spec.forbid)
    assert candidates(change, recipes, (), given=["mine.py:Halved:really"], forbid=spec.forbid)
    with pytest.raises(BadInput, match=r"^forbid: .*an existing Python file"):
        candidates(change, recipes, (), forbid=["absent.py:Shrink"])
    with pytest.raises(BadInput, match=r"^forbid: 'sma' .*did you mean 'sam'"):
        candidates(change, recipes, (), forbid=["sma"])


# How they are named


def test_trackers_get_family_and_name_of_own_probes(folder: Path) -> None:
    seen: list[dict[str, float]] = []
    net, batch = torch.nn.Linear(2, 1), (torch.ones(4, 2), torch.ones(4, 1))
    probes = ["weight_norm", "mine.py:Positive:0.1", "mine.py:Positive:0.2"]
    monitor = Monitor(
        net, [batch], lambda m, b: (m(b[0]) - b[1]).square().mean(), probes, every=1, sink=seen.append
    )
    monitor.step(1)
    assert set(seen[0]) == {"update", "norms/weight_norm", "norms/positive:0.1", "norms/positive:0.2"}
    assert monitor.series(f"{folder}/mine.py:Positive:0.1")


class Positive(Probe):
    """Has the name of another one."""

    name: ClassVar[str] = "positive"
    card: ClassVar[Card] = Card("s", "norms", "f", "u", "i", "c", ("nobody, 2026",))

    def read(self, subject: Any) -> Any:
        """One."""
        return self.reading(1.0, no_interval="always")


def test_two_probes_of_one_name_are_told_apart(folder: Path) -> None:
    seen: list[dict[str, float]] = []
    net, batch = torch.nn.Linear(2, 1), (torch.ones(4, 2), torch.ones(4, 1))
    probes = [Positive(), "mine.py:Positive"]
    Monitor(
        net, [batch], lambda m, b: (m(b[0]) - b[1]).square().mean(), probes, every=1, sink=seen.append
    ).step(1)
    assert set(seen[0]) == {"update", "norms/positive", f"norms/{folder}/mine.py:Positive"}


def test_paths_of_own_probes_are_shown_as_they_are(folder: Path) -> None:
    (folder / "my_probes.py").write_text((folder / "mine.py").read_text())
    (probe,) = parse_many("my_probes.py:Positive:0.1")
    spelled = probe.spelling()
    assert (
        in_words(spelled)
        == in_words(f"{spelled} (twin)").removesuffix(" (twin)")
        == "my_probes.py:Positive:0.1"
    )
    assert Effect(probe=spelled).name == "my_probes.py:Positive:0.1"
    assert Effect(probe="top_eigenvalue (twin)").name == "top eigenvalue (twin)"
    assert _key(spelled) == "my_probes-Positive"
    assert _key("top_eigenvalue:tolerance=0.1") == "top_eigenvalue"
    assert without_folder("digits") == "digits"
    net, batch = torch.nn.Linear(2, 1), (torch.ones(4, 2), torch.ones(4, 1))
    readings = algobias.measure(net, [batch], lambda m, b: (m(b[0]) - b[1]).square().mean(), [probe])
    from rich.console import Console

    console = Console(width=100)
    with console.capture() as shown:
        console.print(readings_table(readings, 0.1, "4 examples"))
    assert "my_probes.py:Positive:" in shown.get()
    assert str(folder) not in shown.get()
    assert "no interval: counted exactly" in shown.get()


@pytest.mark.parametrize("module", ["algobias", "algobias.tasks", "algobias.levers", "algobias.training"])
def test_dir_lists_what_is_loaded_when_it_is_asked_for(module: str) -> None:
    code = f"import {module} as m; assert set(m.__all__) <= set(dir(m)), dir(m); assert '__name__' in dir(m)"
    subprocess.run([sys.executable, "-c", code], check=True)
