"""Widths of the columns of a table in the terminal, so that no word and no number is cut."""

from __future__ import annotations

from collections.abc import Sequence


def longest_word(texts: Sequence[str]) -> int:
    """Measure the longest word of some texts: what a column that is wrapped needs."""
    return max((len(word) for text in texts for word in text.split()), default=0)


def longest_line(texts: Sequence[str]) -> int:
    """Measure the longest line of some texts: what a column that is not wrapped needs."""
    return max((len(line) for text in texts for line in text.splitlines()), default=0)


def widths(needed: Sequence[int], wanted: Sequence[int], room: int) -> list[int] | None:
    """Share the room of a line out among columns; None where it is not enough for all.

    Left to choose, rich narrows any column, and cuts the last where headings are long.

    Args:
        needed: Characters that each column needs.
        wanted: Characters with which it would be as wide as its text; those that lack least come first.
        room: Characters of a line, without what stands between columns.
    """
    spare = room - sum(needed)
    if spare < 0:
        return None
    found = list(needed)
    for place in sorted(range(len(found)), key=lambda place: wanted[place] - needed[place]):
        more = min(max(0, wanted[place] - needed[place]), spare)
        found[place], spare = found[place] + more, spare - more
    return found
