"""Lab: the contract of an exactly solvable case. What one answers stands in :mod:`algobias.answer.lab`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from algobias.answer.lab import Axis, Cell, Check, Column, Kind, LabResult, Panel, Series
from algobias.spelling import Spelled, validate_options

__all__ = [
    "Axis",
    "Cell",
    "Check",
    "Column",
    "Kind",
    "Lab",
    "LabResult",
    "Panel",
    "Series",
    "series",
    "worst",
]


class Lab(Spelled):
    """An exactly solvable case; its fields are its options.

    Class attributes:
        name: Its name on the command line.
        title: One line.
        summary: One sentence for the catalogue.
    """

    title: ClassVar[str]
    summary: ClassVar[str]

    @classmethod
    def lacking(cls) -> tuple[str, ...]:
        """A title, a summary, and how it is solved."""
        needed = {
            "title (one line)": not hasattr(cls, "title"),
            "summary (one sentence)": not hasattr(cls, "summary"),
            "run (method: theory beside training)": cls.run is Lab.run,
        }
        return tuple(what for what, missing in needed.items() if missing)

    def run(self, seed: int) -> LabResult:
        """Solve and train the case.

        Args:
            seed: Seed of whatever is random in the problem.

        Raises:
            BadInput: Options that cannot be carried out.
        """
        raise TypeError(f"{type(self).__name__} must say what it shows")

    def changed(self, options: dict[str, Any]) -> Lab:
        """The same lab with some options replaced.

        Raises:
            BadInput: No such option, or a value out of range.
        """
        return validate_options(type(self), {**self.model_dump(exclude_defaults=True), **options})


def series(group: str, kind: Kind, x: ArrayLike, y: ArrayLike) -> Series:
    """A series from two vectors of one length; points that are not finite are left out."""
    pairs = np.column_stack([np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)])
    points = [(float(a), float(b)) for a, b in pairs]
    return Series(group, kind, tuple(at for at in points if np.isfinite(at).all()))


def worst(
    name: str,
    theory: NDArray[np.float64],
    training: NDArray[np.float64],
    where: Sequence[str],
    tolerance: float,
) -> Check:
    """Compare training with theory, setting by setting, relative to the theory.

    Args:
        name: What is compared.
        theory: [settings].
        training: [settings]; what is not finite disagrees without limit.
        where: The settings in words.
        tolerance: Largest relative difference that counts as agreement.
    """
    off = np.abs(training - theory) / np.abs(theory)
    off = np.where(np.isfinite(off), off, np.inf)
    place = int(np.argmax(off))
    return Check(name, float(off[place]), tolerance, where[place])
