"""Tasks by text: built-in ones from the catalogue, a user's own from a Python file."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from algobias.errors import BadInput, unknown_name
from algobias.frozen import bad_input_from
from algobias.runs.view import split_name
from algobias.tasks import (
    books,
    cifar10,
    digits,
    emnist_letters,
    fashion_mnist,
    gtsrb,
    mnist,
    multi30k,
    polarity,
    shakespeare,
    spoken_digits,
    steering,
    wikitext2,
)
from algobias.tasks.builtin import BuiltIn, Options
from algobias.tasks.task import Task
from algobias.tasks.user_file import is_user_task, load_user_task
from algobias.tasks.views import view
from algobias.untrusted import possible_path

TASKS: dict[str, BuiltIn] = {
    entry.name: entry
    for entry in (
        digits.ENTRY,
        fashion_mnist.ENTRY,
        mnist.ENTRY,
        emnist_letters.ENTRY,
        cifar10.ENTRY,
        gtsrb.ENTRY,
        steering.ENTRY,
        polarity.ENTRY,
        shakespeare.ENTRY,
        books.ENTRY,
        wikitext2.ENTRY,
        multi30k.ENTRY,
        spoken_digits.ENTRY,
    )
}


def load_task(text: str, data_dir: Path | None = None, base_dir: Path | None = None) -> Task:
    """Find and build a task.

    Args:
        text: ``digits``, ``fashion_mnist:train=1000,model=convbn``, ``gtsrb:reference``, or
            ``path/to/file.py:name``, where ``name`` is a :class:`Task` or a function that returns one.
            A user's file is executed. ``@search`` or ``@confirm`` at its end picks a part of the held-out
            examples, see :mod:`algobias.tasks.views`.
        data_dir: Folder of the data sets (``--data``); then ``ALGOBIAS_DATA`` and the user's cache folder.
        base_dir: Folder that a relative path to a file starts from; the current one without it.

    Raises:
        BadInput: An unknown task or option, data that are absent or damaged, a file that raises.
    """
    if data_dir is not None and not possible_path(data_dir, "--data").is_dir():
        raise BadInput("--data", str(data_dir), "a folder that is there")
    text, part = split_name(text)
    if part is not None:
        return view(load_task(text, data_dir, base_dir), part)
    if is_user_task(text):
        task = load_user_task(text, base_dir)
    else:
        name, _, rest = text.strip().partition(":")
        if name not in TASKS:
            raise unknown_name("task", name, [*TASKS, "path/to/file.py:name"])
        entry = TASKS[name]
        options = parse_options(entry, rest)
        task = entry.build(options, spelling(entry, options), data_dir)
        task.text = task.name
    task.reload = load_task, (task.text, data_dir)
    return task


def parse_options(entry: BuiltIn, text: str) -> Options:
    """Read ``key=value,key=value``, or a preset's name and then such pairs.

    Raises:
        BadInput: Malformed text, an unknown key, or a value that is not allowed.
    """
    given: dict[str, Any] = {}
    known = [key for key in entry.options.model_fields if key != "preset"]
    items = text.split(",") if text.strip() else []
    preset = _preset(entry, items[0].strip()) if items and "=" not in items[0] else "default"
    for item in items[preset != "default" :]:
        key, equals, value = (piece.strip() for piece in item.partition("="))
        if key not in known:
            raise (
                unknown_name(f"task {entry.name}", key, known)
                if known
                else BadInput(f"task {entry.name}", item, "no options")
            )
        if not equals or not value:
            raise BadInput(f"{entry.name}.{key}", item, f"{key}=value")
        if key in given:
            raise BadInput(f"{entry.name}.{key}", value, "each option once")
        given[key] = int(value) if re.fullmatch(r"[+-]?\d{1,18}", value) else value
    try:
        return entry.options.model_validate({**entry.presets.get(preset, {}), **given, "preset": preset})
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "literal_error":
            key = str(first["loc"][0])
            names = map(str, get_args(entry.options.model_fields[key].annotation))
            raise unknown_name(f"{entry.name}.{key}", str(given[key]), names) from error
        raise bad_input_from(error, entry.options, entry.name) from error


def _preset(entry: BuiltIn, word: str) -> str:
    """The preset a bare first word names; ``default`` where the word can only be a mistaken option."""
    if word in entry.presets:
        return word
    if word in entry.options.model_fields or not entry.presets:
        return "default"  # told as an option without a value, or as an unknown one
    raise unknown_name(
        f"task {entry.name}", word, [*entry.presets, *(f"{key}=..." for key in entry.options.model_fields)]
    )


def spelling(entry: BuiltIn, options: Options) -> str:
    """The task as one writes it, what is usual left out and options in the catalogue's order."""
    usual = {key: field.default for key, field in type(options).model_fields.items()}
    usual |= entry.presets.get(options.preset, {})
    shown = [] if options.preset == "default" else [options.preset]
    shown += [
        f"{key}={_text(getattr(options, key))}"
        for key, value in usual.items()
        if key != "preset" and getattr(options, key) != value
    ]
    return entry.name + (":" + ",".join(shown) if shown else "")


def catalogue() -> list[dict[str, Any]]:
    """Every built-in task: name, summary, options with defaults, files wanted, trivial baseline, recipe."""
    return [
        {
            "name": entry.name,
            "summary": entry.summary,
            "options": {
                key: field.default for key, field in entry.options.model_fields.items() if key != "preset"
            },
            "presets": {name: dict(values) for name, values in entry.presets.items()},
            "about_options": inspect.cleandoc(entry.options.__doc__ or ""),
            "files": list(entry.files),
            "source": entry.source,
            "trivial": entry.trivial,
            "recipe": dict(entry.recipe),
        }
        for entry in TASKS.values()
    ]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
