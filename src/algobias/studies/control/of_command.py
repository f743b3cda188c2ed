"""The ground of a control study of a command: its arms on seeds of the study's own, run here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from algobias.answer.answer import Answer
from algobias.commands.allowed import refusals
from algobias.commands.costs import KNOWN
from algobias.commands.inside import Told
from algobias.commands.question import CommandQuestion
from algobias.commands.runner import Runner
from algobias.commands.treatment import Treatment
from algobias.errors import BadInput
from algobias.json_values import JsonObject
from algobias.judge.design import Design, Request, Run
from algobias.kept.store import StudyRow
from algobias.runs.arm_name import under_control
from algobias.studies.command.answer import (
    answer_of,
    archive_of,
    failures,
    idle_lever,
    known_costs,
    lever_doubts,
    loss_doubts,
)
from algobias.studies.command.audited import AuditedCommand
from algobias.studies.control.candidates import FIXED
from algobias.studies.control.command_candidates import FIELD, CommandSetting, Fixed, command_candidates
from algobias.studies.control.confirm import Confirmation
from algobias.studies.control.ground import Confirmed, Planner, Settled
from algobias.studies.control.ranges import expanded, split
from algobias.studies.control.spec import ControlSpec
from algobias.studies.study import Study, carry_out

SAME_EXAMPLES = (
    "the search and the confirmation are on different seeds, but a command has one test metric: both read "
    "it, so that what was chosen may suit these test examples a little"
)


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
        found = command_candidates(self.asked, only=texts, forbid=spec.forbid, fix=spec.fix, points=texts)
        return tuple(replace(one, why=why or one.why) for one in found if one.why != FIXED)

    def with_fixed(self, text: str) -> str:
        """Spell a setting behind what is fixed."""
        treatment = Treatment.parse(text, FIELD)
        return Fixed.of(self.spec.fix, self.asked).treatment.followed_by(treatment).text

    def possible(self, settings: tuple[CommandSetting, ...]) -> tuple[CommandSetting, ...]:
        """Leave out what the script does not allow, by short runs; say which."""
        runner = self.audit.runner([setting.text for setting in settings])
        arms = {under_control("variant", number): setting for number, setting in enumerate(settings)}
        why_not = refusals(runner, tuple(arms), self.asked.preflight)
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

    def part(self, name: str, settings: Sequence[CommandSetting], first_seed: int) -> CommandPart:
        """Make the arms of a part of the study."""
        looks = self.spec.rungs if name == "search" else self.spec.looks
        undoing = tuple(setting.undoes for setting in settings)
        design = replace(self.audit.design(looks, len(settings)), undoing=undoing)
        runner = self.audit.runner([setting.text for setting in settings], first_seed)
        return CommandPart(self, runner, tuple(settings), design)


@dataclass(frozen=True)
class CommandPart:
    """The arms of one part of the study.

    Attributes:
        ground: What they stand on.
        runner: What carries out their runs.
        settings: The controls.
        design: What the planner needs to know.
        left_out: Arms that are not run.
    """

    ground: CommandGround
    runner: Runner
    settings: tuple[CommandSetting, ...]
    design: Design
    left_out: frozenset[str] = frozenset()

    def without(self, arms: Iterable[str]) -> Self:
        """Leave out some arms."""
        return replace(self, left_out=frozenset(arms))

    def carried_out(self, plan: Planner[Settled]) -> tuple[Settled, list[Run]]:
        """Run what a planner asks for until it answers."""
        return carry_out(self.runner, plan)

    def idle(self, runs: Sequence[Run]) -> Mapping[int, str]:
        """Say of settings whose levers acted in no run of the variant why, by number."""
        found = {}
        for number, setting in enumerate(self.settings):
            levers = (setting.treatment.levers,) if setting.treatment.levers else ()
            why = idle_lever(self.runner, runs, under_control("variant", number), levers)
            if why is not None:
                found[number] = why
        return found

    def confirmed(self, design: Design, plan: Planner[Confirmation]) -> Confirmed:
        """Run what was chosen until it is decided; no coordinates are read of a command."""
        found, runs = carry_out(self.runner, plan)
        return Confirmed(found, runs, self.runner.places)

    def answer(self, study: str, design: Design, confirmed: Confirmed) -> Answer:
        """Answer as an audit on these seeds would."""
        found, runs = confirmed.found, confirmed.runs
        judged, audited = replace(design, only_look=found.look), self.ground.audited
        answer = answer_of(
            self.runner, judged, found.verdict, runs, audited.preflight, "that of the audit"
        ).changed(study=study)
        doubts = (
            *lever_doubts(self.runner, runs),
            *loss_doubts(self.runner, runs),
            *failures(self.runner, runs),
            SAME_EXAMPLES,
        )
        return answer.changed(warnings=(*answer.warnings, *doubts))

    def finish(self, answer: Answer, design: Design, confirmed: Confirmed | None) -> Answer:
        """Store the answer of the study; return it with ``seconds``."""
        study, runs = self.ground.study, [] if confirmed is None else confirmed.runs
        counted = Told.of(self.runner.first.folder).updates > 0
        answer = known_costs(answer, counted)
        unknown = self._unlimited(answer, counted)
        answer = answer.changed(warnings=(*answer.warnings, *([unknown] if unknown else [])))
        archive = archive_of(self.runner, design, runs, answer, study.command)
        spoken = {self.runner.question.spoken(arm) for arm in self.left_out}
        recipes = {arm: text for arm, text in archive.recipes.items() if arm not in spoken}
        return study.close(answer, replace(archive, recipes=recipes))

    def _unlimited(self, answer: Answer, counted: bool) -> str | None:
        """Say of which costs nobody knows whether they stay within the limit; None: of none."""
        keep = set(self.ground.spec.keep) & {"updates", "gradients"}
        if keep and not counted:
            named = " and ".join(sorted(keep, reverse=True))
            return f"{named} are not counted inside of this command; --keep seconds limits by the clock"
        free = [one.lever or "" for one in answer.tried if one.against_variant.gradients is None]
        if "gradients" not in keep or not free:
            return None
        return f"how many examples a gradient takes with {', '.join(free)} is not known: no limit holds it"


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
