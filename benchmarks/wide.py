"""The wide tests: those too slow for ``make test``, and what each showed when it was last run.

    python benchmarks/wide.py                     # all of them, two at a time (20 minutes)
    python benchmarks/wide.py tests/cli           # those below a folder, or any words of pytest

A test is wide when it carries ``@pytest.mark.wide``. Outcome, seconds and a hash of the test's source go to
``results/wide.json``; ``tests/test_wide.py`` asks that every wide test passed as it is written now.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from machine import machine

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "wide.json"


class Recorder:
    """Gather the outcome of every test; a failure anywhere in it is the outcome."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note one phase of a test."""
        source = dict(report.user_properties).get("source")
        entry = self.tests.setdefault(
            report.nodeid, {"source": source, "outcome": report.outcome, "seconds": 0.0}
        )
        entry["seconds"] = round(entry["seconds"] + report.duration, 1)
        if report.outcome != "passed":
            entry["outcome"] = report.outcome


def main(words: list[str]) -> int:
    """Run them and write what came out; returns the exit code of pytest."""
    os.chdir(ROOT)
    os.environ["OMP_NUM_THREADS"] = "1"
    recorder = Recorder()
    code = pytest.main(["-m", "wide", "-n", "2", "-p", "no:cacheprovider", *words], plugins=[recorder])
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))["tests"] if RESULTS.exists() and words else {}
    tests = dict(sorted({**kept, **recorder.tests}.items()))
    text = json.dumps({"environment": machine(), "tests": tests}, indent=1, ensure_ascii=False)
    RESULTS.write_text(text + "\n", encoding="utf-8")
    total = sum(entry["seconds"] for entry in recorder.tests.values())
    passed = sum(entry["outcome"] == "passed" for entry in recorder.tests.values())
    print(f"{passed} of {len(recorder.tests)} passed, {total:.0f} s of tests")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
