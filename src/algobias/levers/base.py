"""Lever, Part and Card: the contract of everything that changes a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from algobias.errors import BadInput
from algobias.levers.card import Card, Place
from algobias.levers.context import Context
from algobias.levers.division import Division
from algobias.levers.size import NoShare
from algobias.levers.step import Batch, GradFn, Layout, Sampler, State, Transform
from algobias.recipe import Recipe
from algobias.recipe_fields import PartSpec
from algobias.spelling import Spelled, validate_options

if TYPE_CHECKING:
    from torch import Tensor, nn

Stage = Literal["examples", "copies", "content", "weights"]
"""What a part does to a batch, in the order in which it is done: draw other examples, add copies of them,
change what they hold, weigh them. In another order a later part would undo an earlier one."""

STAGES: tuple[Stage, ...] = get_args(Stage)


class Lever(Spelled):
    """A typed edit of a recipe.

    Class attributes:
        card: What a user should know before pulling it.
    """

    card: ClassVar[Card]

    @classmethod
    def lacking(cls) -> tuple[str, ...]:
        """A card, a neutral setting, and what it edits."""
        needed = {
            "card (a Card)": not isinstance(getattr(cls, "card", None), Card),
            "neutral (class method: its setting that changes nothing)": not any(
                "neutral" in vars(base) for base in cls.__mro__ if base is not Lever
            ),
            "apply (method: the edited recipe)": cls.apply is Lever.apply,
        }
        return tuple(what for what, missing in needed.items() if missing)

    @classmethod
    def examples(cls) -> tuple[str, ...]:
        """Spellings from the card."""
        return cls.card.examples

    @classmethod
    def neutral(cls, recipe: Recipe) -> Lever:
        """The setting at which this lever changes nothing in ``recipe``."""
        raise TypeError(f"{cls.__name__} must say what its neutral setting is")

    def apply(self, recipe: Recipe) -> Recipe:
        """The edited recipe.

        Raises:
            BadInput: The result is not a possible recipe.
        """
        raise TypeError(f"{type(self).__name__} must say what it edits")

    def share(self, fraction: float, recipe: Recipe) -> Lever:
        """Make a part of this change, or more of it.

        What a part is, the lever says: geometric for numbers that multiply, on 1 - beta for memories, linear
        for probabilities, ages and the like, from what ``recipe`` has to what this lever makes of it. Two
        spellings of one change have the same parts, up to the rounding of their numbers.

        Args:
            fraction: 0 is no change, 1 this lever, above 1 beyond it.
            recipe: What it acts on.

        Returns:
            The lever to apply instead.

        Raises:
            NoShare: It is a choice, of which there is no part; the text says why.
            BadInput: The part is out of range.

        Example:
            >>> from algobias.levers.registry import parse
            >>> spec = {"task": "digits", "examples": 800, "optimizer": {"lr": 0.1}, "batch": 16}
            >>> recipe = Recipe(**spec, budget={"epochs": 1})
            >>> [parse(text).share(0.5, recipe).spelling() for text in ("batch:x16,lr=sqrt", "ema:0.99")]
            ['batch:x4,lr=sqrt', 'ema:0.9']
        """
        return self if fraction == 1 else self.part_of(fraction, recipe)

    def part_of(self, fraction: float, recipe: Recipe) -> Lever:
        """What :meth:`share` is at a fraction other than 1; for levers to say."""
        raise NoShare("it is a choice, of which there is no part")

    def with_options(self, **options: Any) -> Self:
        """The same lever with some options at other values.

        Raises:
            BadInput: A value out of range.
        """
        given = {key: getattr(self, key) for key in self.model_fields_set}
        return validate_options(type(self), {**given, **options})

    def derivation(self, recipe: Recipe) -> str | None:
        """How numbers that a rule sets follow from those of ``recipe``, in one line; None where none does."""
        return None

    def gradients_per_example(self) -> float:
        """Gradient evaluations per example drawn at this setting; the unchanged recipe has 1."""
        return self.card.gradients


Statistics = Callable[[State, Iterable[Batch]], dict[str, "Tensor"]]


class Part(Lever):
    """A lever that also acts inside training; ``apply`` appends it to the recipe's parts.

    Each hook wraps what it is given; the defaults change nothing. Hooks are pure: what a part remembers
    between updates lives in the transform's memory, so that stopping and resuming is exact.
    """

    @property
    def stage(self) -> Stage:
        """When its :meth:`sampler` acts; those of one stage in the order of the recipe."""
        return "content"

    def apply(self, recipe: Recipe) -> Recipe:
        """Append this part, replacing an earlier one of the same name.

        It comes before parts that it cannot follow.

        Raises:
            BadInput: It does not go with one of the others, or cannot divide the examples that they leave it.
        """
        # These know all parts, which are made from what is defined here.
        from algobias.levers.order import placed
        from algobias.levers.portions import check_portions

        kept = tuple(part for part in recipe.parts if part.name != self.name)
        edited = recipe.edit(parts=[part.model_dump() for part in placed(kept, self.spec())])
        check_portions(edited, self.name)
        return edited

    def present(self, recipe: Recipe) -> Self:
        """The setting that ``recipe`` has: that of its own part of this name, else the neutral one."""
        own = next((part for part in recipe.parts if part.name == self.name), None)
        if own is None:
            neutral = type(self).neutral(recipe)
            assert isinstance(neutral, type(self))
            return neutral
        return validate_options(type(self), dict(own.options))

    def size_from(self, recipe: Recipe, option: str) -> Any:
        """What ``recipe`` has of the option that is this part's size.

        Raises:
            NoShare: As much as this lever: what else it changes is a choice.
        """
        now = getattr(self.present(recipe), option)
        if now == getattr(self, option):
            raise NoShare(f"its {option} is what the recipe has, and what else it changes is a choice")
        return now

    def idle(self, recipe: Recipe) -> bool:
        """Whether a run of ``recipe``, which has this part, is the same without it."""
        neutral = type(self).neutral(recipe)
        return all(getattr(self, key) == getattr(neutral, key) for key in neutral.model_fields_set)

    def splits(self, recipe: Recipe) -> bool:
        """Whether the gradient of a batch of ``recipe`` is joined from those of pieces of it, as a mean."""
        return False

    @property
    def one_gradient_each(self) -> bool:
        """Whether it hands on a gradient for each worker, not their mean."""
        return False

    @property
    def wants_one_gradient(self) -> bool:
        """Whether it works on one gradient, which no earlier part has shared out among workers."""
        return False

    def cannot_follow(self, earlier: Part) -> bool:
        """Whether it has no place after another part of a recipe."""
        return earlier.one_gradient_each and self.wants_one_gradient

    @property
    def shards_examples(self) -> bool:
        """Whether every worker has examples of its own, from which alone it may draw."""
        return False

    @property
    def draws_from_all(self) -> bool:
        """Whether it draws other examples, from all there are."""
        return False

    def divisions(self, batch: int) -> tuple[Division, ...]:
        """Equal parts that it makes of its examples in a recipe with this batch."""
        return ()

    def multiplied(self, factor: int) -> int:
        """By what a batch is multiplied after this part, where it was multiplied by ``factor`` before."""
        return factor

    def spec(self) -> PartSpec:
        """This part as pure data."""
        return PartSpec(
            name=self.name,
            revision=self.revision,
            options=self.model_dump(mode="json"),
            source=self.source,
        )

    def model(self, net: nn.Module) -> nn.Module:
        """Model surgery, once, before training."""
        return net

    def sampler(self, sampler: Sampler, context: Context) -> Sampler:
        """Change which examples are drawn, or what is done to them."""
        return sampler

    def gradient(self, grad: GradFn, context: Context) -> GradFn:
        """Change how the gradient is computed."""
        return grad

    def update(self, transform: Transform, context: Context) -> Transform:
        """Change how the gradient becomes an update."""
        return transform

    def readout(
        self, weights: State, statistics: Statistics, context: Context, seeds: tuple[int, ...]
    ) -> State:
        """Change the network that is evaluated, after the transform has said which weights those are.

        Args:
            weights: What is evaluated.
            statistics: (network, batches) -> its buffers with BatchNorm statistics over these batches.
            context: The run.
            seeds: Of the runs that are evaluated.
        """
        return weights

    def bytes_sent(self, layout: Layout, updates: int, recipe: Recipe) -> float:
        """Bytes that one worker sends to others in so many updates of a network of this layout."""
        return 0.0


def part_from(spec: PartSpec) -> Part | None:
    """Make the part that a recipe names, of whatever revision.

    Returns:
        The part; None where no part has this name or these options, which is refused where it is built.
    """
    named = (cls for cls in _kinds(Part) if getattr(cls, "name", None) == spec.name)
    # of a user's file there may be several versions
    kind = next((cls for cls in named if spec.source is None or cls.revision == spec.revision), None)
    if kind is None:
        return None
    try:
        return validate_options(kind, dict(spec.options))
    except BadInput:
        return None


def _kinds(cls: type[Part]) -> Iterator[type[Part]]:
    """All classes of parts, those made of others too."""
    for kind in cls.__subclasses__():
        yield kind
        yield from _kinds(kind)


def known_parts(specs: Iterable[PartSpec]) -> list[Part]:
    """Make the parts that a recipe names, as far as there are such."""
    return [part for part in map(part_from, specs) if part is not None]


__all__ = [
    "STAGES",
    "Card",
    "Context",
    "Lever",
    "Part",
    "Place",
    "Stage",
    "Statistics",
    "known_parts",
    "part_from",
]
