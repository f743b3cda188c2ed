"""Pieces of a change of precision: products, operands, groups of layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

MOST_GROUPS = 8
"""Layers of a network are looked at in at most so many groups."""

PRODUCTS: Mapping[str, tuple[str, ...]] = {
    "forward product": ("fx", "fw"),
    "input's gradient": ("dg", "dw"),
    "weight's gradient": ("wg", "wx"),
}
OPERANDS: Mapping[str, str] = {
    "fx": "forward product's input",
    "fw": "forward product's weight",
    "dg": "input's gradient's gradient",
    "dw": "input's gradient's weight",
    "wg": "weight's gradient's gradient",
    "wx": "weight's gradient's input",
}


def groups_of_operands(rounded: Sequence[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Products that round something, and operands where a product rounds two: text and operands.

    A piece that is all of the change is no piece.

    Args:
        rounded: Operands that are rounded.

    Example:
        >>> [text for text, _ in groups_of_operands(["fx", "fw", "wg"])]  # doctest: +NORMALIZE_WHITESPACE
        ['forward product (fx, fw)', "weight's gradient (wg)", "forward product's input (fx)",
         "forward product's weight (fw)"]
    """
    whole = frozenset(rounded)
    found: dict[frozenset[str], str] = {}
    for text, operands in PRODUCTS.items():
        own = [name for name in operands if name in whole]
        if own:
            found.setdefault(frozenset(own), f"{text} ({', '.join(own)})")
    for name in rounded:
        found.setdefault(frozenset((name,)), f"{OPERANDS[name]} ({name})")
    yield from ((text, operands) for operands, text in found.items() if operands != whole)


def groups_of_layers(names: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """At most eight groups of consecutive layers, as alike in size as can be; none where there is one layer.

    Example:
        >>> [text for text, _ in groups_of_layers(["conv1", "conv2", "fc1"])]
        ['layer conv1', 'layer conv2', 'layer fc1']
    """
    if len(names) < 2:
        return []
    count = min(MOST_GROUPS, len(names))
    ends = [len(names) * (place + 1) // count for place in range(count)]
    groups = [tuple(names[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return [(f"layer {g[0]}" if len(g) == 1 else f"layers {g[0]} to {g[-1]}", g) for g in groups]
