"""Whether the last number of a metric stands where those before it stood."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from algobias.commands.numbers.sources import MOST_LINE, Source
from algobias.errors import clean_text

_NUMBERS = re.compile(r"[-+]?\d[\d.,:]*(?:[eE][-+]?\d+)?")

SHOWN = 80
"""Characters of a line that are shown."""


def other_form(source: Source, output: Path) -> str | None:
    """Say so where the last line that matches is of a form that no line before it has.

    ``best accuracy 97.3`` after lines of ``epoch 9: accuracy 96.8`` matches ``accuracy (\\S+)`` too, and
    would be taken for the metric at the end.

    Args:
        source: Where the metric is read; nothing is said but of standard output.
        output: What a run wrote to it.
    """
    if source.kind != "stdout" or not output.is_file():
        return None
    pattern = re.compile(source.where)
    forms: Counter[str] = Counter()
    last = form = ""
    with output.open("rb") as file:
        while line := file.readline(MOST_LINE):
            text = line.decode("utf-8", errors="replace").strip()
            if pattern.search(text):
                last, form = text, _NUMBERS.sub("#", text)
                forms[form] += 1
    if len(forms) < 2 or forms[form] > 1:
        return None
    return (
        "the number at the end of a run is read from a line of another form than the "
        f"{forms.total() - 1} before: {clean_text(last[:SHOWN])!r}; where that is not the metric at the end, "
        "narrow --metric to the other lines"
    )
