"""Commands that list, spell or show what is stored start without torch and without slow parts of scipy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from made_studies import case

from algobias.answer.answer import Answer
from algobias.kept.archive import Archive, Place
from algobias.kept.store import Store
from algobias.kept.tables import Terms
from algobias.recipe import Recipe

ID = "0123456789ab"
SLOW = (
    "torch",
    "transformers",
    "sklearn",
    "safetensors.torch",
    "scipy.optimize",
    "scipy.stats",
    "scipy.linalg",
)
COMMANDS = (
    "--help",
    "levers",
    "levers drop_compute",
    "probes",
    "probes trace",
    "tasks",
    "tasks digits",
    "studies",
    "report",
)
PROGRAM = f"""
import json, sys
from algobias.cli import main
ended = {{}}
for command in {COMMANDS}:
    sys.argv = ["algobias", *command.split()]
    try:
        main()
    except SystemExit as end:
        ended[command] = [end.code or 0, sorted(set(sys.modules) & set({SLOW}))]
print(json.dumps(ended), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one finished study."""
    path = tmp_path_factory.mktemp("start")
    study = case("one seed")
    recipe = Recipe.model_validate(
        {"task": "digits", "examples": 8, "batch": 2, "optimizer": {"lr": 0.1}, "budget": {"updates": 4}}
    )
    places = []
    with Store(path / ".algobias") as store:
        store.begin(ID, {"task": "digits", "change": ["batch:x16"]})
        for number, run in enumerate(study.runs):
            address = f"{number:064x}"
            store.put(address, run.outcome.seed, run.outcome, recipe, "digits")
            places.append(Place(run.arm, run.replicate, run.length, address, run.outcome.seed))
        archive = Archive(
            Answer.from_json({**study.result, "study": ID, "warnings": []}),
            tuple(places),
            {},
            "algobias audit digits",
            {},
            Terms(),
        )
        store.save_result(ID, archive.stored())
    return path


def test_they_start_without_torch(folder: Path) -> None:
    words = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    ended = json.loads(done.stderr.splitlines()[-1])
    assert ended == {command: [0, []] for command in COMMANDS}, done.stderr
    assert (folder / ".algobias" / "reports" / f"{ID}.html").is_file()


def test_the_program_sees_what_is_loaded() -> None:
    """The control: importing a component is noticed."""
    check = f"import sys, algobias; algobias.SAM; print(*sorted(set(sys.modules) & set({SLOW})))"
    assert "torch" in subprocess.check_output([sys.executable, "-c", check], text=True).split()
