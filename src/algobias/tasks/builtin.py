"""What a built-in task says about itself: one entry of the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from algobias.frozen import Frozen
from algobias.tasks.task import Task


class Options(Frozen):
    """Options of a built-in task; each task has its own subclass.

    Attributes:
        preset: Which set of values the others start from, and which recipe: ``default``, or one of the
            task's presets, written as a bare first word (``gtsrb:reference``).
    """

    preset: str = "default"

    def wanted(self, name: str, available: int) -> int | None:
        """How many examples an option asks for; a default asks for no more than there are."""
        count: int | None = getattr(self, name)
        if count is not None and name not in self.model_fields_set:
            return min(count, available)
        return count


@dataclass(frozen=True)
class BuiltIn:
    """A built-in task.

    Attributes:
        name: Its name on the command line.
        summary: One sentence.
        options: Its options with their defaults.
        build: (options, name with options, folder of the data or None) -> Task.
        recipe: The default recipe in words, for the default options.
        trivial: What the trivial predictor is, in words.
        files: Files wanted, relative to the data folder; empty where the data ship with a dependency.
        source: Public site that has the files.
        presets: Values of options by name of the preset: ``reference`` (a recipe with published figures),
            ``full`` (the full-size recipe, for a GPU). What the user gives besides overrides them.
    """

    name: str
    summary: str
    options: type[Options]
    build: Callable[[Any, str, Path | None], Task]
    recipe: dict[str, Any]
    trivial: str
    files: tuple[str, ...] = field(default=())
    source: str = ""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
