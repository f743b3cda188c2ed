"""What is shown needs no torch, no store and no planner."""

from __future__ import annotations

import subprocess
import sys

LOADED = """
import sys
import algobias.reports.html, algobias.reports.lab, algobias.console.lab
import algobias.reports.readings, algobias.console.terminal
print("\\n".join(sys.modules))
"""

HEAVY = ("torch", "sqlite3", "algobias.kept", "algobias.judge.plan", "algobias.training", "algobias.tasks")


def test_the_report_loads_neither_torch_nor_the_store_nor_the_planner() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "algobias.answer.answer" in loaded
    assert [name for name in HEAVY if name in loaded] == []
