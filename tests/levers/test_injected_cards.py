"""Cards, the registry of what can be injected, and docs/own-script.md say the same of every lever."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from algobias.attached.levers.registry import LEVERS as INJECTED
from algobias.commands.injected import check_injected
from algobias.errors import BadInput
from algobias.levers.card import OF_THE_CATALOGUE, Card
from algobias.levers.registry import LEVERS

PAGE = (Path(__file__).parents[2] / "docs" / "own-script.md").read_text(encoding="utf-8")


def rows(head: str) -> dict[str, str]:
    """A table of the page by its first column."""
    (table,) = re.findall(
        rf"^\| lever \| {re.escape(head)} \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE, flags=re.M
    )
    return dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, flags=re.M))


def test_what_can_be_injected_says_what_it_equals_and_nothing_else_does() -> None:
    cards = {name: cls.card for name, cls in LEVERS.items()}
    assert {name for name, card in cards.items() if card.injected} == INJECTED.keys()
    assert all(bool(card.injected) != bool(card.not_injected) for card in cards.values())
    assert OF_THE_CATALOGUE not in [card.not_injected for card in cards.values()]


@pytest.mark.parametrize("name", INJECTED)
def test_an_injected_lever_is_spelled_as_the_lever(name: str) -> None:
    lever, injected = LEVERS[name], INJECTED[name]
    assert injected.positional in injected.known
    assert injected.positional == lever.positional
    assert set(injected.known) <= lever.model_fields.keys()


def test_the_page_says_what_cards_say() -> None:
    assert rows("equals") == {name: LEVERS[name].card.injected for name in INJECTED}
    others = {name: cls.card.not_injected for name, cls in LEVERS.items() if name not in INJECTED}
    assert rows("why not, and what instead") == others


@pytest.mark.parametrize("name", [name for name in LEVERS if name not in INJECTED])
def test_what_cannot_be_injected_is_refused_with_the_way_there_is(name: str) -> None:
    with pytest.raises(BadInput) as error:
        check_injected(f"clip:1+{LEVERS[name].card.examples[0]}")
    assert f"{name} cannot: {LEVERS[name].card.not_injected}" in str(error.value)


def test_a_card_says_one_of_both() -> None:
    own = {"summary": "s", "saves": "s", "costs": "c", "acts_on": (), "moves": (), "not_when": "n"}
    own |= {"references": (), "examples": ("mine:1",)}
    assert Card(**own).not_injected == OF_THE_CATALOGUE
    with pytest.raises(BadInput, match="nothing, where the lever can be injected"):
        Card(**own, injected="an edit", not_injected="it cannot")
