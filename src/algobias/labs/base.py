"""Lab: the contract of an exactly solvable case. What one answers stands in :mod:`algobias.answer.lab`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import TypeAdapter, ValidationError

from algobias.answer.lab import Axis, Cell, Check, Column, Kind, LabResult, Panel, Series
from algobias.errors import BadInput
from algobias.frozen import allowed_words
from algobias.own.returns import Returns, returned
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


def whole(result: LabResult, given: tuple[Any, ...], place: str) -> LabResult:
    """Refuse a result with something in it that it cannot show.

    Raises:
        BadInput: The field, and what must stand there.
    """
    try:
        TypeAdapter(LabResult).validate_python(asdict(result))
        json.dumps(result.as_json(), allow_nan=False)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise BadInput(f"{place}: {field}", returned(first["input"]), allowed_words(first["msg"])) from error
    except (TypeError, ValueError) as error:
        allowed = "a LabResult of plain numbers and texts, NaN and infinity as None"
        raise BadInput(place, str(error), allowed) from error
    return result


class Lab(Spelled):
    """An exactly solvable case; its fields are its options.

    Class attributes:
        name: Its name on the command line.
        title: One line.
        summary: One sentence for the catalogue.
    """

    promised: ClassVar[Mapping[str, Returns]] = {
        **Spelled.promised,
        "run": Returns("a LabResult", lambda value, owner: isinstance(value, LabResult), whole),
    }
    title: ClassVar[str]
    summary: ClassVar[str]

    @classmethod
    def lacking(cls) -> tuple[str, ...]:
        """A title, a summary, and how it is solved."""
        needed = {
            "title (one line)": not isinstance(getattr(cls, "title", None), str),
            "summary (one sentence)": not isinstance(getattr(cls, "summary", None), str),
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
