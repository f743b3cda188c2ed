"""Part: the contract of what acts inside training; what else a file with a lever needs is named here too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from algobias.levers.arranged import Arranged
from algobias.levers.card import Card, Place
from algobias.levers.context import Context
from algobias.levers.hooks import GRADIENT, MODULE, READOUT, SAMPLER, TRANSFORM
from algobias.levers.lever import Lever
from algobias.levers.order import placed
from algobias.levers.portions import check_portions
from algobias.levers.size import NoShare
from algobias.levers.step import Batch, GradFn, Layout, Sampler, State, Transform
from algobias.own.returns import Returns, amount, of_type, truth
from algobias.recipe import Recipe
from algobias.recipe_fields import PartSpec
from algobias.spelling import validate_options

if TYPE_CHECKING:
    from torch import Tensor, nn

Lever.__module__ = __name__  # where users import it from, and messages name it

Stage = Literal["examples", "copies", "content", "weights"]
"""What a part does to a batch, in the order in which it is done: draw other examples, add copies of them,
change what they hold, weigh them. In another order a later part would undo an earlier one."""

STAGES: tuple[Stage, ...] = get_args(Stage)


def _is_stage(value: object) -> bool:
    return isinstance(value, str) and value in STAGES


Statistics = Callable[[State, Iterable[Batch]], dict[str, "Tensor"]]


class Part(Arranged):
    """A lever that also acts inside training; ``apply`` appends it to the recipe's parts.

    One run, with the hook of a part at each place where it can act::

        net = model(net)                                        # once
        batch, key = sampler(update, seeds)                     # sampler
        point = transform.at(state, memory, key)                # update
        grads, buffers = grad(point, batch, key)                # gradient
        state, memory = transform.update(grads, memory, state)  # update
        ...                                                     # until a check, then
        weights = transform.weights(state, memory)              # update
        weights = readout(weights, statistics)                  # readout
        loss, metric = evaluate(weights)

    Each hook wraps what it is given; the defaults change nothing. Hooks are pure: what a part remembers
    between updates lives in the transform's memory, so that stopping and resuming is exact.
    """

    option_types: ClassVar[tuple[type, ...]] = ()  # they stand in recipes, which are plain data
    promised: ClassVar[Mapping[str, Returns]] = {
        **Arranged.promised,
        "neutral": Returns("a setting of this class", isinstance),
        "present": Returns("a setting of this class", isinstance),
        "stage": Returns(f"one of {', '.join(STAGES)}", lambda value, owner: _is_stage(value)),
        "idle": truth(),
        "splits": truth(),
        "spec": of_type("a PartSpec", PartSpec),
        "model": MODULE,
        "sampler": SAMPLER,
        "gradient": GRADIENT,
        "update": TRANSFORM,
        "readout": READOUT,
        "bytes_sent": amount(),
    }

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
        # what neutral does not name, it does not ask for; where it names nothing, its defaults are neutral
        names = neutral.model_fields_set or set(type(neutral).model_fields)
        return all(getattr(self, key) == getattr(neutral, key) for key in names)

    def splits(self, recipe: Recipe) -> bool:
        """Whether the gradient of a batch of ``recipe`` is joined from those of pieces of it, as a mean."""
        return False

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


__all__ = [
    "STAGES",
    "Arranged",
    "Card",
    "Context",
    "Lever",
    "Part",
    "Place",
    "Stage",
    "Statistics",
]
