"""From a study's levers to the recipes of its arms, and from the planner's requests to recipes to train."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from algobias.errors import BadInput
from algobias.judge.design import Design, Request
from algobias.levers.base import Lever
from algobias.levers.registry import parse, parse_many
from algobias.recipe import Recipe
from algobias.recipe_fields import Extension
from algobias.running.left_over import left_over
from algobias.running.replaced import replaced
from algobias.running.sameness import alike, undoing
from algobias.running.spec import StudySpec
from algobias.runs.arm_name import ArmName, under_control
from algobias.tasks.task import Task
from algobias.training.loop import LOOP_REVISION

NOISE_SEEDS = 6
"""Baselines from which the seed spread is learnt where no tolerance is given."""

NOISE_OFFSET = 1_000_000
"""Distance from the audit's seeds to those of the spread, which no audit uses."""


@dataclass(frozen=True)
class Arms:
    """The recipes of a study.

    Attributes:
        spec: The question.
        task: The task it is about.
        recipes: Recipe by arm name, as the planner spells them.
        changes: The levers that make the variant.
        controls: The levers of each control.
        derivations: How learning rates that a rule sets follow, one line for each.
        undoing: For each control, how it leaves nothing of the change, or None.
        replaced: Which levers take back what earlier ones have set, one line for each.
    """

    spec: StudySpec
    task: Task
    recipes: dict[str, Recipe]
    changes: tuple[Lever, ...]
    controls: tuple[tuple[Lever, ...], ...]
    derivations: tuple[str, ...] = ()
    undoing: tuple[str | None, ...] = ()
    replaced: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """One line for each control that leaves nothing of the change, and one for examples left over."""
        pairs = zip(self.spec.control, self.undoing, strict=False)
        undone = [f"{lever}: {undoes}" for lever, undoes in pairs if undoes is not None]
        return (*undone, *left_over(self.recipes))

    def without(self, names: Iterable[str]) -> Arms:
        """The same study without some arms."""
        left_out = set(names)
        kept = {name: recipe for name, recipe in self.recipes.items() if name not in left_out}
        return replace(self, recipes=kept)

    @property
    def alters_data(self) -> bool:
        """Whether the change removes training examples."""
        return any(lever.card.alters_data for lever in self.changes)

    @property
    def alters_loss(self) -> bool:
        """Whether the change makes training losses incomparable."""
        return any(lever.card.alters_loss for lever in self.changes)

    def design(
        self, tolerance: float, *, not_applied: str | None = None, null_failed: str | None = None
    ) -> Design:
        """What the planner needs to know."""
        return Design(
            tolerance=tolerance,
            looks=self.spec.looks,
            decays=any(recipe.schedule.decays for recipe in self.recipes.values()),
            alters_data=self.alters_data,
            alters_loss=self.alters_loss,
            rate_only="rate_only" in self.recipes,
            controls=len(self.controls),
            control_alters_loss=tuple(
                any(one.card.alters_loss for one in levers) for levers in self.controls
            ),
            levels=self.spec.levels,
            population=not self.task.corpus,
            corpus=self.task.corpus,
            train_examples=len(self.task.fit_index()),
            undoing=self.undoing,
            not_applied=not_applied,
            null_failed=null_failed,
            # A corpus metric has no values of examples; weighted ones differ by other steps than the metric.
            resolution=0.0 if self.task.corpus or self.task.weight is not None else None,
        )

    def seed(self, request: Request) -> int:
        """Seed of a requested run; the second arm of an A/A takes the next block."""
        block = self.spec.looks[-1] if self.spec.aa and request.arm == "variant" else 0
        return self.spec.seed + block + request.replicate

    def recipe(self, request: Request) -> Recipe:
        """Recipe of a requested run: the arm's, longer or shorter where asked."""
        recipe = self.recipes[request.arm]
        if request.level is not None:
            extension = Extension(level=request.level, factor=request.length, measure=request.measure)
            return recipe.edit(budget__extension=extension)
        if request.length != 1:
            return recipe.scaled(request.length)
        return recipe

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """What besides the recipe determines a run: the data, the loop, the kind of device."""
        device = self.spec.device.partition(":")[0]
        return (self.task.fingerprint(), f"loop {LOOP_REVISION}", f"device {device}")

    def address(self, recipe: Recipe) -> str:
        """Address of a recipe's runs in the store."""
        return recipe.address(*self.fingerprints)


def build_arms(spec: StudySpec, task: Task, controls: Sequence[tuple[Lever, ...]] | None = None) -> Arms:
    """Apply the levers of a study.

    Args:
        spec: The question.
        task: The task it is about.
        controls: The levers of each of ``spec.control``, where they have been parsed already.

    Raises:
        BadInput: Unknown or malformed levers, an impossible recipe.
    """
    start = baseline = task.recipe().edit(engine=spec.engine)
    basis = [lever for text in spec.base for lever in parse_many(text)]
    for lever in basis:
        baseline = lever.apply(baseline)
    changes = tuple(parse(text) for text in spec.change)
    variant, derivations = baseline, []
    for lever in changes:
        derivations.append((lever, lever.derivation(variant)))
        variant = lever.apply(variant)
    recipes = {"baseline": baseline, "variant": variant}
    rate_only = baseline.edit(optimizer__lr=variant.optimizer.lr)
    if rate_only != baseline and rate_only != variant:
        recipes["rate_only"] = rate_only
    controls = tuple(map(parse_many, spec.control) if controls is None else controls)
    for place, levers in enumerate(controls):
        for arm in ("variant", "baseline"):
            recipe = recipes[arm]
            for lever in levers:
                if arm == "variant":
                    derivations.append((lever, lever.derivation(recipe)))
                recipe = lever.apply(recipe)
            # A rule that undoes the change leaves the baseline as it is: then the treated baseline is known.
            if arm == "variant" and alike(recipe, recipes[arm]):
                raise BadInput("control", spec.control[place], f"a control that changes the {arm}'s recipe")
            recipes[under_control(arm, place)] = recipe
    _comparable(recipes)
    told = tuple(dict.fromkeys(f"{lever.spelling()}: {line}" for lever, line in derivations if line))
    undone = tuple(
        undoing(levers, baseline, variant, recipes[under_control("variant", place)])
        for place, levers in enumerate(controls)
    )
    lines = [*replaced(start, basis), *replaced(baseline, changes)]
    for levers in controls:
        lines += replaced(baseline, changes, levers)
    return Arms(spec, task, recipes, changes, controls, told, undone, tuple(dict.fromkeys(lines)))


def spoken(arm: str, spec: StudySpec) -> str:
    """An arm's name as people read it: a control by its lever instead of its number."""
    name = ArmName.parse(arm)
    return arm if name.control is None else f"{name.kind}+{spec.control[name.control]}"


def _comparable(recipes: dict[str, Recipe]) -> None:
    """Refuse arms that can only be compared by full schedules of other lengths where one has no length."""
    decaying = [name.partition(":")[0] for name, recipe in recipes.items() if recipe.schedule.decays]
    for name, recipe in recipes.items():
        if decaying and recipe.budget.until is not None:
            why = (
                f"the learning rate of the {decaying[0]} decays, and such arms are compared by full schedules"
            )
            raise BadInput(
                f"budget of the {name.partition(':')[0]}",
                f"until a training loss of {recipe.budget.until:g}",
                f"epochs or updates: {why} of several lengths",
            )
