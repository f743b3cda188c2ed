"""The arms of one part of a control study of a command, search or confirmation, and what they answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from algobias.answer.answer import Answer
from algobias.answer.search import SAME_EXAMPLES
from algobias.commands.numbers.inside import Told
from algobias.commands.runner import Runner
from algobias.controls.ground import Confirmed, Planner, Settled
from algobias.controls.spec import ControlSpec
from algobias.coordinates.returned import with_readings
from algobias.errors import BadInput
from algobias.judge.design import Design, Run
from algobias.running.sameness import UNDOES
from algobias.runs.arm_name import under_control
from algobias.runs.outcome import Outcome
from algobias.studies.command.acted import idle_lever, lever_doubts
from algobias.studies.command.answer import (
    answer_of,
    archive_of,
    environment_doubts,
    failures,
    known_costs,
    loss_doubts,
)
from algobias.studies.command.audited import AuditedCommand
from algobias.studies.command.readings import read_where_asked, reading_doubts
from algobias.studies.study import carry_out
from algobias.treatments.command_candidates import CommandSetting
from algobias.treatments.confirm import Confirmation

Place = tuple[int, float]
"""Replicate and length of a run."""


@dataclass(frozen=True)
class CommandPart:
    """The arms of one part of the study.

    Attributes:
        audit: The audit that they stand on.
        spec: What is wanted.
        runner: What carries out their runs.
        settings: The controls.
        design: What the planner needs to know.
        left_out: Arms that are not run.
    """

    audit: AuditedCommand
    spec: ControlSpec
    runner: Runner
    settings: tuple[CommandSetting, ...]
    design: Design
    left_out: frozenset[str] = frozenset()

    def without(self, arms: Iterable[str]) -> Self:
        """Leave out some arms."""
        return replace(self, left_out=frozenset(arms))

    def carried_out(self, plan: Planner[Settled]) -> tuple[Settled, list[Run]]:
        """Run what a planner asks for until it answers."""
        try:
            return carry_out(self.runner, plan)
        except BadInput as error:
            if error.field != "--metric" or self.runner.question.metric != self.spec.select:
                raise
            raise error.of("--select") from error

    def idle(self, runs: Sequence[Run]) -> Mapping[int, str]:
        """Say of settings whose levers acted in no run of the variant why, by number."""
        idle = {}
        for number, setting in enumerate(self.settings):
            levers = (setting.treatment.levers,) if setting.treatment.levers else ()
            why = idle_lever(self.runner, runs, under_control("variant", number), levers)
            if why is not None:
                idle[number] = why
        return idle

    def undone(self, runs: Sequence[Run]) -> Mapping[int, str]:
        """Say of settings with which every run of the variant was that of the baseline so, by number.

        An option may be set to what it is where it does not stand in the command: only the runs show it.
        """
        arms: dict[str, dict[tuple[int, float], Outcome]] = {}
        for run in runs:
            arms.setdefault(run.arm, {})[run.replicate, run.length] = run.outcome
        baseline = arms.get("baseline", {})
        undoes = f"{UNDOES}: with it every run of the variant ends as the baseline's does"
        if self._same(baseline, arms.get("variant", {})):
            return {}
        return {
            number: undoes
            for number, setting in enumerate(self.settings)
            if setting.undoes is None and self._same(baseline, arms.get(under_control("variant", number), {}))
        }

    def _same(self, first: Mapping[Place, Outcome], second: Mapping[Place, Outcome]) -> bool:
        """Whether all runs that both arms have went the same way, to the last bit."""
        both = first.keys() & second.keys()
        return len(both) > 1 and all(
            np.array_equal(first[place].curve.test_metric, second[place].curve.test_metric, equal_nan=True)
            and np.array_equal(first[place].curve.train_loss, second[place].curve.train_loss, equal_nan=True)
            for place in both
        )

    def confirmed(self, design: Design, plan: Planner[Confirmation]) -> Confirmed:
        """Run what was chosen until it is decided; compare the coordinates that the audit asked for."""
        confirmation, runs = carry_out(self.runner, plan)
        judged = replace(design, only_look=confirmation.look)
        readings = read_where_asked(self.runner, judged, confirmation.verdict, runs)
        return Confirmed(confirmation, runs, self.runner.places, readings)

    def answer(self, study: str, design: Design, confirmed: Confirmed) -> Answer:
        """Answer as an audit on these seeds would."""
        confirmation, runs = confirmed.confirmation, confirmed.runs
        judged, audited = replace(design, only_look=confirmation.look), self.audit.answer
        answer = answer_of(
            self.runner, judged, confirmation.verdict, runs, audited.preflight, "that of the audit"
        ).changed(study=study)
        if confirmed.readings is not None:
            answer = with_readings(answer, confirmed.readings, confirmation.verdict)
        doubts = (
            *lever_doubts(self.runner, runs),
            *loss_doubts(self.runner, runs),
            *reading_doubts(self.runner, runs),
            *environment_doubts(self.runner, runs),
            *failures(self.runner, runs),
            *(() if self.spec.select else (SAME_EXAMPLES,)),
        )
        return answer.changed(warnings=(*answer.warnings, *doubts))

    def finish(self, answer: Answer, design: Design, confirmed: Confirmed | None) -> Answer:
        """Store the answer of the study; return it with ``seconds``."""
        study, runs = self.audit.study, [] if confirmed is None else confirmed.runs
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
        keep = set(self.spec.keep) & {"updates", "gradients"}
        if keep and not counted:
            named = " and ".join(sorted(keep, reverse=True))
            return f"{named} are not counted inside of this command; --keep seconds limits by the clock"
        free = [
            entry.lever or ""
            for entry in answer.tried
            if entry.against_variant.gradients is None and not entry.over_limit
        ]
        if "gradients" not in keep or not free:
            return None
        named = ", ".join(free)
        return f"gradients are not known with {named} (examples of each): no limit on gradients holds it"
