"""What cards say of options: a meaning for each, and the values that it may have."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest
from pydantic import Field

from algobias.levers.registry import LEVERS
from algobias.option_cards import options_of
from algobias.probes.registry import PROBES
from algobias.spelling import Spelled, parse_options


class Smoothed(Spelled):
    """Smooth something.

    Attributes:
        span: Updates that
            are averaged.
        kind: ``flat``, or ``late``.
        fresh: Start anew.
    """

    name: ClassVar[str] = "smoothed"
    positional: ClassVar[str | None] = "span"

    span: int = Field(ge=1, lt=9)
    kind: Literal["flat", "late"] = "flat"
    share: float | None = Field(default=None, gt=0, le=1)
    fresh: bool = False


class Again(Smoothed):
    """Smooth twice.

    Attributes:
        share: Of the first.
    """

    name: ClassVar[str] = "again"


def test_options_have_defaults_limits_and_meanings():
    assert options_of(Again) == [
        {
            "name": "span",
            "positional": True,
            "required": True,
            "default": None,
            "allowed": "a whole number of 1 or more below 9",
            "meaning": "Updates that are averaged.",
        },
        {
            "name": "kind",
            "positional": False,
            "required": False,
            "default": "flat",
            "allowed": "one of flat, late",
            "meaning": "flat, or late.",
        },
        {
            "name": "share",
            "positional": False,
            "required": False,
            "default": None,
            "allowed": "a number above 0 up to 1",
            "meaning": "Of the first.",
        },
        {
            "name": "fresh",
            "positional": False,
            "required": False,
            "default": False,
            "allowed": "true or false",
            "meaning": "Start anew.",
        },
    ]
    assert [option["meaning"] for option in options_of(Smoothed)][2] is None
    assert parse_options(Again, "8,kind=late,share=1").fresh is False


@pytest.mark.parametrize("cls", [*LEVERS.values(), *PROBES.values()], ids=lambda cls: cls.name)
def test_every_option_has_a_meaning(cls: type[Spelled]):
    for option in options_of(cls):
        assert option["meaning"], option["name"]
        assert option["meaning"].endswith("."), option["name"]
        texts = cls.model_fields[option["name"]].annotation is str
        assert texts or option["allowed"] or "multiple" in option["meaning"].lower(), option["name"]
