"""What is said of doses that were not made."""

from __future__ import annotations


def dose_left_out(dose: float | None, reason: str) -> str:
    """Say which dose is not made, and why."""
    return f"no doses: {reason}" if dose is None else f"no dose of {dose:g}: {reason}"
