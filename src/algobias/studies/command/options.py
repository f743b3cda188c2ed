"""How an audit of a command is carried out; nothing here changes a result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CommandOptions:
    """How, not what: nothing here changes a result.

    Attributes:
        slots: Runs at a time; None: one for each graphics card, or for each core.
        max_time: Seconds after which the study stops and can be gone on with.
        force: Go on where the preflight found something wrong.
        keep: Keep what runs write into their folder ``out``.
    """

    slots: int | None = None
    max_time: float | None = None
    force: bool = False
    keep: bool = False
