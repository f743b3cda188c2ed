"""What cards say of options: a meaning for each, and the values that it may have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

import pytest
from pydantic import Field

from algobias.cli.card_words import lever_words, probe_words
from algobias.levers.base import Lever
from algobias.levers.registry import LEVERS
from algobias.levers.registry import card as lever_card
from algobias.option_cards import options_of
from algobias.probes.base import Probe
from algobias.probes.registry import PROBES
from algobias.probes.registry import card as probe_card
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
        texts = cls.model_fields[option["name"]].annotation in (str, str | None)
        assert texts or option["allowed"] or "multiple" in option["meaning"].lower(), option["name"]


@pytest.mark.parametrize("cls", [*LEVERS.values(), *PROBES.values()], ids=lambda cls: cls.name)
def test_meanings_read_as_sentences_behind_the_choices(cls: type[Spelled]):
    for option in options_of(cls):
        meaning, allowed = option["meaning"], option["allowed"] or ""
        choices = allowed.removeprefix("one of ").split(", ") if allowed.startswith("one of ") else []
        assert re.split(r"[\s,;:.]", meaning)[0] not in choices, (option["name"], meaning)
        assert meaning[0].isupper() or re.match(r"[A-Za-z], ", meaning), (option["name"], meaning)
        assert len(meaning.split()) > 1, (option["name"], meaning)
        assert ":func:" not in meaning, (option["name"], meaning)
        assert ":class:" not in meaning, (option["name"], meaning)


def undefined(card: Mapping[str, object], words: str, plain: str) -> list[str]:
    """Fields that a card shows and the words below it do not define, but those that say what they are."""
    known = {"name", "summary", "references", "examples", "options", *plain.split()}
    return [
        key
        for key, value in card.items()
        if value != "" and key not in known and key.replace("_", " ") not in words
    ]


@pytest.mark.parametrize("cls", LEVERS.values(), ids=lambda cls: cls.name)
def test_the_words_below_a_card_define_the_fields_of_a_lever(cls: type[Lever]):
    card = lever_card(cls)
    words = lever_words(card)
    assert undefined(card, words, "saves costs not_when") == []
    assert [place for place in card["acts_on"] if f"{place}: " not in words] == []


@pytest.mark.parametrize("cls", PROBES.values(), ids=lambda cls: cls.name)
def test_the_words_below_a_card_define_the_fields_of_a_probe(cls: type[Probe]):
    card = probe_card(cls)
    assert undefined(card, probe_words(card), "formula unit cost") == []
