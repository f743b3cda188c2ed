"""Named sets of operands: which products are rounded to what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from algobias.errors import BadInput, unknown_name

PresetName = Literal[
    "float32", "int8", "int4", "grad-int4", "grad-luq", "grad-e3m0", "w8a8g8", "luq4", "fp8",
    "fp8-moments", "mxfp8", "mxfp4", "nvfp4", "ufp4", "bnn", "acc12",
]  # fmt: skip


ROTATED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"none": (), "weight": ("weight",), "all": ("forward", "input", "weight")}
)
"""Which products rotate their operands, by the word for it."""


@dataclass(frozen=True)
class Preset:
    """A named set of operands.

    Attributes:
        summary: What is rounded, in a line.
        operands: Spelling of each operand that is rounded.
        rotated: Products whose operands are rotated first.
        kept: Spelling of what is kept between updates in few bits: ``weights``, ``moment1``, ``moment2``.
        accumulator: Spelling of how the sums of the forward product are held; empty: float32.
    """

    summary: str
    operands: Mapping[str, str]
    rotated: tuple[str, ...] = ()
    accumulator: str = ""
    kept: Mapping[str, str] = field(default_factory=dict)


KEPT = ("weights", "moment1", "moment2")
"""What is kept between updates."""


def _preset(summary: str, *, rotated: str = "none", acc: str = "", **texts: str) -> Preset:
    kept: dict[str, str] = {name: texts.pop(name) for name in KEPT if name in texts}
    return Preset(summary, MappingProxyType(texts), ROTATED[rotated], acc, MappingProxyType(kept))


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
        "forward operands INT8; the input's gradient from INT8 gradients, the weight's from float32",
        fx="int8", fw="int8", dg="int8-sr",
    ),
    "luq4": _preset(
        "forward operands INT4 clipped by their moments (SAWB), gradients as grad-luq",
        fx="int4-sawb", fw="int4-sawb", dg="luq", wg="luq",
    ),
    "fp8": _preset("forward operands E4M3, gradients E5M2", fx="e4m3", fw="e4m3", dg="e5m2", wg="e5m2"),
    "fp8-moments": _preset(
        "as fp8, and Adam's mean in E4M3 and mean square in E5M2 between updates",
        fx="e4m3", fw="e4m3", dg="e5m2", wg="e5m2", moment1="e4m3", moment2="e5m2",
    ),
    "mxfp8": _preset("all six operands MXFP8 (E4M3), blocks of 32 along each product", **_all("mxfp8")),
    "mxfp4": _preset("all six operands MXFP4, blocks of 32 along each product", **_all("mxfp4")),
    "nvfp4": _preset(
        "all operands NVFP4: weights in tiles of 16x16, gradients stochastic, the weight's gradient rotated",
        fx="nvfp4", fw="nvfp4-2d", dg="nvfp4-sr", wg="nvfp4-sr", wx="nvfp4", rotated="weight",
    ),
    "ufp4": _preset(
        "all operands E1M2 in blocks of 16, rotated in all products; the weight's gradient's stochastic",
        fx="ufp4", fw="ufp4", dg="ufp4", wg="ufp4-sr", rotated="all",
    ),
    "bnn": _preset(
        "signs: weights times a mean magnitude for each output; gradients of inputs beyond 1 cancelled",
        fx="sign", fw="sign-row",
    ),
    "acc12": _preset("sums of the forward product in M7E4, rounded every 16 products", acc="m7e4-chunk16"),
}  # fmt: skip
"""Every set by its name."""

assert tuple(PRESETS) == get_args(PresetName)


def preset(name: str) -> Preset:
    """The set of operands of a name.

    Raises:
        BadInput: There is none; the nearest is proposed.
    """
    if not isinstance(name, str):
        raise BadInput("format", name, f"one of {', '.join(PRESETS)}")
    if name not in PRESETS:
        raise unknown_name("format", name, PRESETS)
    return PRESETS[name]  # type: ignore[index]


def operand_texts(name: str, scale: str, own: Mapping[str, str]) -> dict[str, str]:
    """Spell the operands of a set, with changes.

    Args:
        name: Of the set.
        scale: ``row``: forward operands with a scale per tensor get one for each row.
        own: Operands in place of the set's.

    Raises:
        BadInput: No such set, or no forward operand to scale.
    """
    texts = dict(preset(name).operands)
    if scale == "row":
        forward = [each for each in ("fx", "fw") if each in texts]
        if not forward:
            raise BadInput("scale", scale, "row where a forward operand is rounded: fx or fw")
        texts |= {each: f"{texts[each]}-row" for each in forward}
    return texts | dict(own)
