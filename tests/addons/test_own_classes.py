"""A lever, a probe and a lab that somebody adds in one file: asked for, trained in workers, kept, refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

import algobias
from algobias.errors import BadInput
from algobias.labs.registry import parse as parse_lab
from algobias.levers.registry import build_part, parse, parse_many
from algobias.own import user_file
from algobias.probes.registry import parse_many as parse_probes
from algobias.recipe import Recipe, recipe_from
from algobias.recipe_fields import PartSpec

HERE = Path(__file__).parent
TASK = f"{HERE.parent / 'product_task.py'}:task"


@pytest.fixture
def recipe() -> Recipe:
    spec = {"task": "digits", "examples": 800, "optimizer": {"lr": 0.1}, "batch": 16}
    return recipe_from({**spec, "budget": {"epochs": 1}})


def test_an_audit_with_a_lever_and_a_probe_of_ones_own(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = {
        "change": "mine.py:Shrink:0.2",
        "control": "lr:x4+mine.py:Halved:really",
        "probes": "weight_norm,mine.py:Positive:0.1",
        "looks": 6,
        "tolerance": 1.0,
    }
    user_file._announced.clear()
    pool = algobias.audit(TASK, **asked, store=folder / "pool", workers=2).result
    lines = [line for line in capfd.readouterr().err.splitlines() if "will execute" in line]
    assert sorted(line.rpartition(" use ")[2] for line in lines) == [
        "'Halved' from it", "'Positive' from it", "'Shrink' from it", "'task' from it",
    ], "each is announced once, workers or not"  # fmt: skip
    here = algobias.audit(TASK, **asked, store=folder / "here", workers=0).result
    for key in ("verdict", "gap", "fit", "moved", "change"):
        assert pool[key] == here[key], key
    (treated,), (same,) = pool["controls"], here["controls"]
    assert treated["recovered"] == same["recovered"]
    plain = algobias.audit(TASK, "lr:x0.2", looks=6, tolerance=1.0, store=folder / "here", workers=0).result
    assert here["arms"][1]["per_seed"] != here["arms"][0]["per_seed"]
    assert here["gap"]["mean"] == pytest.approx(plain["gap"]["mean"], abs=1.0), (
        "without momentum it is a rate"
    )
    assert f"{folder}/mine.py:Positive:0.1" in {row["probe"] for row in here["moved"]}


def test_the_file_is_part_of_the_address_and_its_place_is_not(folder: Path, recipe: Recipe) -> None:
    here = parse("mine.py:Shrink:0.5").apply(recipe)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for name in ("mine.py", "beside.py"):
        shutil.copy(folder / name, elsewhere)
    assert parse("elsewhere/mine.py:Shrink:0.5").apply(recipe).address() == here.address()
    (folder / "beside.py").write_text("WHOLE = 1.0  # as before, in another file\n")
    changed = parse("mine.py:Shrink:0.5").apply(recipe)
    assert changed.address() != here.address()
    with pytest.raises(BadInput, match="as it was when its part was asked for"):
        build_part(here.parts[0])
    assert build_part(changed.parts[0]).spelling() == f"{folder}/mine.py:Shrink:0.5"


def test_readings_of_another_version_of_the_file_are_other_readings(folder: Path) -> None:
    (first,) = parse_probes("mine.py:Positive")
    (folder / "beside.py").write_text("WHOLE = 2.0\n")
    (second,) = parse_probes("mine.py:Positive")
    assert first.spelling() == second.spelling()
    assert first.revision != second.revision


def test_spelling_goes_both_ways_from_any_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levers = parse_many("batch:x2+mine.py:Shrink:0.5+./mine.py:Halved:really+lr:1e-3")
    text = "+".join(lever.spelling() for lever in levers)
    assert text == f"batch:x2+{folder}/mine.py:Shrink:0.5+{folder}/mine.py:Halved:really+lr:0.001"
    monkeypatch.chdir("/")
    assert parse_many(text) == levers


def test_a_specification_names_files_relative_to_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from algobias.running.spec import read_spec

    words = {"task": TASK, "change": ["mine.py:Shrink:0.5"], "control": "lr:x2+mine.py:Halved:really"}
    (folder / "study.yaml").write_text(yaml.safe_dump({**words, "probes": ["trace", "mine.py:Positive:0.1"]}))
    monkeypatch.chdir("/")
    spec = read_spec(folder / "study.yaml")
    assert spec.change == (f"{folder}/mine.py:Shrink:0.5",)
    assert spec.control == (f"lr:x2+{folder}/mine.py:Halved:really",)
    assert spec.probes == f"trace,{folder}/mine.py:Positive:0.1"


def test_a_lab_of_ones_own(folder: Path) -> None:
    result = algobias.lab("mine.py:Descent:rate=0.2", rate=0.3)
    assert result.verdict == "agrees"
    assert result.options == {"rate": 0.3}
    assert parse_lab("mine.py:Descent", ["rate=0.25"]).spelling() == f"{folder}/mine.py:Descent:rate=0.25"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("far/away.py:Shrink", "lever: 'far/away.py' is not possible; allowed: an existing Python file"),
        ("mime.py:Shrink", "did you mean 'mine.py'"),
        ("mine.py:Shrimp", "did you mean 'Shrink'"),
        ("mine.py", "with a name of: Descent, Halved, Positive, Shrink"),
        (
            "mine.py:Positive",
            "mine.py:Positive: 'Positive' is not possible; allowed: a class of algobias.levers.base.Lever",
        ),
        ("mine.py:WHOLE", "mine.py:WHOLE: 'float' is not possible"),
        ("mine.py:Shrink:0", "shrink: '0' is not possible; allowed: a number above 0"),
        ("mine.py:Shrink:factr=1", "did you mean 'factor'"),
        ("broken.py:X", "lever file broken.py: 'broken.py:1: ZeroDivisionError: division by zero'"),
        ("no_python.py:X", "no_python.py:1: SyntaxError: '(' was never closed"),
        ("same.py:Batch", "same.py:Batch.name: 'batch' is not possible; allowed: a name that no other lever"),
        ("nameless.py:Nameless", "nameless.py:Nameless.name is missing"),
        ("lacking.py:Lacking", "class Lacking lacks card (a Card), neutral"),
    ],
)
def test_what_cannot_be_used_is_one_message(folder: Path, text: str, said: str) -> None:
    (folder / "broken.py").write_text("1 / 0\nX = 1\n")
    (folder / "no_python.py").write_text("X = (\n")
    (folder / "same.py").write_text("from mine import Shrink\nclass Batch(Shrink):\n    name = 'batch'\n")
    start = "from algobias.levers.base import Lever\n"
    (folder / "nameless.py").write_text(start + "class Nameless(Lever):\n    pass\n")
    (folder / "lacking.py").write_text(start + "class Lacking(Lever):\n    name = 'lacking'\n")
    with pytest.raises(BadInput) as error:
        parse(text)
    assert said in str(error.value)


def test_a_recipe_cannot_have_a_part_that_is_another(folder: Path, recipe: Recipe) -> None:
    part = parse("mine.py:Shrink:0.5").apply(recipe).parts[0]
    with pytest.raises(BadInput, match="a part with the name clip"):
        build_part(part.model_copy(update={"name": "clip"}))
    with pytest.raises(BadInput, match=r"parts\.name"):
        build_part(PartSpec(name="shrink"))


def test_classes_say_what_they_lack_when_they_are_made() -> None:
    from algobias.labs.base import Lab
    from algobias.probes import Probe

    with pytest.raises(TypeError, match=r"class P lacks card \(a Card\), read"):
        type("P", (Probe,), {"name": "p", "__module__": __name__})
    with pytest.raises(TypeError, match=r"class L lacks title .*, summary .*, run"):
        type("L", (Lab,), {"name": "l", "__module__": __name__})


def test_its_card_is_shown_like_any_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from algobias.cli.catalogue import levers, probes

    levers("mine.py:Shrink")
    probes("mine.py:Positive")
    shown = capsys.readouterr().out
    assert "Multiplies every gradient by a factor" in shown
    assert "mean over trained parameters" in shown


def test_a_part_of_ones_own_says_what_it_divides(folder: Path, recipe: Recipe) -> None:
    """In the version that the recipe names."""
    text = (
        "from mine import Shrink\n"
        "from algobias.levers.division import Division\n"
        "class Pieces(Shrink):\n"
        "    name = 'pieces'\n"
        "    def divisions(self, batch):\n"
        "        return (Division('pieces', 'pieces', COUNT),)\n"
    )
    for count, possible in ((4, True), (3, False), (8, True)):
        (folder / "pieces.py").write_text(text.replace("COUNT", str(count)))
        lever = parse("pieces.py:Pieces:0.5")
        if possible:
            lever.apply(recipe)
        else:
            with pytest.raises(BadInput, match="pieces: 3 is not possible"):
                lever.apply(recipe)


def test_a_neutral_that_names_no_option_means_the_defaults(folder: Path, recipe: Recipe) -> None:
    text = (folder / "mine.py").read_text().replace("return cls(factor=1.0)", "return cls()")
    (folder / "mine.py").write_text(text)
    half, whole = (parse(f"mine.py:Shrink:{factor}") for factor in (0.5, 1.0))
    assert not half.idle(half.apply(recipe))
    assert whole.idle(whole.apply(recipe))


@pytest.mark.parametrize("name", ["a,b", "c++"])
def test_a_folder_may_have_a_separator_in_its_name(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from algobias.levers.registry import absolute as absolute_levers
    from algobias.probes.registry import absolute as absolute_probes

    shutil.copytree(folder, folder.parent / f"{folder.name}-{name}")
    monkeypatch.chdir(folder.parent / f"{folder.name}-{name}")
    first, second = parse_many(absolute_levers("lr:x2+mine.py:Shrink:0.5"))
    assert (first.name, second.name) == ("lr", "shrink")
    assert [probe.name for probe in parse_probes(absolute_probes("trace,mine.py:Positive:0.1"))][
        1
    ] == "positive"


def test_going_on_from_an_audit_whose_file_has_changed_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"looks": 2, "tolerance": 1.0, "probes": "none", "store": folder / "store", "workers": 0}
    algobias.audit(TASK, "mine.py:Shrink:0.05", **asked)
    (folder / "beside.py").write_text("WHOLE = 20.0\n")
    monkeypatch.chdir(HERE.parent)
    for go_on in (algobias.control, algobias.explain):
        with pytest.raises(BadInput, match="audit it again as it is now"):
            go_on("last", store=folder / "store", workers=0)


def test_a_probe_that_returns_something_else_has_a_reason(folder: Path) -> None:
    import torch

    read = 'return self.reading(share, no_interval="counted exactly")'
    text = (folder / "mine.py").read_text().replace(read, "return float(share)")
    (folder / "mine.py").write_text(text)
    net, batch = torch.nn.Linear(2, 1), (torch.ones(4, 2), torch.ones(4, 1))
    readings = algobias.measure(
        net, [batch], lambda m, b: (m(b[0]) - b[1]).square().mean(), ["weight_norm", "mine.py:Positive"]
    )
    assert [reading.status for reading in readings] == ["ok", "unavailable"]
    assert "read returned float, not a Reading" in str(readings[1].reason)


def test_an_audit_is_asked_again_where_the_file_of_a_probe_is_gone(folder: Path) -> None:
    asked = {"looks": 2, "tolerance": 1.0, "store": folder / "store", "workers": 0}
    first = algobias.audit(TASK, "lr:x0.05", probes="weight_norm,mine.py:Positive", **asked).result
    (folder / "mine.py").unlink()
    again = algobias.audit(TASK, "lr:x0.05", probes="trace", **asked).result
    assert again["study"] == first["study"]
    assert first["readings"]["probes"] == ["weight_norm", f"{folder}/mine.py:Positive"]
    assert again["readings"]["probes"] == ["trace", "weight_norm"]
