"""docs/probes.md: its tables are the registry's, its code and its commands run.

``python tests/probes/test_docs.py`` writes the tables anew.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch

import probe_coverage
from algobias.cli import main
from algobias.probes.base import PRESETS, Probe
from algobias.probes.registry import PROBES, preset
from algobias.tasks.template import TEMPLATE

PAGE = Path(__file__).parents[2] / "docs" / "probes.md"
FAMILIES = ("curvature", "stability", "noise", "margins", "norms", "features", "function", "numerics")


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def presets_table() -> str:
    rows = [
        f"| `{name}` | {cell(words)} | {', '.join(f'`{probe.name}`' for probe in own(name))} |"
        for name, words in PRESETS.items()
    ]
    return "\n".join(["| preset | cost | adds |", "|---|---|---|", *rows])


def own(name: str) -> list[Probe]:
    sizes = list(PRESETS)
    place = sizes.index(name)
    before = {probe.name for probe in preset(sizes[place - 1])} if place else set()
    return [probe for probe in preset(name) if probe.name not in before]


def probes_table() -> str:
    rows = []
    for family in FAMILIES:
        for name, cls in PROBES.items():
            card = cls.card
            if card.family == family:
                needs = ", ".join(f"`{field}`" for field in card.needs)
                about = (
                    f"`{name}`",
                    family,
                    card.summary,
                    card.unit,
                    card.cost,
                    card.preset or "by name",
                    needs,
                )
                rows.append("| " + " | ".join(map(cell, about)) + " |")
    head = "| probe | family | what it measures | unit | cost | preset | needs |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows])


def coverage_table() -> str:
    return probe_coverage.table(json.loads(probe_coverage.RESULTS.read_text(encoding="utf-8")))


SECTIONS = {"PRESETS": presets_table, "PROBES": probes_table, "COVERAGE": coverage_table}


def between(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", re.S)


def rewritten(text: str) -> str:
    for name, make in SECTIONS.items():
        table = make()
        text, count = between(name).subn(lambda m, table=table: m[1] + table + m[2], text)
        assert count == 1, name
    return text


def test_the_tables_are_those_of_the_registry():
    text = PAGE.read_text(encoding="utf-8")
    assert text == rewritten(text), "run: python tests/probes/test_docs.py"


def test_every_probe_is_in_the_table_once():
    assert {cls.card.family for cls in PROBES.values()} <= set(FAMILIES)
    for name in PROBES:
        assert probes_table().count(f"| `{name}` |") == 1


def test_every_family_has_its_paragraph():
    text = PAGE.read_text(encoding="utf-8")
    for family in FAMILIES:
        assert f"- **{family.capitalize()}.**" in text


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)


def test_the_code_runs():
    torch.manual_seed(0)
    shown, names = io.StringIO(), {}
    with redirect_stdout(shown):
        for block in blocks("python"):
            exec(block, names)
    first = blocks("python")[0]
    assert len([line for line in first.splitlines() if line.strip()]) <= 10
    printed = shown.getvalue()
    assert all(probe.name in printed for probe in preset("cheap"))
    assert [update for update, _ in names["monitor"].series("weight_norm")] == [1, 100, 200]


def test_the_commands_run(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    def call(words):
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, (words, capfd.readouterr().err)

    (tmp_path / "my_task.py").write_text(TEMPLATE)
    names = {}
    exec(compile(TEMPLATE, "my_task.py", "exec"), names)
    torch.save(names["task"]().build_model().state_dict(), "weights.pt")
    quick = [
        "--base",
        "budget:updates=20",
        "--looks",
        "2",
        "--tolerance",
        "0.4",
        "--workers",
        "0",
        "--probes",
        "none",
        "-q",
    ]
    call(["algobias", "audit", "digits", "--change", "batch:x4", *quick])
    commands = [line.split("  #")[0].split(" # ")[0].strip() for line in "".join(blocks("sh")).splitlines()]
    assert len(commands) >= 6
    for line in commands:
        call(shlex.split(line))


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
