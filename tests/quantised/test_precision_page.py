"""docs/precision.md: its example runs, its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path

from algobias.levers.model.precision import Precision
from algobias.levers.registry import parse
from algobias.quantised.presets import PRESETS

PAGE = (Path(__file__).parents[2] / "docs" / "precision.md").read_text(encoding="utf-8")


def test_the_example_runs(capsys) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
    names: dict[str, object] = {}
    exec(compile(code, "precision.md", "exec"), names)
    assert "2: fx=e4m3,fw=e4m3,dg=e5m2,wg=e5m2-sr" in capsys.readouterr().out
    assert type(names["net"][0]).__name__ == "Linear"  # type: ignore[index]


def test_every_set_and_every_option_is_in_the_tables() -> None:
    sets, options = re.findall(r"^\| (?:set|option) \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, flags=re.M)
    assert set(re.findall(r"`([\w-]+)`", "".join(re.findall(r"^\|([^|]*)\|", sets, flags=re.M)))) == {
        name for name in PRESETS if name != "float32"
    }
    named = set(re.findall(r"`(\w+)(?:=K)?`", "".join(re.findall(r"^\|([^|]*)\|", options, flags=re.M))))
    assert named == set(Precision.model_fields) - {"format", "scale"}


def test_spellings_of_the_page_are_levers() -> None:
    for text in re.findall(r"precision:[\w:.,=*-]+\w", PAGE):
        parse(text)
