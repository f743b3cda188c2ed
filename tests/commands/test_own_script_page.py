"""docs/own-script.md: its script is audited by its command, and every option it names is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "own-script.md").read_text(encoding="utf-8")
(SCRIPT,) = re.findall(r"```python\n# train\.py\n(.*?)```", PAGE, flags=re.S)
(COMMAND,) = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S)


def test_the_command_of_the_page_is_the_one_of_the_readme() -> None:
    """That one is carried out on the script of the page, by ``tests/test_readme.py``."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert COMMAND.strip().replace(" --trivial 10", "") in readme
    compile(SCRIPT, "train.py", "exec")


def test_every_option_of_the_page_is_one_of_the_command() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "algobias", "run", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"COLUMNS": "300", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    ).stdout
    named = set(re.findall(r"`(--[a-z-]+)", PAGE)) - {"--seed", "--out", "--max"}
    assert named
    for option in sorted(named):
        assert option in told, option
