"""Scripts that start real processes by the name of before keep working."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["algobias.running.distributed", "algobias.study.distributed"])
def test_both_names_start(module: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "--recipe" in ended.stdout
