"""A number as a lever takes it: itself, or a multiple of what there is."""

from __future__ import annotations

import re
from typing import Any, Self

from pydantic import model_validator

from algobias.frozen import Frozen
from algobias.spelling import number


class Amount(Frozen):
    """A number, or a multiple of what is there: ``256`` or ``x16``."""

    value: float
    relative: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        if isinstance(data, int | float) and not isinstance(data, bool):
            return {"value": float(data)}
        if isinstance(data, str):
            match = re.fullmatch(r"(x?)([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", data)
            if match is None:
                raise ValueError("a number, or x and a number for a multiple, is needed")
            return {"value": float(match[2]), "relative": match[1] == "x"}
        return data

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.value <= 0:
            raise ValueError("a number above 0")
        return self

    def of(self, current: float) -> float:
        """The amount this stands for, given the current one."""
        return self.value * current if self.relative else self.value

    def __str__(self) -> str:
        return f"{'x' if self.relative else ''}{number(self.value)}"
