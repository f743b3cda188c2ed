"""How many masks there are to choose from."""

from __future__ import annotations

import functools
import math
from collections import Counter
from typing import Literal

from algobias.errors import BadInput

Kind = Literal["rows", "transposable", "free"]


@functools.cache
def admissible(n: int, m: int) -> int:
    """Count the M x M masks with exactly N entries in every row and every column.

    Row by row, with one entry for every multiset of what columns still need: 90 for 2:4, 24 for 1:4,
    116,963,796,250 for 4:8. Reference: Hubara et al., Accelerated Sparse Neural Training, 2021.

    Raises:
        BadInput: Not 1 <= N <= M.
    """
    if not 1 <= n <= m:
        raise BadInput("n", n, f"1 to m = {m}")
    found = Counter({(n,) * m: 1})
    for _ in range(m):
        after: Counter[tuple[int, ...]] = Counter()
        for needs, ways in found.items():
            for left, more in _rows(needs, n).items():
                after[left] += ways * more
        found = after
    return found[(0,) * m]


def _rows(needs: tuple[int, ...], n: int) -> Counter[tuple[int, ...]]:
    """What columns still need after one more row of N entries, sorted, and in how many ways."""
    levels = Counter(needs)
    found: Counter[tuple[int, ...]] = Counter()

    def choose(open_levels: list[int], left: int, ways: int, taken: dict[int, int]) -> None:
        if not open_levels:
            if left == 0:
                parts = [
                    [level - 1] * taken[level] + [level] * (levels[level] - taken[level]) for level in taken
                ]
                zeros = [0] * levels[0]
                found[tuple(sorted(sum(parts, zeros)))] += ways
            return
        level, *rest = open_levels
        for count in range(min(left, levels[level]) + 1):
            more = ways * math.comb(levels[level], count)
            choose(rest, left - count, more, {**taken, level: count})

    choose([level for level in levels if level], n, 1, {})
    return found


def mask_diversity(entries: int, n: int, m: int, kind: Kind = "rows") -> float:
    """Natural logarithm of the number of masks that so many entries may have.

    ``rows``: N of every M entries, ``log C(M, N)`` a group. ``transposable``: rows and columns of every M x M
    block, the logarithm of :func:`admissible`. ``free``: any N / M of every M x M entries. Reference: Hubara
    et al., Accelerated Sparse Neural Training, 2021 (mask diversity; more of it, less is lost).

    Args:
        entries: Of the tensor, whole groups or blocks of them.
        n: Entries kept.
        m: Of so many.
        kind: The constraint.

    Raises:
        BadInput: N or M do not fit.
    """
    of = m if kind == "rows" else m * m
    if not 1 <= n <= m:
        raise BadInput("n", n, f"1 to m = {m}")
    if entries % of:
        raise BadInput("entries", entries, f"a multiple of {of}")
    ways = {"rows": lambda: math.comb(m, n), "free": lambda: math.comb(m * m, n * m)}
    count = admissible(n, m) if kind == "transposable" else ways[kind]()
    return entries // of * math.log(count)
