"""The fixtures as two arms, and what their gap has to be."""

from __future__ import annotations

from pathlib import Path

from curves import CHECKS, SEEDS, STEPS, accuracy

from algobias.kept.tables import Terms
from algobias.logs.arm import Reading
from algobias.studies.compare import Comparison, compare_tables

FIXTURES = Path(__file__).parent / "fixtures"


def asked(**columns: str) -> Reading:
    return Reading({role: [name] for role, name in columns.items()})


def compared(
    name: str, reading: Reading | None = None, tolerance: float = 0.3, **terms: object
) -> Comparison:
    folder = FIXTURES / name
    given = Terms(tolerance=tolerance, **terms)
    return compare_tables(folder / "base", folder / "variant", given, reading=reading)


def mean_gap(metric=accuracy, sign: int = 1) -> float:
    """The gap at the end by the formulas of the curves, without any file."""
    end = CHECKS * STEPS
    return sum(sign * (metric("base", seed, end) - metric("variant", seed, end)) for seed in SEEDS) / len(
        SEEDS
    )
