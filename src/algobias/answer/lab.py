"""What a lab answers: theory and training side by side, as numbers, pictures and words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from algobias.json_values import JsonObject

Kind = Literal["theory", "training", "second training", "limit"]
"""How a series is drawn: a line; filled marks; rings around them; a dashed level."""

Cell = float | int | str | None


@dataclass(frozen=True)
class Column:
    """One column of a lab's table.

    Attributes:
        name: Key in the JSON rows.
        title: Heading.
        meaning: One sentence.
        unit: Empty where the number has none.
    """

    name: str
    title: str
    meaning: str
    unit: str = ""


@dataclass(frozen=True)
class Check:
    """Theory against training in one quantity, over all settings of the lab.

    Attributes:
        name: What is compared.
        largest: Largest disagreement found, relative to the theory.
        tolerance: Up to this they agree: what the finite steps, or the finite search, of the training allow.
        where: The setting at which the disagreement is largest.
    """

    name: str
    largest: float
    tolerance: float
    where: str

    @property
    def agrees(self) -> bool:
        """Whether the largest disagreement is within the tolerance (NaN is not)."""
        return self.largest <= self.tolerance


@dataclass(frozen=True)
class Axis:
    """An axis of a picture."""

    title: str
    log: bool = False


@dataclass(frozen=True)
class Series:
    """Points of one kind in a picture; those of one group share a colour.

    Attributes:
        group: What it belongs to, as in the legend.
        kind: Theory or training.
        points: (x, y); a limit has one y for all x: one point.
    """

    group: str
    kind: Kind
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: What it shows.
        x: Horizontal axis.
        y: Vertical axis.
        series: What is drawn.
        read: How to read it, one or two sentences.
    """

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    read: str


@dataclass(frozen=True)
class LabResult:
    """What a lab found: numbers, verdict, pictures, words.

    Attributes:
        name: Name of the lab.
        title: One line.
        spelling: The lab with its options, as on the command line.
        options: All options with their values.
        seed: Seed of the random problem.
        shown: What is shown, for a newcomer.
        theory: What the theory says.
        sources: Papers and years.
        columns: Columns of the table.
        rows: Rows of the table; a missing number is None.
        checks: Theory against training.
        panels: Pictures.
        marks: What each kind of mark is here, in the order of the legend.
        seconds: Wall time.
    """

    name: str
    title: str
    spelling: str
    options: JsonObject
    seed: int
    shown: str
    theory: str
    sources: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[dict[str, Cell], ...]
    checks: tuple[Check, ...]
    panels: tuple[Panel, ...]
    marks: tuple[tuple[Kind, str], ...]
    seconds: float

    @property
    def verdict(self) -> Literal["agrees", "disagrees"]:
        """Whether training agrees with theory in every check, of which there must be one."""
        return "agrees" if self.checks and all(check.agrees for check in self.checks) else "disagrees"

    def as_json(self) -> JsonObject:
        """The result as one JSON object (schema 1), without NaN.

        ``schema, lab, seed, options, verdict, checks[{name, largest, tolerance, where, agrees}],
        columns[{name, title, unit, meaning}], rows[{column: value}], panels[{title, x, y, read,
        series[{group, kind, points[[x, y]]}]}], shown, theory, sources[], seconds``; an axis is ``{title,
        log}``.
        """
        return {
            "schema": 1,
            "lab": self.name,
            "seed": self.seed,
            "options": self.options,
            "verdict": self.verdict,
            "checks": [
                {
                    "name": check.name,
                    "largest": _finite(check.largest),
                    "tolerance": check.tolerance,
                    "where": check.where,
                    "agrees": check.agrees,
                }
                for check in self.checks
            ],
            "columns": [
                {"name": one.name, "title": one.title, "unit": one.unit, "meaning": one.meaning}
                for one in self.columns
            ],
            "rows": [{key: _finite(value) for key, value in row.items()} for row in self.rows],
            "panels": [
                {
                    "title": panel.title,
                    "x": {"title": panel.x.title, "log": panel.x.log},
                    "y": {"title": panel.y.title, "log": panel.y.log},
                    "read": panel.read,
                    "series": [
                        {"group": one.group, "kind": one.kind, "points": [list(at) for at in one.points]}
                        for one in panel.series
                    ],
                }
                for panel in self.panels
            ],
            "shown": self.shown,
            "theory": self.theory,
            "sources": list(self.sources),
            "seconds": round(self.seconds, 2),
        }


def _finite(value: Cell) -> Cell:
    return None if isinstance(value, float) and not math.isfinite(value) else value
