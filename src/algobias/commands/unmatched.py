"""Expressions that match nothing in a short run, where numbers stand that may have been meant."""

from __future__ import annotations

import re
from pathlib import Path

from algobias.commands.findings import Finding
from algobias.commands.numbers.sources import MOST_LINE, Source
from algobias.errors import MOST_SHOWN, BadInput

_NUMBERED = re.compile(r"[A-Za-z]\w*[\s:=]*[-+]?\.?\d")
"""A word and the number behind it."""


def unmatched(source: Source, folder: Path, output: Path, updates: int, option: str) -> Finding | None:
    """Note that an expression matches nothing, although a line with a number stands in the output.

    It is no failure: the evaluation whose line is meant may come after so few updates. None where the
    expression matches, or where nothing with a number has been written yet.

    Args:
        source: Where numbers are read; only ``stdout`` is looked at.
        folder: The folder of the run.
        output: What it wrote to its standard output.
        updates: Updates it had.
        option: What the source was given with.
    """
    if source.kind != "stdout":
        return None
    try:
        if source.values(output, folder, folder, option):
            return None
    except BadInput as error:
        return Finding(option.lstrip("-"), None, str(error))
    line = _numbered(output)
    if line is None:
        return None
    text = (
        f"{option} '{source.spelling()}' matches no line of the first {updates} updates, though numbers "
        f"stand there, like in '{line}': if that is the line you mean, mend the expression; if it comes "
        "later, whole runs tell"
    )
    return Finding(option.lstrip("-"), None, text)


def _numbered(output: Path) -> str | None:
    """Find the last line that has a word and a number behind it."""
    last = None
    with output.open("rb") as file:
        while line := file.readline(MOST_LINE):
            text = line.decode("utf-8", errors="replace").strip()
            if _NUMBERED.search(text):
                last = text[:MOST_SHOWN]
    return last
