"""docs/own-script.md: its script is audited by its command, and every option it names is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "own-script.md").read_text(encoding="utf-8")
(SCRIPT,) = re.findall(r"```python\n# train\.py\n(.*?)```", PAGE, flags=re.S)
COMMAND, *LATER = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S)


def test_the_command_of_the_page_is_the_one_of_the_readme() -> None:
    """That one is carried out on the script of the page, by ``tests/test_readme.py``."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert COMMAND.strip().replace(" --trivial 10", "") in readme
    compile(SCRIPT, "train.py", "exec")


def help_of(command: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "algobias", command, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"COLUMNS": "300", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    ).stdout


def test_every_option_of_the_page_is_one_of_the_commands() -> None:
    told = "".join(map(help_of, ("run", "control", "explain")))
    named = set(re.findall(r"`(--[a-z-]+)", PAGE)) - {"--seed", "--out", "--max"}
    assert named
    for option in sorted(named):
        assert option in told, option


def test_the_commands_that_go_on_from_it_name_options_that_there_are() -> None:
    for line in "".join(LATER).strip().splitlines():
        _, command, study, *rest = shlex.split(line)
        assert (command, study) in (("control", "last"), ("explain", "last"))
        assert all(word in ("--plan", "--candidate") or word.startswith("args: --") for word in rest)
