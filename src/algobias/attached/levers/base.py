"""What all injected levers share: a spelling, a count of how often they acted, and how they are refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from algobias.attached.events import Applied
from algobias.attached.listener import Listener
from algobias.errors import BadInput

if TYPE_CHECKING:
    from algobias.attached.attachment import Attachment

ONE_GRADIENT = "gradient controls need an optimizer that takes one gradient a step"
TORCH_OPTIM = "gradient controls need torch.optim"
NO_BACKWARD = "No backward seen"


@dataclass(frozen=True)
class Options:
    """A lever's options as spelled: texts by name.

    Attributes:
        lever: The lever's name, for messages.
        texts: The text of each option.
    """

    lever: str
    texts: Mapping[str, str]

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number."""
        text = self.texts.get(name)
        if text is None and default is not None:
            return default
        try:
            value = math.nan if text is None else float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise BadInput(f"{self.lever}.{name}", text, "a number")
        return value

    def whole(self, name: str, least: int, default: int | None = None) -> int:
        """A whole number of at least ``least``."""
        value = self.number(name, default)
        if not value.is_integer() if isinstance(value, float) else False:
            raise BadInput(f"{self.lever}.{name}", value, f"a whole number of at least {least}")
        if value < least:
            raise BadInput(f"{self.lever}.{name}", value, f"a whole number of at least {least}")
        return int(value)

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """One of several words, the first where it is left out."""
        text = self.texts.get(name, allowed[0])
        if text not in allowed:
            raise BadInput(f"{self.lever}.{name}", text, " or ".join(allowed))
        return text


class Injected(Listener):
    """A lever inside of a run.

    Class attributes:
        name: As on the command line.
        positional: The option that the value right after the colon sets.
        known: All options.

    Args:
        spelling: As on the command line.
        options: What was spelled.

    Attributes:
        run: The run it is injected into, from :meth:`begin` on.
        count: How often it acted.
        off: Whether it was refused, and does nothing any more.
    """

    name: ClassVar[str]
    positional: ClassVar[str]
    known: ClassVar[tuple[str, ...]]
    run: Attachment

    def __init__(self, spelling: str, options: Options) -> None:
        self.spelling = spelling
        self.count = 0
        self.off = False

    @property
    def changes_nothing(self) -> bool:
        """Whether a run with it is the run without it: a null control."""
        return False

    def extra_passes(self, updates: int, count: int) -> float:
        """Say how many gradients it took beyond one for each update, in those of the script's own steps.

        Args:
            updates: Updates made.
            count: How often it acted.
        """
        return 0.0

    def begin(self, run: Attachment) -> None:
        """Take its place in a run."""
        self.run = run

    def acted(self) -> None:
        """Count that it acted; the first time is told at once."""
        self.count += 1
        if self.count == 1:
            self.tell()

    def tell(self) -> None:
        """Write how often it has acted."""
        self.run.ensure_started()
        self.run.journal.write(Applied(self.run.steps.updates, self.spelling, self.count))

    def refuse(self, why: str) -> None:
        """Do nothing any more, and tell why; the first reason counts."""
        if not self.off:
            self.off = True
            self.run.refuse(self.spelling, why)

    def at_end(self) -> None:
        """Tell how often it has acted in all, or why it never could."""
        if not self.run.steps.steps and not self.off:
            self.refuse(TORCH_OPTIM if self.run.backwards.seen else NO_BACKWARD)
        self.tell()


def amount(options: Options, name: str) -> tuple[float, bool]:
    """A number, or a multiple of what there is, ``x2``; and whether it is a multiple."""
    text = options.texts.get(name, "")
    multiple = text.startswith("x")
    stripped = Options(options.lever, {name: text.removeprefix("x")}) if text else options
    value = stripped.number(name)
    if value < 0 or (multiple and value == 0):
        raise BadInput(f"{options.lever}.{name}", text, "a number of at least 0, or a multiple such as x2")
    return value, multiple
