"""Every command in the README runs: audits shortened by options put behind them, the rest as written.

Runs of a script of one's own are copies of a process that has loaded torch.
"""

from __future__ import annotations

import io
import re
import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from algobias.cli import main
from algobias.inference.bounds import Bounds
from algobias.inference.statistics import Interval
from algobias.judge.split import Split
from algobias.judge.wording import Words
from commands.quick_slots import Quick, with_torch

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SHORT = ["--base", "budget:updates=30", "--tolerance", "0.4", "--looks", "3", "--workers", "0", "--quiet"]
SHORT += ["--probes", "weight_norm"]
PAGE = (Path(__file__).parents[1] / "docs" / "own-script.md").read_text(encoding="utf-8")
(SCRIPT,) = re.findall(r"```python\n# train\.py\n(.*?)```", PAGE, flags=re.S)
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.S)
LINES = [
    line.split("  #")[0].strip()
    for kind, block in BLOCKS
    if kind == "sh"
    for line in block.splitlines()
    if line.strip() and not line.startswith("#")
]


def test_the_readme_says_what_it_always_says():
    commands = [line.split()[:2] for line in LINES[:4]]
    assert commands == [["algobias", "run"], ["algobias", "run"], ["make", "demo"], ["make", "test"]]
    assert sum(line.startswith("algobias ") for line in LINES) >= 10


def test_the_verdict_has_the_words_that_are_printed():
    (shown,) = (" ".join(block.split()) for block in README.split("```") if "Verdict: bias" in block)
    gap, bias, fit = (
        Interval(1.10, 0.75, 1.46, 9),
        Interval(1.02, 0.57, 1.47, 9),
        Interval(0.08, -0.22, 0.38, 9),
    )
    split = Split(
        gap,
        Bounds(0.8, 1.4, 9),
        "present",
        bias,
        Bounds(0.6, 1.4, 9),
        "present",
        fit,
        Bounds(-0.2, 0.35, 9),
        "absent",
        level=0.00031,
        side="downward",
        seeds_reached=9,
    )
    assert Words(split, 0.4).bias(alters_data=False) in shown


def test_make_targets_exist():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    for line in LINES:
        if line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", makefile, flags=re.M)


def test_every_command_of_the_readme_runs(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    slots = Quick(with_torch).install(monkeypatch)
    for line in LINES:
        if not line.startswith("algobias "):
            assert line.startswith("make "), line
            continue
        words, target = shlex.split(line), None
        if ">" in words:
            target = words[words.index(">") + 1]
            words = words[: words.index(">")]
        if words[1] == "run":
            (tmp_path / "train.py").write_text(SCRIPT)
            at = words.index("--")
            words[at + 1] = sys.executable
        if words[1] == "run" and "--plan" not in words:
            short = ["--looks", "2", "--tolerance", "5", "--preflight", "3", "--quiet", "--", sys.executable]
            words = [*words[:at], *short, *words[at + 2 :], "--max_iters=40"]
        if words[1] == "audit":
            words += SHORT
        if words[1] == "control":
            words += ["--only", "lr:x2", "--rungs", "2", "--looks", "2", "--workers", "0", "--quiet"]
        if words[1] == "explain":
            words += ["--at", "0.5", "--doses", "none", "--only", "lr:x2", "--workers", "0", "--quiet"]
        monkeypatch.setattr(sys, "argv", words)
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capfd.readouterr()
        assert not ended.value.code, (line, shown.err)
        if target:
            Path(target).write_text(shown.out)
    assert slots.done
    assert len(list((tmp_path / ".algobias" / "reports").glob("*.html"))) >= 4


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = next(block for kind, block in BLOCKS if kind == "python")
    short = code.replace("looks=[4]", "looks=[3], tolerance=0.4, base='budget:updates=30', workers=0")
    assert short != code
    shown = io.StringIO()
    with redirect_stdout(shown):
        exec(short, {})
    assert "mean" in shown.getvalue()


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (Path(__file__).parents[1] / target).exists(), target
