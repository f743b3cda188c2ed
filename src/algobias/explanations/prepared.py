"""An explanation before anything is trained: its interventions, its arms, and what they may cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from algobias.answer.answer import Answer
from algobias.answer.causes import DoseLeftOut
from algobias.answer.forecast import Forecast
from algobias.coordinates.readings import TWIN
from algobias.errors import BadInput
from algobias.explanations.spec import ExplainSpec
from algobias.judge.design import Design
from algobias.judge.verdict import PLANNED_END_GAPS
from algobias.kept.store import StudyRow
from algobias.recipe import Recipe
from algobias.running.arms import Arms, build_arms
from algobias.running.asked import NO_PROBES
from algobias.running.spec import StudySpec
from algobias.running.trainer import Options
from algobias.runs.arm_name import under_control
from algobias.seeding.states import seeded
from algobias.studies.audited import audited_question, check_files, tolerance_of
from algobias.studies.forecast import forecast
from algobias.studies.study import study_id
from algobias.training.device import one_thread
from algobias.treatments.candidates import candidates
from algobias.treatments.interventions import Intervention, doses, forces, pieces, switches

EVERY_CANDIDATE = 256


@dataclass(frozen=True)
class Prepared:
    """An explanation, ready to be trained.

    Attributes:
        study: Its id.
        audit: Id of the audit.
        audited: The audit's result.
        question: The audit's question.
        spec: What is wanted.
        interventions: What will be done.
        arms: The audit's arms and a pair for each intervention.
        look: Number of seeds.
        left_out: (size, why) of the doses that are not made; a size of None stands for all.
    """

    study: str
    audit: str
    audited: Answer
    question: StudySpec
    spec: ExplainSpec
    interventions: tuple[Intervention, ...]
    arms: Arms
    look: int
    left_out: tuple[tuple[float | None, str], ...] = ()

    @property
    def doses_left_out(self) -> tuple[DoseLeftOut, ...]:
        """The doses that are not made, and why."""
        return tuple(DoseLeftOut(dose=dose, reason=reason) for dose, reason in self.left_out)

    @property
    def design(self) -> Design:
        """What the planner needs to know."""
        return replace(
            self.arms.design(tolerance_of(self.audited)),
            controls=len(self.interventions),
            control_alters_loss=tuple(one.alters_loss for one in self.interventions),
            undoing=tuple(one.undoes for one in self.interventions),
            only_look=self.look,
            upward=True,
        )

    @property
    def probes(self) -> str:
        """The probes of the coordinates that moved; the cheap ones where none were read."""
        names = [shift.probe.removesuffix(TWIN) for shift in self.audited.moved if shift.status == "moved"]
        if names:
            return ",".join(dict.fromkeys(names))
        return "cheap" if self.question.probes == NO_PROBES else self.question.probes

    def forecast(self, workers: int | None = None) -> Forecast:
        """Arms, seeds, worst-case updates, time and disk; nothing is trained or stored.

        The audit's own runs are there. Arms that are the same recipe are trained once.
        """
        asked = self.arms.spec.model_copy(
            update={
                "looks": (self.look,),
                "tolerance": tolerance_of(self.audited),
                "probes": self.probes,
            }
        )
        recipes: dict[str, Recipe] = {}
        for name, recipe in self.arms.recipes.items():
            if recipe not in recipes.values():
                recipes[name] = recipe
        longer = self.audited.verdict not in PLANNED_END_GAPS or self.look < self.audited.gap.n
        arms = replace(self.arms, spec=asked, recipes=recipes)
        found = forecast(arms, workers, stored=("baseline", "variant"), longer=longer)
        remarks = [f"{one.text}: {one.undoes}" for one in self.interventions if one.undoes is not None]
        remarks += [str(dose) for dose in self.doses_left_out]
        return found.changed(
            explain_of=self.audit, remarks=tuple(remarks), doses_left_out=self.doses_left_out
        )


def prepare(row: StudyRow, spec: ExplainSpec, options: Options) -> Prepared:
    """Fix everything that will be done, before any of it is trained.

    Args:
        row: The audit.
        spec: What is wanted.
        options: For the task and its data.

    Raises:
        BadInput: The audit found no gap, or nothing can be done to its change.
    """
    audited, question = audited_question(row)
    with one_thread():
        plain = build_arms(question, options.load(question.task))
        check_files(audited, plain)
        interventions, left_out = plan_interventions(plain, audited, spec)
        arms = _with(plain, interventions)
    seen = audited.gap.n
    look = seen if spec.seeds is None else min(spec.seeds, seen)
    study = study_id("explain", row.id, spec.model_dump(mode="json"), look, arms=arms)
    return Prepared(study, row.id, audited, question, spec, tuple(interventions), arms, look, left_out)


def plan_interventions(
    plain: Arms, audited: Answer, spec: ExplainSpec
) -> tuple[list[Intervention], tuple[tuple[float | None, str], ...]]:
    """Everything that will be done, fixed before any of it is trained, and the doses that will not.

    Raises:
        BadInput: Levers that are unknown or impossible here, nothing that can be done.
    """
    found: list[Intervention] = []
    planned = {
        str(arm.name): max(2, round(arm.cost.vector().updates))
        for arm in audited.arms
        if arm.name in ("baseline", "variant")
    }
    if audited.verdict != "broken":
        found += switches(plain.recipes, planned, spec.at)
    sizes = doses(plain.changes, plain.recipes["baseline"], spec.doses)
    found += sizes.made
    with seeded(0, "init", 0):
        net = plain.task.build_model(plain.recipes["baseline"].model)
    found += pieces(plain.changes, plain.recipes["baseline"], net)
    moved = audited.moved
    try:
        settings = candidates(
            plain.changes, plain.recipes, moved, given=spec.force, only=spec.only, most=EVERY_CANDIDATE
        )
    except BadInput as error:
        if error.field != "candidates":
            raise
        field = "only" if spec.only else "force"
        raise BadInput(field, error.value, error.allowed.replace("a control", "a lever")) from error
    names = {shift.probe.removesuffix(TWIN) for shift in moved if shift.status == "moved"}
    found += forces(settings, plain.recipes["variant"], names, spec.most)
    return found, sizes.left_out


def _with(plain: Arms, interventions: Sequence[Intervention]) -> Arms:
    """The audit's arms and one pair for each intervention, spelled as the planner spells controls."""
    recipes = {name: plain.recipes[name] for name in ("baseline", "variant")}
    for number, one in enumerate(interventions):
        recipes[under_control("variant", number)] = one.recipe
        recipes[under_control("baseline", number)] = one.baseline
    asked = plain.spec.model_copy(update={"control": tuple(one.text for one in interventions)})
    return replace(plain, spec=asked, recipes=recipes, controls=(), undoing=())
