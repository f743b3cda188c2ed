"""Gradient clipping by the global norm."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from algobias.lazy import attributes_from, torch
from algobias.levers.base import Card, Part
from algobias.levers.context import Context
from algobias.levers.size import NoShare, between
from algobias.levers.step import Grads, State, Transform, Tree
from algobias.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

UNBOUNDED = 1e30
"""The neutral bound: no finite gradient that could be stepped with reaches it."""


def clipped(grads: Tensor, bound: float) -> Tensor:
    """Flat gradients scaled to norm at most ``bound``: ``g min(1, bound / ||g||)``, row by row.

    A gradient within the bound comes back unchanged to the last bit, a zero one stays zero, a non-finite
    one becomes NaN in its row (the run diverges, as it would have).

    Args:
        grads: [..., P].
        bound: Largest norm, above 0.
    """
    norm = torch.linalg.vector_norm(grads, dim=-1, keepdim=True)
    bounded: Tensor = grads * (bound / norm).clamp_(max=1.0)
    return bounded


class Clip(Part):
    """Scale every gradient to global norm at most ``bound``, before weight decay and momentum.

    Attributes:
        bound: Largest norm of the gradient over all parameters.
    """

    name: ClassVar[str] = "clip"
    positional: ClassVar[str | None] = "bound"

    bound: float = Field(gt=0)

    card: ClassVar[Card] = Card(
        summary="Scales the gradient down to a largest global norm, before momentum.",
        saves="nothing by itself; lets a larger learning rate in, hence fewer updates",
        costs="one pass over the gradient",
        injected="algobias.clip_by_norm in front of optimizer.step()",
        acts_on=("weights",),
        moves=("weight_norm", "distance_from_init"),
        not_when=(
            "Does nothing where gradients stay below the bound (the activity check says so). With a larger "
            "rate it is cheap but unreliable: lr:0.4+warmup:40+clip:1 gave back 0.49 [0.23, 0.71] of digits "
            "batch 16 to 256 at the same training loss, at a fifth of the examples; on the Fashion conv net "
            "nothing certain (0.15 [-0.73, 0.81])."
        ),
        references=(
            "Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural networks, 2013",
            "Hoffer, Hubara, Soudry, Train longer, generalize better, 2017 (with a large batch)",
            "Zhang et al., Why gradient clipping accelerates training: a theoretical justification, 2020",
        ),
        examples=("clip:1", "clip:0.1"),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> Clip:
        """A bound that is never reached."""
        return cls(bound=UNBOUNDED)

    def part_of(self, fraction: float, recipe: Recipe) -> Clip:
        """Geometric from the recipe's own bound.

        Raises:
            NoShare: The recipe has none.
        """
        now = self.present(recipe).bound
        if now >= UNBOUNDED:
            raise NoShare("between no bound and a bound there is no size")
        return self.with_options(bound=between(now, self.bound, fraction))

    def idle(self, recipe: Recipe) -> bool:
        """The bound is never reached."""
        return self.bound >= UNBOUNDED

    def update(self, transform: Transform, context: Context) -> Transform:
        """Clip what the transform is given."""

        def update(grads: Grads, memory: Tree, state: State) -> tuple[State, Tree]:
            return transform.update(clipped(grads, self.bound), memory, state)

        return transform._replace(update=update)


__getattr__ = attributes_from(__name__, {"algobias.components.clip": ("clip_by_norm",)})
