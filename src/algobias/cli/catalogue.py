"""``algobias tasks``, ``levers`` and ``probes``: what there is, and the card of each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from algobias.cli.card_words import lever_words, probe_words
from algobias.cli.output import print_json, tables
from algobias.cli.shared import Json
from algobias.errors import unknown_name
from algobias.reports.widths import longest_line

SUMMARY = 30
"""Columns below which a summary stands under the name and not beside it."""


def tasks(
    name: Annotated[str | None, typer.Argument(help="Show one task.")] = None,
    template: Annotated[
        bool, typer.Option("--template", help="Print a runnable task file to start from.")
    ] = False,
    json: Json = False,
) -> None:
    """List the built-in tasks, or print a template for one of your own."""
    from algobias.tasks.registry import catalogue
    from algobias.tasks.template import TEMPLATE

    if template:
        sys.stdout.write(TEMPLATE)
        return
    items = catalogue()
    if name is not None and name not in (names := [item["name"] for item in items]):
        raise unknown_name("task", name, names)
    if json or name is not None:
        _show([item for item in items if name in (None, item["name"])], json)
        return
    _list(items, "one card: algobias tasks NAME; a file of your own to start from: algobias tasks --template")


def levers(
    name: Annotated[str | None, typer.Argument(help="Show one lever's card.")] = None,
    json: Json = False,
) -> None:
    """List the levers: efficiency changes and controls."""
    from algobias.levers.registry import card, catalogue, lever_class

    items = catalogue() if name is None else [card(lever_class(name))]
    if json or name is not None:
        _show(items, json, lever_words(items[0]))
        return
    _list(items, "one card: algobias levers NAME")


def probes(
    name: Annotated[str | None, typer.Argument(help="Show one probe's card.")] = None,
    json: Json = False,
) -> None:
    """List the probes: coordinates of the bias that can be measured."""
    from algobias.probes.registry import card, catalogue, probe_class

    items = catalogue() if name is None else [card(probe_class(name))]
    if json or name is not None:
        _show(items, json, probe_words(items[0]))
        return
    presets = "in brackets the smallest preset that reads it (--probes cheap); without: only by its name"
    _list(items, f"{presets}. one card: algobias probes NAME")


def _list(items: Sequence[dict[str, Any]], last: str) -> None:
    """Print names and summaries, each family under its own name, and where the rest stands."""
    console, family = tables(), None
    beside = longest_line([item["name"] for item in items]) + 1 + SUMMARY <= console.width
    table = Table(box=None, pad_edge=False, show_header=beside)
    table.add_column("name", style="bold" if beside else "", no_wrap=beside)
    if beside:
        table.add_column("what it is", overflow="fold")
    for item in items:
        if item.get("family") != family:
            family = item["family"]
            table.add_row("")
            table.add_row(Text(f"{family}:", style="not bold"))
        preset = f" ({item['preset']})" if item.get("preset") else ""
        summary = Text(f"{item['summary']}{preset}", overflow="fold")
        if beside:
            table.add_row(item["name"], summary)
        else:
            table.add_row(Text(item["name"], style="bold"))
            table.add_row(Padding(summary, (0, 0, 0, 2)))
    console.print(table)
    console.print(Text(last, overflow="fold"))


def _show(items: list[dict[str, Any]], json: bool, words: str = "") -> None:
    """Print cards as JSON, or one as a table with what its fields mean below."""
    if json:
        print_json({"schema": 1, "items": items})
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("field", style="bold", no_wrap=True)
    table.add_column("value", overflow="fold")
    for key, value in items[0].items():
        if value == "":
            continue
        described = key == "options" and isinstance(value, list)
        shown = "\n".join(map(_option, value)) or "none" if described else _words(value)
        table.add_row(key.replace("_", " "), Text(shown))
    console = tables()
    console.print(table)
    if words:
        console.print(Text(words, overflow="fold"))


def _option(option: dict[str, Any]) -> str:
    """An option in a line: ``workers (4): a whole number of 1 or more. W; divides the batch.``"""
    asides, default = ["right after the colon"] if option["positional"] else [], option["default"]
    if option["required"]:
        asides.append("required")
    elif default not in (None, ""):
        asides.append(str(default).lower().removesuffix(".0"))
    allowed = f"{option['allowed']}." if option["allowed"] else ""
    aside = f" ({'; '.join(asides)})" if asides else ""
    return f"{option['name']}{aside}: {' '.join(filter(None, (allowed, option['meaning'])))}"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_words(item)}" for key, item in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "\n".join(_words(item) for item in value) or "none"
    return "none" if value is None else str(value)
