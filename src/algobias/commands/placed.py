"""A run of a command, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from algobias.commands.command import Command
from algobias.judge.design import Request

NOISE = "noise"
"""Arm of baselines on seeds of their own, which tell the seed spread."""


@dataclass(frozen=True)
class Placed:
    """A run of a command, and where it lies.

    Attributes:
        request: What the planner wants.
        command: The command.
        address: Address of the run.
        outcome: Address of its outcome.
        seed: Its seed.
        folder: Where it is carried out.
        label: What whoever watches reads: its arm, and how long it is where that is not as planned.
    """

    request: Request
    command: Command
    address: str
    outcome: str
    seed: int
    folder: Path
    label: str


def label_of(spoken: str, length: float) -> str:
    """Name the runs of an arm that are alike, for whoever watches.

    Args:
        spoken: The arm, as people read it.
        length: Multiple of the planned schedule.
    """
    arm = "seed spread" if spoken == NOISE else spoken
    return arm if length == 1 else f"{arm} x{length:g} as long"
