"""Parts of a task's held-out examples, which a study may look at apart."""

from __future__ import annotations

from typing import Literal, get_args

View = Literal["search", "confirm"]
"""The part that a search sees, and the part that no choice has seen."""


def split_name(text: str) -> tuple[str, View | None]:
    """Split ``digits@search`` into ``digits`` and ``search``; a text without a view stays as it is."""
    head, at, tail = text.strip().rpartition("@")
    for known in get_args(View):
        if at and tail == known:
            return head, known
    return text, None
