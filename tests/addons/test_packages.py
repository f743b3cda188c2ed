"""Classes that installed packages offer: listed, parsed, trained in workers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wide_tests import wide

HERE = Path(__file__).parent
GROUPS = {
    "levers": "shrink = mine:Shrink",
    "probes": "positive = mine:Positive",
    "labs": "descent = mine:Descent",
}


@pytest.fixture
def ended(tmp_path: Path):
    """The program in a process that has the package installed, to its end."""
    site = tmp_path / "site"
    info = site / "mine-1.0.dist-info"
    info.mkdir(parents=True)
    for name in ("mine.py", "beside.py"):
        shutil.copy(HERE / name, site)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    points = "".join(f"[algobias.{group}]\n{line}\n\n" for group, line in GROUPS.items())
    (info / "entry_points.txt").write_text(points)

    def call(*words: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
        return subprocess.run(
            [sys.executable, "-m", "algobias", *map(str, words)],
            capture_output=True, text=True, check=False, cwd=tmp_path, env=environment,
        )  # fmt: skip

    return call


@pytest.fixture
def run(ended):
    """The program in a process that has the package installed: what it prints."""

    def call(*words: object) -> str:
        done = ended(*words)
        assert done.returncode == 0, done.stderr
        lines = [line for line in done.stderr.splitlines() if "will execute" in line]
        assert all("product_task.py" in line for line in lines), "it is installed already"
        return done.stdout

    return call


@pytest.mark.wide
def test_an_audit_with_what_a_package_offers(run) -> None:
    task = f"{HERE.parent / 'product_task.py'}:task"
    words = ("--change", "shrink:0.2", "--probes", "positive", "--looks", 2, "--tolerance", 1, "--workers", 2)
    result = json.loads(run("audit", task, *words, "--json", "--quiet"))
    assert result["change"] == ["shrink:0.2"]
    (part,) = result["arms"][1]["recipe"]["parts"]
    assert part["revision"] > 1, "a hash of the file"
    assert "source" not in part
    assert result["readings"]["probes"] == ["positive"]


def test_it_is_in_the_catalogues(run) -> None:
    assert json.loads(run("levers", "--json"))["items"][-1]["name"] == "shrink"
    assert json.loads(run("lab", "--json"))["items"][-1]["name"] == "descent"
    assert json.loads(run("probes", "positive", "--json"))["items"][0]["summary"].startswith("Share of")


def package(site: Path, name: str, points: str, code: str = "") -> None:
    """Install another package."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    (site / f"{name}.py").write_text(code)


def test_two_packages_with_one_name_are_refused(run, ended, tmp_path: Path) -> None:
    code = "from mine import Shrink as Theirs\nclass Shrink(Theirs):\n    name = 'shrink'\n"
    package(tmp_path / "site", "other", "[algobias.levers]\nshrink = other:Shrink\n", code)
    assert "shrink" not in [item["name"] for item in json.loads(run("levers", "--json"))["items"]]
    refused = ended("levers", "shrink")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "a name that no other lever has" in refused.stderr


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        wide("raise SystemExit(4)", "SystemExit: 4"),
        wide("import algobias_of_tomorrow", "ModuleNotFoundError"),
        wide("class Broken: ...", "a class of algobias.levers.base.Lever"),
        wide(
            "from algobias.levers import Lever\nclass Broken(Lever): name = 'x y'", "class Broken lacks card"
        ),
    ],
)
def test_a_broken_package_takes_no_other_away(run, ended, tmp_path: Path, code: str, says: str) -> None:
    points = "[algobias.levers]\nbroken = broken:Broken\n"
    package(tmp_path / "site", "broken", points, f"print('NOISE')\n{code}\n")
    listed = ended("levers", "--json")
    assert json.loads(listed.stdout)["items"][-1]["name"] == "shrink", "print goes to stderr"
    (line,) = [line for line in listed.stderr.splitlines() if "left out" in line]
    assert says in line
    assert "lever broken of the package broken" in line
    assert "shrink" in run("levers")
    asked = ended("levers", "broken")
    assert (asked.returncode, asked.stdout) == (2, "")
    assert says in asked.stderr
    assert "Traceback" not in asked.stderr
    missed = ended("levers", "shrimk")
    assert "did you mean 'shrink'" in missed.stderr
