"""What is known of a tensor outside of modules: what made it, or why that was not seen."""

from __future__ import annotations

from typing import NamedTuple

from algobias.attached.capture.graph import Node

UNSEEN = "the loss has no seen history"


CHANGED = "an input was changed in place"


class Unseen(Exception):
    """A tensor that depends on weights in a way that was not seen; says how."""


class Made(NamedTuple):
    """What is known of a tensor.

    Attributes:
        node: What it is; None: what made it was not seen.
        version: Torch's count of changes in place when it became that.
        step: The step that was being made then.
        why: Why what made it was not seen.
    """

    node: Node | None
    version: int
    step: int
    why: str = UNSEEN
