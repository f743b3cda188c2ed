"""A folder of the user's with their file in it, and the program started from there."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from algobias.cli import main
from algobias.own import user_file

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's with the file in it, from which the program is started."""
    for name in ("mine.py", "beside.py"):
        shutil.copy(HERE / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """``program("levers", "mine.py:Shrink")``: how it ended, as a process of its own would."""

    def call(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["algobias", *map(str, words)])
        user_file._announced.clear()
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def refused(program):
    """The program must end with code 2, one message without a traceback, and nothing on stdout."""

    def call(*words: object) -> str:
        ended = program(*words)
        assert (ended.code, ended.out) == (2, ""), ended.err
        assert "Traceback" not in ended.err
        return " ".join(ended.err.split()).partition("Error ")[2]

    return call


@pytest.fixture
def edited(folder: Path):
    """Change the user's file."""

    def edit(*pairs: tuple[str, str]) -> int:
        """The line of the last edit."""
        text = (folder / "mine.py").read_text()
        for before, after in pairs:
            assert text.count(before) == 1, before
            text = text.replace(before, after)
        (folder / "mine.py").write_text(text)
        return text[: text.index(pairs[-1][1])].count("\n") + 1

    return edit
