"""The catalogue of labs: one entry for each, and the way from text to objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from algobias import addons
from algobias.errors import BadInput
from algobias.labs.base import Lab
from algobias.labs.delay import Delay
from algobias.labs.kernel_rich import KernelRich
from algobias.spelling import parse_options

LABS: dict[str, type[Lab]] = {lab.name: lab for lab in (KernelRich, Delay)}
"""Every lab by its name on the command line."""


def parse(text: str, settings: Sequence[str] = (), options: Mapping[str, Any] | None = None) -> Lab:
    """Read a lab as spelled on the command line, ``kernel_rich:alpha=0.1``.

    Args:
        text: Name, then options behind a colon.
        settings: Further options, each ``key=value``.
        options: Further options as values.

    Raises:
        BadInput: Unknown name, malformed text, an option twice, a value out of range.

    Example:
        >>> parse("delay:momentum=0.5", ["longest=8"]).spelling()
        'delay:longest=8,momentum=0.5'
    """
    name, rest = addons.split(text)
    for item in settings:
        if "=" not in item:
            raise BadInput("--set", item, "key=value")
    lab = parse_options(lab_class(name), ",".join(part for part in (rest, *settings) if part))
    return lab.changed(dict(options)) if options else lab


def lab_class(name: str) -> type[Lab]:
    """The lab of that name: of the catalogue, of ``path/to/file.py:Name``, or of an installed package.

    A user's file is executed, after a line on stderr that says so.

    Raises:
        BadInput: There is none; the nearest name is proposed. A file that raises, or lacks something.
    """
    return addons.class_named(Lab, "lab", name, LABS)


def catalogue() -> list[dict[str, Any]]:
    """Every lab with its options, those of installed packages last; JSON types only."""
    return [
        {
            "name": lab.name,
            "summary": lab.summary,
            "options": [
                {"name": key, "default": field.default, "meaning": field.description}
                for key, field in lab.model_fields.items()
            ],
        }
        for lab in (*LABS.values(), *addons.from_packages(Lab, "lab", LABS).values())
    ]
