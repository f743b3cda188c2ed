"""``algobias tasks``, ``levers`` and ``probes``: what there is, and the card of each."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from algobias.cli.output import one_line, print_json, tables
from algobias.cli.shared import Json
from algobias.errors import unknown_name
from algobias.reports.widths import longest_line

SUMMARY = 30
"""Columns below which a summary stands under the name and not beside it."""

CARD_WORDS = (
    "gap: baseline minus variant on the test metric. R: the part of that gap that a control brings back (1 "
    "all of it, 0 nothing, below 0 worse); in brackets the 95 % interval. injected: what 'algobias run "
    "--change' or '--control' of it equals in a training script of your own."
)
"""The words of a lever's card that a reader may not have met."""


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
    _show([item for item in items if name in (None, item["name"])], name, json)


def levers(
    name: Annotated[str | None, typer.Argument(help="Show one lever's card.")] = None,
    json: Json = False,
) -> None:
    """List the levers: efficiency changes and controls."""
    from algobias.levers.registry import card, catalogue, lever_class

    _show(catalogue() if name is None else [card(lever_class(name))], name, json)
    if name is not None and not json:
        tables().print(one_line(CARD_WORDS), soft_wrap=True)


def probes(
    name: Annotated[str | None, typer.Argument(help="Show one probe's card.")] = None,
    json: Json = False,
) -> None:
    """List the probes: coordinates of the bias that can be measured."""
    from algobias.probes.registry import card, catalogue, probe_class

    items = catalogue() if name is None else [card(probe_class(name))]
    _show(items, name, json, columns=("family", "preset"))


def _show(items: list[dict[str, Any]], name: str | None, json: bool, columns: tuple[str, ...] = ()) -> None:
    if json:
        print_json({"schema": 1, "items": items})
        return
    console = tables()
    if name is None:
        rows = [(item["name"], *(_words(item[key]) for key in columns)) for item in items]
        titles = ("name", *columns)
        narrow = [longest_line(texts) for texts in zip(titles, *rows, strict=True)]
        if sum(narrow) + len(narrow) + SUMMARY > console.width:
            for (head, *asides), item in zip(rows, items, strict=True):
                aside = f" ({', '.join(asides)})" if asides else ""
                console.print(Text(head, style="bold"), Text(aside), sep="")
                console.print(Padding(Text(str(item["summary"]), overflow="fold"), (0, 0, 0, 2)))
            return
        table = Table(box=None, pad_edge=False)
        table.add_column("name", style="bold", no_wrap=True)
        for column in columns:
            table.add_column(column, no_wrap=True)
        table.add_column("what it is", overflow="fold")
        for row, item in zip(rows, items, strict=True):
            table.add_row(*row, Text(str(item["summary"])))
        console.print(table)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("field", style="bold", no_wrap=True)
    table.add_column("value", overflow="fold")
    for key, value in items[0].items():
        if value == "":
            continue
        described = key == "options" and isinstance(value, list)
        words = "\n".join(map(_option, value)) or "none" if described else _words(value)
        table.add_row(key.replace("_", " "), Text(words))
    console.print(table)


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
    if isinstance(value, list | tuple):
        return "\n".join(_words(item) for item in value) or "none"
    return "none" if value is None else str(value)
