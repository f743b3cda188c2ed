"""A plan of a command is made only where the command could be run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from algobias.commands.runnable import check_runnable
from algobias.errors import BadInput


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    (tmp_path / "go.sh").write_text("")
    check_runnable([sys.executable, "train.py", "--x"], tmp_path)
    check_runnable([sys.executable, "-u", "nowhere.py"], tmp_path)
    check_runnable([sys.executable, "{arm}.py"], tmp_path)
    check_runnable(["go.sh"], tmp_path)
    with pytest.raises(BadInput, match=r"command: 'trian.py' .*did you mean 'train.py'"):
        check_runnable([sys.executable, "trian.py"], tmp_path)
    with pytest.raises(BadInput, match=r"command: 'nosuchprogram' .* a program that can be executed here"):
        check_runnable(["nosuchprogram", "x"], tmp_path)
