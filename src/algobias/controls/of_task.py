"""The ground of a control study of a task: recipes on parts of the held-out examples, trained here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from algobias.answer.answer import Answer
from algobias.controls.ground import Confirmed, Planner, Settled
from algobias.controls.spec import ControlSpec
from algobias.coordinates.asked import wanted_probes
from algobias.coordinates.returned import with_readings
from algobias.errors import BadInput
from algobias.json_values import JsonObject
from algobias.judge.costs import AXES
from algobias.judge.design import Design, Run
from algobias.kept.store import StudyRow
from algobias.own.user_file import without_folder
from algobias.running.arms import Arms, build_arms
from algobias.running.spec import StudySpec
from algobias.running.trainer import Options
from algobias.studies.audit import assemble
from algobias.studies.audited import audited_question, check_files, tolerance_of
from algobias.studies.study import Study, carry_out, read, terms_of
from algobias.training.device import one_thread
from algobias.treatments.candidates import Setting, candidates, fixed_alone
from algobias.treatments.confirm import Confirmation
from algobias.treatments.fixed import Held
from algobias.treatments.gathered import FIXED
from algobias.treatments.ranges import expanded


@dataclass(frozen=True)
class TaskGround:
    """An audit of a task.

    Attributes:
        study: The control study.
        spec: What is wanted.
        audited: What the audit answered.
        asked: The audit's question with the seed and the device that are wanted.
        plain: The arms of the audit.
    """

    study: Study
    spec: ControlSpec
    audited: Answer
    asked: StudySpec
    plain: Arms

    @classmethod
    def of(cls, row: StudyRow, spec: ControlSpec, study: Study) -> TaskGround:
        """Load the task of an audit.

        Raises:
            BadInput: The audit found no gap, or is no longer what was audited.
        """
        if spec.select is not None:
            allowed = "nothing: a task has its own part of the held-out examples to choose by"
            raise BadInput("select", spec.select, allowed)
        audited, as_audited = audited_question(row)
        asked = spec.question(as_audited)
        with one_thread():
            plain = build_arms(asked, study.options.load(asked.task))
            check_files(audited, replace(plain, spec=as_audited))
        return cls(study, spec, audited, asked, plain)

    @property
    def seed(self) -> int:
        """Seed from which those of search and confirmation are counted."""
        return self.asked.seed

    @property
    def axes(self) -> tuple[str, ...]:
        """All of them: the cost of a recipe is counted."""
        return AXES

    @property
    def question(self) -> JsonObject:
        """The audit's question as it is stored."""
        return self.asked.model_dump(mode="json", exclude={"looks"})

    @property
    def shown(self) -> tuple[str, str]:
        """The comparison in a few words, and the task as it is shown."""
        return self.asked.question(), without_folder(self.asked.task)

    def settings(self) -> tuple[Setting, ...]:
        """Every setting that needs no proposals by optuna."""
        with one_thread():
            return asked_settings(self.plain, self.audited, self.spec)

    def named(self, texts: Sequence[str], why: str | None = None) -> tuple[Setting, ...]:
        """Settings of these points of the user's ranges, as far as they can be."""
        settings = candidates(
            self.plain.changes,
            self.plain.recipes,
            (),
            only=texts,
            forbid=self.spec.forbid,
            fix=self.spec.fix,
            points=texts,
        )
        return tuple(replace(one, why=why or one.why) for one in settings if one.why != FIXED)

    def with_fixed(self, text: str) -> str:
        """Spell a setting behind what is fixed."""
        return Held.of(self.spec.fix, self.plain.recipes).with_setting(text)

    def possible(self, settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
        """Leave them as they are: what a recipe cannot be is known from the start."""
        return settings

    def addresses(self, settings: Sequence[Setting], first_seed: int) -> dict[str, str]:
        """Address of each arm of the search."""
        arms = self.part("search", settings, first_seed).arms
        return {name: arms.address(recipe) for name, recipe in arms.recipes.items()}

    def undoing(self, setting: Setting, undoes: str) -> Setting:
        """Note of a setting how it leaves nothing of the change."""
        return replace(setting, undoes=undoes)

    def part(self, name: str, settings: Sequence[Setting], first_seed: int) -> TaskPart:
        """Make the arms of a part of the study."""
        with one_thread():
            arms, design = arms_of_part(
                self.asked, self.audited, name, settings, self.spec, self.study.options, first_seed
            )
        return TaskPart(self, arms, design)


@dataclass(frozen=True)
class TaskPart:
    """The arms of one part of the study.

    Attributes:
        ground: What they stand on.
        arms: Recipes by arm.
        design: What the planner needs to know.
    """

    ground: TaskGround
    arms: Arms
    design: Design

    def without(self, arms: Iterable[str]) -> Self:
        """Leave out some arms."""
        return replace(self, arms=self.arms.without(arms))

    def carried_out(self, plan: Planner[Settled]) -> tuple[Settled, list[Run]]:
        """Train what a planner asks for until it answers."""
        with self.ground.study.trainer(self.arms) as trainer:
            return carry_out(trainer, plan)

    def idle(self, runs: Sequence[Run]) -> Mapping[int, str]:
        """None: a lever that changes no recipe is refused."""
        return {}

    def undone(self, runs: Sequence[Run]) -> Mapping[int, str]:
        """None: what a recipe is, is known from the start."""
        return {}

    def confirmed(self, design: Design, plan: Planner[Confirmation]) -> Confirmed:
        """Train what was chosen until it is decided, and read what moved."""
        study, probes = self.ground.study, self.ground.asked.probes
        with study.trainer(self.arms) as trainer:
            confirmation, runs = carry_out(trainer, plan)
            judged = replace(design, only_look=confirmation.look)
            readings = read(trainer, judged, confirmation.verdict, runs, wanted_probes(probes, None))
        return Confirmed(confirmation, runs, trainer.places, readings)

    def answer(self, study: str, design: Design, confirmed: Confirmed) -> Answer:
        """Answer as an audit on these seeds would."""
        confirmation, runs = confirmed.confirmation, confirmed.runs
        judged = replace(design, only_look=confirmation.look)
        answer = assemble(study, self.arms, judged, confirmation.verdict, runs, "that of the audit")
        if confirmed.readings is None:
            return answer
        return with_readings(answer, confirmed.readings, confirmation.verdict)

    def finish(self, answer: Answer, design: Design, confirmed: Confirmed | None) -> Answer:
        """Store the answer of the study; return it with ``seconds``."""
        study, audited = self.ground.study, self.ground.audited
        if confirmed is None:
            return study.finish(answer, self.arms, terms_of(self.arms, design, (), audited.resolution))
        resolution = confirmed.confirmation.verdict.split.resolution
        terms = terms_of(self.arms, design, confirmed.runs, resolution)
        return study.finish(answer, self.arms, terms, confirmed.places)


def arms_of_part(
    question: StudySpec,
    audited: Answer,
    part: str,
    settings: Sequence[Setting],
    spec: ControlSpec,
    options: Options,
    seed: int,
) -> tuple[Arms, Design]:
    """Recipes and design on one part of the held-out examples, on that part's own seeds.

    Args:
        question: The audit's question.
        audited: What it answered, for the tolerance.
        part: ``search`` or ``confirm``.
        settings: The controls.
        spec: What is wanted.
        options: For the data.
        seed: First of the part's seeds.
    """
    looks = spec.rungs if part == "search" else spec.looks
    asked = question.model_copy(
        update={
            "task": f"{question.task}@{part}",
            "control": tuple(setting.text for setting in settings),
            "seed": seed,
            "looks": looks,
            "tolerance": tolerance_of(audited),
        }
    )
    arms = build_arms(asked, options.load(asked.task), [setting.levers for setting in settings])
    arms = arms.without(["rate_only"])  # the audit has told what the rate alone does
    return arms, arms.design(tolerance_of(audited))


def asked_settings(plain: Arms, audited: Answer, spec: ControlSpec) -> tuple[Setting, ...]:
    """Every setting that needs no proposals by optuna.

    Args:
        plain: The arms of the audit.
        audited: What it answered, for what moved.
        spec: What is wanted.
    """
    given, only = expanded(spec.candidates, spec.trials), expanded(spec.only, spec.trials)
    if spec.only and not only and not given:
        return fixed_alone(Held.of(spec.fix, plain.recipes))
    return candidates(
        plain.changes,
        plain.recipes,
        audited.moved,
        given=given,
        only=(*only, *given) if spec.only else (),
        forbid=spec.forbid,
        fix=spec.fix,
        points={*given, *only} - {*spec.candidates, *spec.only},
        most=spec.most,
    )
