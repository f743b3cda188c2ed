"""docs/own.md: its files are what they are said to be, pass the checks, and its commands can be asked for."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from algobias.labs.registry import parse as parse_lab
from algobias.levers.registry import parse_many
from algobias.probes.registry import parse_many as parse_probes
from algobias.testing import check_lab

PAGE = (Path(__file__).parents[2] / "docs" / "own.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's files in it."""
    files = re.findall(r"`(\w+\.py)`\n\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert [name for name, _ in files] == ["jitter.py", "above.py"]
    for name, text in files:
        (tmp_path / name).write_text(text)
    mine = (Path(__file__).parent / "mine.py").read_text(encoding="utf-8")
    (tmp_path / "descent.py").write_text(mine.replace("from beside import WHOLE", "WHOLE = 1.0"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.wide
def test_the_checks_pass(folder: Path) -> None:
    (block,) = (
        text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "check_lever(" in text
    )
    (folder / "checks.py").write_text(block)
    ended = subprocess.run([sys.executable, "checks.py"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_the_commands_can_be_asked_for(folder: Path) -> None:
    (block,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    audit, levers, probes, lab = (shlex.split(line) for line in block.splitlines())
    (lever,) = parse_many(audit[audit.index("--change") + 1])
    assert lever.spelling() == f"{folder}/jitter.py:Jitter:0.1"
    assert parse_probes(audit[audit.index("--probes") + 1])[-1].spelling() == f"{folder}/above.py:Above"
    assert parse_many(levers[-1]) != (lever,)
    assert parse_probes(probes[-1])
    assert parse_lab(lab[2], [lab[-1]]).run(0).verdict == "agrees"


def test_the_entry_points_name_the_groups_that_are_read() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    points = tomllib.loads(block)["project"]["entry-points"]
    assert set(points) == {"algobias.levers", "algobias.probes", "algobias.labs"}


def test_the_lab_of_the_page_is_given_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = re.findall(r"`descent\.py`:\n\n```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "descent.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    (words,) = re.findall(r"^algobias lab (.*)$", PAGE, re.MULTILINE)
    name, _, option = shlex.split(words)
    check_lab(parse_lab(name, [option]))


def test_the_checks_of_the_page_end_with_a_line() -> None:
    assert re.search(r"check_probe\(Above\)\nprint\(", PAGE)
