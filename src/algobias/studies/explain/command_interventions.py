"""Interventions on the change of a command: levers switched off or on part way, the change at other sizes."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from algobias.attached.levers.base import Window
from algobias.attached.levers.registry import read
from algobias.attached.levers.spelling import singles
from algobias.commands.command import Command
from algobias.commands.options import Option, read_options, value_of
from algobias.commands.question import CommandQuestion
from algobias.commands.treated.sameness import alike
from algobias.commands.treated.treatment import OPTIONS, VARIABLES
from algobias.levers.size import NoShare, between, whole_between

BY_LEVERS = "only injected levers can be switched part way: what options do is done from the start"
NOT_COUNTED = "updates are not counted inside of the command: nobody can tell when to switch"


Kind = Literal["switch_off", "switch_on", "dose"]


@dataclass(frozen=True)
class CommandIntervention:
    """One arm that is compared with baseline and variant.

    Attributes:
        kind: What is done.
        text: In a few words.
        plain: The command that levers are injected into.
        levers: Levers that are injected, but for when they begin and end.
        window: What a switch sets of them, ``after`` or ``until``; empty: nothing.
        at: Share of the planned updates before a switch.
        updates: Updates before a switch, of a run as planned.
        dose: Size of the change; 0 is the baseline, 1 the change as audited.
    """

    kind: Kind
    text: str
    plain: Command
    levers: tuple[str, ...]
    window: str = ""
    at: float | None = None
    updates: int = 0
    dose: float | None = None
    restart: bool = False
    members: frozenset[str] = frozenset()
    undoes: str | None = None

    def command(self, length: float, scale: tuple[Option, ...]) -> Command:
        """Make the command of a run of a length; a switch comes after the same share of it."""
        command = self.plain.scaled(length, scale)
        for levers in self.levers:
            command = command.injected(self._within(levers, self.switched_at(length)))
        return command

    def switched_at(self, length: float) -> int:
        """Updates of a run of a length before the switch; 0 where there is none."""
        return max(1, round(self.updates * length)) if self.window else 0

    def _within(self, levers: str, updates: int) -> str:
        if not self.window:
            return levers
        window = f"{self.window}={updates}"
        return "+".join(f"{one},{window}" if ":" in one else f"{one}:{window}" for one in singles(levers))


def switches(
    question: CommandQuestion, lengths: Mapping[str, int], at: Sequence[float]
) -> tuple[list[CommandIntervention], str | None]:
    """Switch the levers of a change off, and on, after a share of the planned updates, within one run.

    Weights, the optimizer's memory, the schedule and the data go on as they are: levers begin or end.

    Args:
        question: The audit's.
        lengths: Updates up to the planned end of baseline and variant; empty: they were not counted.
        at: Shares between 0 and 1.

    Returns:
        What can be done, and why nothing can, or None.
    """
    if not question.change or question.args or question.env:
        return [], BY_LEVERS
    if len(lengths) < 2:
        return [], NOT_COUNTED
    if any("after=" in lever or "until=" in lever for lever in question.change):
        return [], "the change has a window of its own"
    found = []
    baseline = question.command_of("baseline")
    for share in at:
        off, on = (max(1, round(share * lengths[arm])) for arm in ("variant", "baseline"))
        ways: tuple[tuple[Kind, str, str, int], ...] = (
            ("switch_off", "off", "until", off),
            ("switch_on", "on", "after", on),
        )
        for kind, word, option, updates in ways:
            text = f"{word} after {100 * share:g} %"
            found.append(CommandIntervention(kind, text, baseline, question.change, option, share, updates))
    return found, None


@dataclass(frozen=True)
class CommandDoses:
    """The change at other sizes.

    Attributes:
        made: One intervention for each size.
        left_out: (size, why) of those that are not made; a size of None stands for all.
    """

    made: tuple[CommandIntervention, ...]
    left_out: tuple[tuple[float | None, str], ...] = ()


def doses(question: CommandQuestion, shares: Sequence[float]) -> CommandDoses:
    """Make the change at other sizes; those that cannot be, or are the same as another, are left out.

    An option has a share where it stands in the baseline's command too, both times with a number that is not
    negative: geometric between numbers above 0, else linear; whole numbers stay whole. Of a lever it says
    itself what a share is. A change with anything of which there is no share has no sizes.

    Args:
        question: The audit's.
        shares: Sizes; 0 is no change, 1 the change itself.
    """
    baseline, variant = (question.command_of(arm) for arm in ("baseline", "variant"))
    seen = {"the baseline": baseline, "the variant": variant}
    made: list[CommandIntervention] = []
    left_out: list[tuple[float | None, str]] = []
    for share in shares:
        try:
            plain, levers, text = _dosed(question, baseline, share)
        except NoShare as error:
            return CommandDoses((), ((None, str(error)),))
        made_so = CommandIntervention("dose", text, plain, levers, dose=share)
        command = made_so.command(1.0, ())
        same = next((name for name, other in seen.items() if alike(other, command)), None)
        if same is not None:
            left_out.append((share, f"the same as {same}"))
            continue
        seen[f"dose {share:g}"] = command
        made.append(made_so)
    return CommandDoses(tuple(made), tuple(left_out))


def _dosed(question: CommandQuestion, command: Command, share: float) -> tuple[Command, tuple[str, ...], str]:
    """The change at this size: the command, the levers, and as it is spelled."""
    if question.env:
        raise NoShare(f"{VARIABLES} {question.env[0]}: a variable has no share")
    spelled = []
    for text in question.args:
        options = tuple(_option(option, command, share) for option in read_options(text, "--args"))
        command = command.edited(options, "--args")
        spelled.append(f"{OPTIONS} {shlex.join(word for option in options for word in option.words())}")
    injected = []
    for levers in question.change:
        shares = []
        for part in read(levers):
            of_it = part.share(share)
            if of_it is None or part.window != Window():
                raise NoShare(f"{part.spelling}: there is no share of it")
            shares.append(of_it)
        injected.append("+".join(shares))
    return command, tuple(injected), " then ".join([*spelled, *injected])


def _option(option: Option, command: Command, share: float) -> Option:
    before = value_of(command.words, option.name, "--args")
    numbers = [_number(before), _number(option.values[0] if len(option.values) == 1 else None)]
    if None in numbers:
        allowed = "an option has a share where it stands in the command with a number, and gets another"
        raise NoShare(f"{OPTIONS} {' '.join(option.words())}: {allowed}")
    none, own = (float(str(number)) for number in numbers)
    whole = all(re.fullmatch(r"\d+", str(text)) for text in (before, option.values[0]))
    value = whole_between(none, own, share) if whole else between(none, own, share)
    return replace(option, values=(f"{value:g}" if not whole else str(value),))


def _number(text: str | None) -> float | None:
    """A finite number that is not negative, or None."""
    try:
        number = math.nan if text is None else float(text)
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None
