"""Tables of text: a heading for each column of cells, and rows with a name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypedDict, TypeVar

Cell = TypeVar("Cell")


class TextRow(TypedDict, Generic[Cell]):
    """A row: what it is about, and what stands under each label."""

    name: str
    cells: list[Cell]


class TextTable(TypedDict, Generic[Cell]):
    """A table: headings of the cells, and rows."""

    labels: list[str]
    rows: list[TextRow[Cell]]


def text_table(labels: Iterable[str], rows: Iterable[tuple[str, list[Cell]]]) -> TextTable[Cell]:
    """Make a table of rows with names; one without rows has no headings either."""
    filled: list[TextRow[Cell]] = [{"name": name, "cells": cells} for name, cells in rows]
    return {"labels": list(labels) if filled else [], "rows": filled}
