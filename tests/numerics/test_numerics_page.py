"""docs/numerics.md: its code runs, its names and modifiers are all there are, its figures are right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from algobias.numerics.formats import parse_format
from algobias.numerics.grammar import ALIASES, CLIPPED, MODIFIERS, NAMED, ROUNDED
from algobias.numerics.quantiser import parse_quantiser

PAGE = (Path(__file__).parents[2] / "docs" / "numerics.md").read_text(encoding="utf-8")
NAMES, CHANGES = (
    part.split("\n\n")[0] for part in (PAGE.split("| name |")[1], PAGE.split("| modifier |")[1])
)


def test_the_code_runs_and_says_what_it_does() -> None:
    space: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.S):
        exec(block, space)
    x, w = space["x"], space["w"]
    plain = parse_quantiser("int4-row")
    assert float((space["product"] - x @ w.T).norm()) < float((x @ w.T).norm())
    assert torch.allclose(
        space["unrotate"](space["rotate"](x, space["signs"]), space["signs"], 96), x, atol=1e-5
    )
    assert 0.75 < float((space["sparse"] == 0).double().mean()) < 0.95
    assert plain(x).shape == x.shape
    assert space["summed"].shape == (64, 32)


def test_every_name_and_modifier_is_on_the_page() -> None:
    told = set(re.findall(r"`([^`]+)`", NAMES))
    for name in (*NAMED, "luq", "e3m0", "e4m3-240", "float32", "bfloat16", "float16", "e1m2", "e2m3", "e3m2"):
        assert name in told
        parse_quantiser(name)
    assert set(ALIASES) <= told | {"bf16", "fp16", "fp32"}
    words = set(re.findall(r"`([^`]+)`", CHANGES))
    assert {*ROUNDED, *CLIPPED} <= words
    assert set(MODIFIERS) - words <= {"240", "e5m2", "e3m2", "nearest", "block32"}


def test_figures_of_the_table_are_right() -> None:
    for name, top in (("e4m3", 448), ("e4m3-240", 240), ("e5m2", 57344), ("e2m3", 7.5), ("e3m2", 28)):
        assert parse_format(name).top == top
    for name, bits in (("mxfp8", 8.25), ("mxfp6", 6.25), ("mxfp4", 4.25), ("nvfp4", 4.5), ("ufp4", 4.5)):
        assert parse_quantiser(name).bits == bits
