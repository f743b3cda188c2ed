"""Classes that installed packages offer: listed, parsed, trained in workers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GROUPS = {
    "levers": "shrink = mine:Shrink",
    "probes": "positive = mine:Positive",
    "labs": "descent = mine:Descent",
}


@pytest.fixture
def run(tmp_path: Path):
    """The program in a process that has the package installed."""
    site = tmp_path / "site"
    info = site / "mine-1.0.dist-info"
    info.mkdir(parents=True)
    for name in ("mine.py", "beside.py"):
        shutil.copy(HERE / name, site)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    points = "".join(f"[algobias.{group}]\n{line}\n\n" for group, line in GROUPS.items())
    (info / "entry_points.txt").write_text(points)

    def call(*words: object) -> str:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
        ended = subprocess.run(
            [sys.executable, "-m", "algobias", *map(str, words)],
            capture_output=True, text=True, check=False, cwd=tmp_path, env=environment,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        assert "will execute" not in ended.stderr.replace("product_task.py", ""), "it is installed already"
        return ended.stdout

    return call


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


def test_two_packages_with_one_name_are_refused(run, tmp_path: Path) -> None:
    info = tmp_path / "site" / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[algobias.levers]\nshrink = mine:Shrink\n")
    with pytest.raises(AssertionError, match="a name that no other lever has"):
        run("levers")
