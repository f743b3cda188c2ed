"""Named sets of operands: which products are rounded to what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

PresetName = Literal[
    "float32", "int8", "int4", "grad-int4", "grad-luq", "grad-e3m0", "w8a8g8", "fp8", "mxfp4"
]


@dataclass(frozen=True)
class Preset:
    """A named set of operands.

    Attributes:
        summary: What is rounded, in a line.
        operands: Spelling of each operand that is rounded.
    """

    summary: str
    operands: Mapping[str, str]


def _preset(summary: str, **operands: str) -> Preset:
    return Preset(summary, MappingProxyType(operands))


def _all(spelling: str) -> dict[str, str]:
    return dict.fromkeys(("fx", "fw", "dg", "dw", "wg", "wx"), spelling)


PRESETS: Mapping[PresetName, Preset] = {
    "float32": _preset("nothing"),
    "int8": _preset("forward operands INT8, one scale per tensor", fx="int8", fw="int8"),
    "int4": _preset("forward operands INT4, one scale per tensor", fx="int4", fw="int4"),
    "grad-int4": _preset("gradients INT4, to the nearest", dg="int4", wg="int4"),
    "grad-luq": _preset("gradients in 4-bit powers of two, unbiased (LUQ)", dg="luq", wg="luq"),
    "grad-e3m0": _preset("gradients in 4-bit powers of two, to the nearest", dg="e3m0", wg="e3m0"),
    "w8a8g8": _preset(
        "forward operands INT8, the input's gradient from INT8 gradients (stochastic), the weight's from float32",
        fx="int8", fw="int8", dg="int8-sr",
    ),
    "fp8": _preset("forward operands E4M3, gradients E5M2", fx="e4m3", fw="e4m3", dg="e5m2", wg="e5m2"),
    "mxfp4": _preset("all six operands MXFP4, blocks of 32 along each product", **_all("mxfp4")),
}  # fmt: skip
"""Every set by its name."""

assert tuple(PRESETS) == get_args(PresetName)
