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
    from algobias.attached.watched_run import WatchedRun

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
        if value != int(value) or value < least:
            raise self.refused(name, f"a whole number of at least {least}")
        return int(value)

    def refused(self, name: str, allowed: str) -> BadInput:
        """Make the error of an option, with the text that was typed."""
        return BadInput(f"{self.lever}.{name}", self.texts.get(name), allowed)

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """One of several words, the first where it is left out."""
        text = self.texts.get(name, allowed[0])
        if text not in allowed:
            raise BadInput(f"{self.lever}.{name}", text, " or ".join(allowed))
        return text


@dataclass(frozen=True)
class Window:
    """From which update to which a lever acts.

    Attributes:
        after: Updates before it begins.
        until: Updates by which it has ended; None: never.
    """

    after: int = 0
    until: int | None = None

    @classmethod
    def taken_from(cls, options: Options) -> tuple[Window, Options]:
        """Take ``after`` and ``until`` out of a lever's options.

        Raises:
            BadInput: No whole numbers, or nothing between them.
        """
        after = options.whole("after", least=0, default=0)
        until = options.whole("until", least=1) if "until" in options.texts else None
        if until is not None and until <= after:
            raise options.refused("until", f"more than after={after}")
        rest = {name: text for name, text in options.texts.items() if name not in WINDOW}
        return cls(after, until), Options(options.lever, rest)

    def holds(self, updates: int) -> bool:
        """Whether it acts on the update that comes after so many."""
        return self.after <= updates and (self.until is None or updates < self.until)


WINDOW = ("after", "until")
"""Options of every lever: it acts on the updates between them alone."""


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
        window: From which update to which it acts.
        refused: Whether it was refused, and does nothing any more.
        off: Whether it does nothing now: it was refused, or it is outside of its window.
    """

    name: ClassVar[str]
    positional: ClassVar[str]
    known: ClassVar[tuple[str, ...]]
    run: WatchedRun

    def __init__(self, spelling: str, options: Options) -> None:
        self.spelling = spelling
        self.count = 0
        self.window = Window()
        self.refused = self.off = False

    @property
    def changes_nothing(self) -> bool:
        """Whether a run with it is the run without it: a null control."""
        return False

    def share(self, size: float) -> str | None:
        """Spell a share of it: 0 is nothing, 1 itself; None where there is no share.

        Geometric for what multiplies, linear for what is added to nothing.
        """
        return None

    def extra_passes(self, updates: int, count: int) -> float:
        """Say how many gradients it took beyond one for each update, in those of the script's own steps.

        Args:
            updates: Updates made.
            count: How often it acted.
        """
        return 0.0

    def begin(self, run: WatchedRun) -> None:
        """Take its place in a run."""
        self.run = run

    def at_update(self, updates: int) -> bool:
        """Switch it on or off as its window says; tell whether that changed anything."""
        before, self.off = self.off, self.refused or not self.window.holds(updates)
        return self.off != before

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
        if not self.refused:
            self.refused = self.off = True
            self.run.refuse(self.spelling, why)

    def at_end(self) -> None:
        """Tell how often it has acted in all, or why it never could."""
        if not self.run.steps.steps and not self.refused:
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
