"""A metric whose last number stands in another line than the ones before it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from algobias.commands.forms import other_form
from algobias.commands.numbers.sources import Source

EPOCHS = "".join(f"epoch {k}: val acc {90 + k}.5 %\n" for k in range(3))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (EPOCHS, False),
        (EPOCHS + "done, best val acc 97.33 %\n", True),
        ("val acc 1e-3\nval acc -2,5\nval acc 3\n", False),
        ("val acc 90\n", False),
        ("start: val acc 10\nval acc 90\nval acc 91\n", False),
        ("", False),
    ],
)
def test_the_last_line_is_of_another_form(tmp_path: Path, text: str, said: bool) -> None:
    output = tmp_path / "stdout.txt"
    output.write_text(text)
    sentence = other_form(Source.parse(r"stdout:val acc (\S+)", "--metric"), output)
    assert (sentence is not None) is said
    if sentence is not None:
        assert "'done, best val acc 97.33 %'" in sentence


def test_other_sources_have_no_lines(tmp_path: Path) -> None:
    assert other_form(Source.parse("csv:a.csv:acc", "--metric"), tmp_path / "stdout.txt") is None
