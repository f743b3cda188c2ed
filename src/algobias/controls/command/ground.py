"""The ground of a control study of a command: its arms on seeds of the study's own, run here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from algobias.answer.answer import Answer
from algobias.commands.allowed import refusals
from algobias.commands.costs import KNOWN
from algobias.commands.question import CommandQuestion
from algobias.commands.treated.treatment import Treatment
from algobias.controls.command.part import CommandPart
from algobias.controls.spec import ControlSpec
from algobias.errors import BadInput
from algobias.json_values import JsonObject
from algobias.judge.design import Request
from algobias.kept.store import StudyRow
from algobias.runs.arm_name import under_control
from algobias.studies.command.audited import AuditedCommand
from algobias.studies.study import Study
from algobias.treatments.command_candidates import FIELD, CommandSetting, Fixed, command_candidates
from algobias.treatments.gathered import FIXED
from algobias.treatments.ranges import expanded, split


@dataclass(frozen=True)
class CommandGround:
    """An audit of a command.

    Attributes:
        audit: The audit.
        spec: What is wanted.
    """

    audit: AuditedCommand
    spec: ControlSpec

    @classmethod
    def of(cls, row: StudyRow, spec: ControlSpec, study: Study) -> CommandGround:
        """Read an audit of a command, and see that it is still what was audited.

        Raises:
            BadInput: The audit found no gap, or its command was edited; what a command cannot be asked for.
        """
        audit = AuditedCommand.of(row, study)
        _refuse(spec)
        return cls(audit, spec)

    @property
    def study(self) -> Study:
        """The control study."""
        return self.audit.study

    @property
    def asked(self) -> CommandQuestion:
        """The audit's question."""
        return self.audit.question

    @property
    def audited(self) -> Answer:
        """What the audit answered."""
        return self.audit.answer

    @property
    def seed(self) -> int:
        """Seed from which those of search and confirmation are counted."""
        return self.asked.seed if self.spec.seed is None else self.spec.seed

    @property
    def axes(self) -> tuple[str, ...]:
        """Updates and time; gradients only where a control sets no options."""
        return tuple(axis for axis in KNOWN if axis != "gradients")

    @property
    def question(self) -> JsonObject:
        """The audit's question as it is stored."""
        known = self.asked.stored() | {"seed": self.seed}
        return {key: value for key, value in known.items() if key != "looks"}

    @property
    def shown(self) -> tuple[str, str]:
        """The comparison in a few words, and the command as it is shown."""
        return self.asked.question(), self.asked.shown_command()

    def settings(self) -> tuple[CommandSetting, ...]:
        """Every setting that needs no proposals by optuna."""
        spec = self.spec
        given, only = expanded(spec.candidates, spec.trials), expanded(spec.only, spec.trials)
        if spec.only and not only and not given:
            held = Fixed.of(spec.fix, self.asked).treatment
            return (CommandSetting(held, FIXED),) if spec.fix else ()
        return command_candidates(
            self.asked,
            given=given,
            only=(*only, *given) if spec.only else (),
            forbid=spec.forbid,
            fix=spec.fix,
            points={*given, *only} - {*spec.candidates, *spec.only},
            most=spec.most,
        )

    def named(self, texts: Sequence[str], why: str | None = None) -> tuple[CommandSetting, ...]:
        """Settings of these points of the user's ranges, as far as they can be."""
        spec = self.spec
        settings = command_candidates(self.asked, only=texts, forbid=spec.forbid, fix=spec.fix, points=texts)
        return tuple(replace(one, why=why or one.why) for one in settings if one.why != FIXED)

    def with_fixed(self, text: str) -> str:
        """Spell a setting behind what is fixed."""
        treatment = Treatment.parse(text, FIELD)
        return Fixed.of(self.spec.fix, self.asked).treatment.followed_by(treatment).text

    def possible(
        self, settings: tuple[CommandSetting, ...], *, short_runs: bool = True
    ) -> tuple[CommandSetting, ...]:
        """Leave out what the script does not allow, by short runs; say which.

        Args:
            settings: What is to be tried.
            short_runs: Make short runs; else only what the audit's first run tells is known.
        """
        runner = self.audit.runner([setting.text for setting in settings])
        arms = {under_control("variant", number): setting for number, setting in enumerate(settings)}
        updates = self.asked.preflight if short_runs else 0
        why_not = refusals(runner, tuple(arms), updates)
        typed = {self.with_fixed(text) for text in split((*self.spec.only, *self.spec.candidates))[0]}
        for arm, why in why_not.items():
            if arms[arm].why == FIXED or arms[arm].text in typed:
                raise BadInput(FIELD, arms[arm].text, f"a control that this script allows: {why}")
        left_out = [arms[arm] for arm in why_not]
        for why in dict.fromkeys(why_not.values()):
            named = ", ".join(arms[arm].text for arm in why_not if why_not[arm] == why)
            self.study.progress.message(f"not tried: {named} ({why})")
        kept = tuple(setting for setting in settings if setting not in left_out)
        if settings and not kept:
            allowed = (
                "a setting by options, like --candidate 'args: --lr=1e-3', since no lever can be injected"
            )
            raise BadInput(FIELD, None, f"{allowed} ({next(iter(why_not.values()))})")
        return kept

    def addresses(self, settings: Sequence[CommandSetting], first_seed: int) -> dict[str, str]:
        """Address of each arm of the search."""
        runner = self.audit.runner([setting.text for setting in settings], first_seed)
        return {arm: runner.place(Request(arm, 0)).address for arm in runner.question.arms}

    def undoing(self, setting: CommandSetting, undoes: str) -> CommandSetting:
        """Note of a setting how it leaves nothing of the change."""
        return replace(setting, undoes=undoes)

    def part(self, name: str, settings: Sequence[CommandSetting], first_seed: int) -> CommandPart:
        """Make the arms of a part of the study."""
        looks = self.spec.rungs if name == "search" else self.spec.looks
        undoing = tuple(setting.undoes for setting in settings)
        design = replace(self.audit.design(looks, len(settings)), undoing=undoing)
        metric = self.spec.select if name == "search" else None
        if metric is not None:
            design = replace(design, resolution=None)  # that of the test metric
        runner = self.audit.runner([setting.text for setting in settings], first_seed, metric=metric)
        return CommandPart(self.audit, self.spec, runner, tuple(settings), design)


def _refuse(spec: ControlSpec) -> None:
    """Refuse what can be asked of an audit of a task alone.

    Raises:
        BadInput: It was asked for.
    """
    unknown = [axis for axis in spec.keep if axis not in KNOWN]
    if unknown:
        allowed = f"{', '.join(KNOWN)}, or none: nothing else is known of what a command costs"
        raise BadInput("keep", unknown[0], allowed)
    if spec.device is not None:
        allowed = "nothing: where a command computes it says itself, like --candidate 'args: --device=cuda'"
        raise BadInput("device", spec.device, allowed)
