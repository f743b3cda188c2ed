"""Running the program as a user does: inside this process for speed, or as a command of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from algobias.cli import main


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """``run("audit", "digits", ...)`` in an empty folder: exit code, stdout, stderr.

    Audits train in this process (``--workers 0``) and read no coordinates unless told otherwise.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*words: object) -> Result:
        given = [str(word) for word in words]
        if given[0] == "audit" and "--workers" not in given:
            given += ["--workers", "0"]
        if given[0] == "audit" and "--probes" not in given:
            given += ["--probes", "none"]
        monkeypatch.setattr(sys, "argv", ["algobias", *given])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def refused(run):
    """The command must end with code 2, one message, no traceback and nothing on stdout."""

    def call(*words: object, says: str) -> None:
        result = run(*words)
        assert result.code == 2, result.err
        assert "Traceback" not in result.err
        assert result.out == ""
        flat = " ".join(result.err.split())
        assert says in flat, flat

    return call


@pytest.fixture
def command(tmp_path: Path):
    """Start the program as a command of its own, in an empty folder."""

    def start(*words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "algobias", *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
