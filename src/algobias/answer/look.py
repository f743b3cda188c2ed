"""One look of the decision log."""

from __future__ import annotations

from pydantic import Field

from algobias.answer.form import Count, Form
from algobias.answer.interval import Interval


class LookEntry(Form):
    """What was seen and decided at a look.

    Attributes:
        n: Seeds.
        gap: The gap at the planned end.
        bias_share: What stays at equal fit.
        fit_share: What goes when the variant fits as well.
        states: State of each quantity by its name.
        decided: What was decided, in words.
    """

    n: Count | None = None
    gap: Interval = Interval()
    bias_share: Interval = Interval()
    fit_share: Interval = Interval()
    states: dict[str, str] = Field(default_factory=dict)
    decided: str = ""
