"""docs/own-script.md: its script is audited by its command, and every option it names is there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "own-script.md").read_text(encoding="utf-8")
(SCRIPT,) = re.findall(r"```python\n# train\.py\n(.*?)```", PAGE, flags=re.S)
(COMMAND,) = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S)


def test_the_command_of_the_page_ends_with_an_answer_that_rests_on_replay(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    words = shlex.split(COMMAND.strip())
    at = words.index("--")
    words = [sys.executable, "-m", *words[:at], "--looks", "2", "--tolerance", "5", "--preflight", "3"]
    words += [
        "--json",
        "--quiet",
        "--",
        sys.executable,
        *shlex.split(COMMAND.strip())[at + 2 :],
        "--max_iters=40",
    ]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["evidence"] == "with replay"
    assert all(finding["passed"] is not False for finding in answer["preflight"])
    assert {finding["check"] for finding in answer["preflight"]} >= {
        "repeat",
        "measuring",
        "seeds",
        "variant",
    }
    assert [arm["name"] for arm in answer["arms"]] == ["baseline", "variant"]
    assert all(arm["train_loss"]["mean"] > 0 for arm in answer["arms"])
    assert answer["arms"][0]["cost"]["updates"] == 40
    report = Path(answer["report"]).read_text(encoding="utf-8")
    assert "train.py" in report


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
