"""The shape that docs/architecture.md promises: sizes of files, folders and rooms; what annotations say."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "algobias"
FILES = sorted(SOURCE.rglob("*.py"))
CATALOGUES = {"tasks", "probes/families"}
ROOMS = (
    "runs", "inference", "judge", "answer", "components", "kept", "running", "coordinates", "treatments",
    "studies", "controls", "explanations", "jobs", "commands", "reports", "console",
)  # fmt: skip
"""Rooms in which every annotation says what it is."""
LARGEST = {"reports": 5000}


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_files_are_read_in_one_sitting():
    assert not [path.name for path in FILES if lines(path) > 300]


def test_folders_are_seen_at_a_glance():
    beside = Counter(str(path.parent.relative_to(SOURCE)) for path in FILES if path.name != "__init__.py")
    assert {folder for folder, count in beside.items() if count > 20} == CATALOGUES


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_small_and_their_types_are_said(room: str):
    files = sorted((SOURCE / room).rglob("*.py"))
    assert 0 < sum(map(lines, files)) < LARGEST.get(room, 3500)
    for path in files:
        names = [
            node
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Name)
        ]
        assert "Any" not in {node.id for node in names}, path
