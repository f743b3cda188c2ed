"""How quantisers are spelled: a name, and modifiers in any order, joined by ``-``."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from algobias.errors import BadInput, unknown_name
from algobias.numerics.formats import COMMON, Format, parse_format
from algobias.numerics.rules import SAWB, Clip, Over, Rounding, Scale

NAMED = {
    "mxfp8": ("e4m3", Scale("block", 32, "rceil")),
    "mxfp6": ("e2m3", Scale("block", 32, "rceil")),
    "mxfp4": ("e2m1", Scale("block", 32, "rceil")),
    "mxint8": ("int8", Scale("block", 32, "rceil")),
    "nvfp4": ("e2m1", Scale("block", 16, "e4m3")),
    "ufp4": ("e1m2", Scale("block", 16, "e4m3")),
}
"""Formats with a scale for every block."""

VARIANTS = {("mxfp8", "e5m2"): "e5m2", ("mxfp6", "e3m2"): "e3m2"}
ALIASES = {"luq": ("e3m0", "sr"), "bf16": ("bfloat16",), "fp16": ("float16",), "fp32": ("float32",)}
NAMES = (*NAMED, *ALIASES, *COMMON, "float32", "sign", "luq-nearest", "e4m3-240", "2:4", "1:4")
ROUNDED: dict[str, Rounding] = {"sr": "stochastic", "floor": "floor", "dither": "dithered"}
CLIPPED: dict[str, Clip] = {"sawb": "sawb", "aciq": "aciq", "aciqnormal": "aciq_normal"}
MODIFIERS = (
    *ROUNDED, *CLIPPED, "row", "tensor", "unscaled", "block32", "tile16", "2d", "pow2", "floorscale",
    "evenscale", "twolevel", "4over6", "affine", "p99.9", "2:4", "mvue", "240", "e5m2", "e3m2", "nearest",
)  # fmt: skip


class Fields(NamedTuple):
    """What a quantiser is made of; see :class:`algobias.numerics.quantiser.Quantiser`."""

    format: Format
    scale: Scale = Scale()
    rounding: Rounding = "nearest"
    clip: Clip = "max"
    percentile: float = 100.0
    affine: bool = False
    sparse: tuple[int, int] | None = None
    mvue: bool = False


def read(text: str) -> Fields:
    """Read a spelling; :func:`algobias.numerics.quantiser.parse_quantiser` says what there is.

    Raises:
        BadInput: Unknown words (the nearest is proposed), words that do not go together.
    """
    words = text.strip().lower().split("-")
    words = [*ALIASES.get(words[0], words[:1]), *words[1:]] if words[:2] != ["luq", "nearest"] else words
    if words[:2] == ["luq", "nearest"]:
        words = ["luq-nearest", *words[2:]]
    if words[:1] == ["e4m3"] and "240" in words:
        words = ["e4m3-240", *(w for w in words[1:] if w != "240")]
    fields = _base(words[0])
    seen: dict[str, str] = {}
    for word in sorted(words[1:], key=lambda word: word == "2d"):  # of whatever blocks the others name
        kind, fields = _modified(fields, words[0], word)
        if kind in seen:
            raise BadInput("number format", text, f"{seen[kind]} or {word}, not both")
        seen[kind] = word
    check(fields, text)
    return fields


def _base(name: str) -> Fields:
    if name in NAMED:
        element, scale = NAMED[name]
        return Fields(parse_format(element), scale)
    if sparse := _groups(name):
        return Fields(parse_format("float32"), Scale("none"), sparse=sparse)
    try:
        fmt = parse_format(name)
    except BadInput:
        raise unknown_name("number format", name, NAMES) from None
    return Fields(fmt, Scale(_usual(fmt)))


def _usual(fmt: Format) -> Over:
    """Who shares a scale where nothing is said."""
    return "none" if fmt.bits >= 16 or fmt.binary else "tensor"


def _groups(word: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d{1,3}):(\d{1,3})", word)
    if not found:
        return None
    n, m = int(found[1]), int(found[2])
    if not 1 <= n <= m:
        raise BadInput("number format", word, "N:M with 1 <= N <= M")
    return n, m


def _modified(fields: Fields, base: str, word: str) -> tuple[str, Fields]:
    """Which kind of modifier it is, and the fields with it."""
    scale = fields.scale
    if word in ROUNDED:
        return "rounding", fields._replace(rounding=ROUNDED[word])
    if word == "nearest":
        return "rounding", fields
    if word in CLIPPED:
        return "clip", fields._replace(clip=CLIPPED[word])
    if found := re.fullmatch(r"p(\d+(?:\.\d+)?)", word):
        return "clip", fields._replace(clip="percentile", percentile=round(float(found[1]), 12))
    if word in ("row", "tensor", "unscaled"):
        over = "none" if word == "unscaled" else word
        return "entries", fields._replace(scale=replace(scale, over=over, size=0))  # type: ignore[arg-type]
    if found := re.fullmatch(r"(block|tile)(\d{1,5})", word):
        kind, size = found[1], int(found[2])
        return "entries", fields._replace(scale=replace(scale, over=kind, size=size))  # type: ignore[arg-type]
    if word == "2d":
        return "square", fields._replace(scale=replace(scale, over="tile"))
    if word in ("pow2", "floorscale", "evenscale", "twolevel"):
        rule = {"pow2": "rceil", "floorscale": "floor", "evenscale": "even", "twolevel": "e4m3"}[word]
        return "rule", fields._replace(scale=replace(scale, rule=rule))  # type: ignore[arg-type]
    if word == "4over6":
        return "four", fields._replace(scale=replace(scale, four=True))
    if word == "affine":
        return "affine", fields._replace(affine=True)
    if word == "mvue":
        return "mvue", fields._replace(mvue=True)
    if (base, word) in VARIANTS:
        return "element", fields._replace(format=parse_format(VARIANTS[base, word]))
    if sparse := _groups(word):
        return "sparse", fields._replace(sparse=sparse)
    raise unknown_name("modifier of a number format", word, MODIFIERS)


def check(fields: Fields, text: str) -> None:
    """Refuse what does not go together.

    Raises:
        BadInput: With what does.
    """
    fmt, scale = fields.format, fields.scale
    blocks, whole = scale.over in ("block", "tile"), scale.over in ("tensor", "row")
    plain = fields.clip == "max" and scale.rule == "exact"
    float32 = Fields(fmt, Scale("none"), sparse=fields.sparse, mvue=fields.mvue)
    for wrong, allowed in (
        (blocks and scale.size < 1, "2d of a format with blocks; blocks of at least one entry"),
        (scale.rule == "e4m3" and not blocks, "scales of two levels for blocks or tiles"),
        (
            scale.over == "none" and scale.rule != "exact",
            "a power of two for scales per tensor, row, block, tile",
        ),
        (scale.four and (scale.rule != "e4m3" or fmt.name != "e2m1"), "4over6 of nvfp4"),
        (fields.clip != "max" and not whole, "clipping of scales per tensor or row"),
        (fields.clip == "sawb" and fmt.bits not in SAWB, "sawb for formats of 2, 3, 4, 5 or 8 bits"),
        (not 0 < fields.percentile <= 100, "a percentile above 0, at most 100"),
        (
            fields.affine and not (fmt.integer and whole and plain),
            "affine integers, exact scales per tensor or row",
        ),
        (fields.mvue and fields.sparse is None, "mvue with N:M"),
        (fmt.name == "bfloat16" and scale.over != "none", "bfloat16 without a scale"),
        (
            fmt.binary and (scale.over == "tile" or not plain),
            "signs, with a mean magnitude per tensor, row or block",
        ),
        (fmt.binary and fields.rounding == "floor", "signs to the nearest or at random"),
        (fmt.exact and fields != float32, "float32 as it is"),
    ):
        if wrong:
            raise BadInput("number format", text, allowed)


def spell(fields: Fields) -> str:
    """Give the canonical spelling: the shortest name, then modifiers in the order of this function."""
    fmt, scale = fields.format, fields.scale
    words, rest = _named(fmt, scale)
    if fmt.exact and fields.sparse is not None:
        words = []
    words += rest
    if fields.affine:
        words.append("affine")
    if fields.clip == "percentile":
        words.append("p" + f"{fields.percentile:.12f}".rstrip("0").rstrip("."))
    words += [word for word, clip in CLIPPED.items() if clip == fields.clip]
    if not fmt.exact:
        words += [word for word, rounding in ROUNDED.items() if rounding == fields.rounding]
    if fields.sparse is not None:
        words.append(f"{fields.sparse[0]}:{fields.sparse[1]}")
    if fields.mvue:
        words.append("mvue")
    return "-".join(words)


def _named(fmt: Format, scale: Scale) -> tuple[list[str], list[str]]:
    """The name, and what of the scale it does not say."""
    power = {"rceil": "pow2", "floor": "floorscale", "even": "evenscale", "e4m3": "twolevel"}
    for name, (element, usual) in NAMED.items():
        elements = [element, *(e for (base, _), e in VARIANTS.items() if base == name)]
        families = [{"rceil", "floor", "even"}, {"e4m3"}]
        same = any({scale.rule, usual.rule} <= family for family in families)
        if fmt.name in elements and scale.over in ("block", "tile") and scale.size == usual.size and same:
            words = [name] if fmt.name == element else [name, fmt.name]
            rest = ["2d"] if scale.over == "tile" else []
            rest += [power[scale.rule]] if scale.rule != usual.rule else []
            return words, rest + (["4over6"] if scale.four else [])
    rest = []
    if scale.over in ("block", "tile"):
        rest.append(f"{scale.over}{scale.size}")
    elif scale.over == "row":
        rest.append("row")
    elif scale.over != _usual(fmt):
        rest.append("unscaled" if scale.over == "none" else "tensor")
    rest += [power[scale.rule]] if scale.rule in power else []
    return [fmt.name], rest + (["4over6"] if scale.four else [])
