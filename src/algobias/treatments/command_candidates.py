"""Which settings a search tries on a command: levers that can be injected, or options and variables."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from algobias.commands.command import Command
from algobias.commands.question import CommandQuestion
from algobias.commands.treated.sameness import alike, undoing
from algobias.commands.treated.treatment import Treatment
from algobias.errors import BadInput, unknown_name
from algobias.levers.registry import LEVERS as OF_TASKS
from algobias.running.sameness import UNDOES
from algobias.treatments.candidates import GENERAL
from algobias.treatments.gathered import FIXED, Wanted, gathered

FIELD = "candidates"


@dataclass(frozen=True)
class CommandSetting:
    """One control of a command at one setting.

    Attributes:
        treatment: What is done to both arms.
        why: Where it comes from.
        undoes: How it leaves nothing of the change, or None.
    """

    treatment: Treatment
    why: str
    undoes: str | None = None

    @property
    def text(self) -> str:
        """As spelled on the command line."""
        return self.treatment.text

    @property
    def alters_loss(self) -> bool:
        """Never for all that is known: what options do to a script's loss nobody sees."""
        return False


@dataclass(frozen=True)
class Fixed:
    """What every setting has, on both arms.

    Attributes:
        treatment: All of it.
        plain: The commands without it, baseline and variant.
    """

    treatment: Treatment
    plain: tuple[Command, Command]

    @classmethod
    def of(cls, fix: Sequence[str], question: CommandQuestion) -> Fixed:
        """Read what is fixed.

        Raises:
            BadInput: Something that cannot be done, changes nothing, or leaves nothing of the change.
        """
        plain = question.command_of("baseline"), question.command_of("variant")
        held = Treatment()
        for text in fix:
            before = held.applied(plain[1], "fix")
            held = held.followed_by(Treatment.parse(text, "fix"))
            after = _injectable(held.applied(plain[1], "fix"))
            if alike(before, after):
                raise BadInput("fix", text, "a control that changes the variant's command")
        undoes = undoing(held, *plain) if fix else None
        if undoes is not None:
            raise BadInput("fix", held.text, f"controls that leave something of the change ({undoes})")
        return cls(held, plain)

    def with_setting(self, treatment: Treatment) -> Treatment:
        """Put a setting behind what is fixed.

        Raises:
            BadInput: It sets or injects what is fixed once more.
        """
        held = self.treatment
        twice = (_names(held) & _names(treatment)) - {"args", "env"}
        variables = [{text.partition("=")[0] for text in each.variables} for each in (held, treatment)]
        twice |= variables[0] & variables[1]
        if twice:
            what = ", ".join(sorted(twice))
            raise BadInput(FIELD, treatment.text, f"a control that leaves what is fixed as it is ({what})")
        return held.followed_by(treatment)


def command_candidates(
    question: CommandQuestion,
    *,
    given: Sequence[str] = (),
    only: Sequence[str] = (),
    forbid: Sequence[str] = (),
    fix: Sequence[str] = (),
    points: Collection[str] = (),
    most: int | None = None,
) -> tuple[CommandSetting, ...]:
    """List the settings to try, cheapest first, the user's own before them.

    Proposed is what cards of injected changes name, and what is tried against any change, as far as it can be
    injected. Which of that the script allows, short runs tell later. A proposal that undoes the change, or
    what is fixed, is left out; the user's own may undo the change, and say it.

    Args:
        question: The audit's.
        given: Settings the user adds.
        only: Where given, nothing but these is tried.
        forbid: Names of levers that must not be pulled.
        fix: What every setting has.
        points: Settings among ``given`` and ``only`` that are points of a range: those that change nothing,
            undo the change or are impossible are left out.
        most: At most so many; None: as for an audit of a task.

    Raises:
        BadInput: A setting of the user's own that cannot be, nothing to try.
    """
    held = Fixed.of(fix, question)
    forbidden = _known(forbid)
    barred = forbidden & _names(held.treatment)
    if barred:
        allowed = f"a lever that is not in {held.treatment.text}, which is fixed"
        raise BadInput("forbid", sorted(barred)[0], allowed)
    return gathered(
        Wanted(given, only, forbid, points, most),
        [CommandSetting(held.treatment, FIXED)] if fix else [],
        [] if only else _proposed(question),
        lambda text, why, own: _setting(text, why, held, own),
        lambda setting: next(iter(sorted(forbidden & _names(setting.treatment))), None),
        lambda first, second: _same(first, second, held),
    )


def _names(treatment: Treatment) -> set[str]:
    """Names of the levers of a control, and of its other parts."""
    return {part.text.partition(":")[0] for part in treatment.parts()}


def _proposed(question: CommandQuestion) -> list[tuple[str, str]]:
    """Settings and why, cheapest in gradients first."""
    from algobias.attached.levers.registry import read

    changes = [part for text in question.change for part in read(text)]
    known = [(part.name, OF_TASKS[part.name].card.controls) for part in changes if part.name in OF_TASKS]
    proposed = [(text, f"against {name}") for name, controls in known for text in controls]
    proposed += [(text, "against any change") for text in GENERAL]
    costs: dict[tuple[str, str], float] = {}
    for text, why in proposed:
        try:
            costs[text, why] = max(part.extra_passes(1, 1) for part in read(text))
        except BadInput:
            continue  # what is done to a recipe cannot always be injected
    return sorted(costs, key=lambda pair: costs[pair])


def _known(forbid: Sequence[str]) -> set[str]:
    if not forbid:
        return set()
    from algobias.attached.levers.registry import LEVERS

    for name in forbid:
        if name not in LEVERS:
            raise unknown_name("forbid", name, LEVERS)
    return set(forbid)


def _setting(text: str, why: str, held: Fixed, wanted: bool) -> CommandSetting | None:
    """Make a setting; None where one that was not asked for cannot be, or does nothing."""
    try:
        treatment = held.with_setting(Treatment.parse(text, FIELD))
        _injectable(treatment.applied(held.plain[0], FIELD))
        treated = _injectable(treatment.applied(held.plain[1], FIELD))
    except BadInput:
        if wanted:
            raise
        return None
    if alike(treated, held.treatment.applied(held.plain[1], FIELD)):
        if wanted:
            raise BadInput(FIELD, text, "a control that changes the variant's command")
        return None
    undoes = undoing(treatment, *held.plain)
    if undoes is not None and undoes.startswith(UNDOES) and not wanted:
        return None
    return CommandSetting(treatment, why, undoes)


def _injectable(command: Command) -> Command:
    """Check that the levers of a command can be injected together.

    Raises:
        BadInput: They cannot.
    """
    if command.levers:
        # Imported where it is needed: what can be injected is read with torch.
        from algobias.attached.levers.registry import read

        read("+".join(command.levers))
    return command


def _same(one: CommandSetting, other: CommandSetting, held: Fixed) -> bool:
    return all(
        alike(one.treatment.applied(arm, FIELD), other.treatment.applied(arm, FIELD)) for arm in held.plain
    )
