"""Ghost batch normalisation: statistics over small chunks of a large batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from algobias.lazy import attributes_from
from algobias.levers.base import Card, Part
from algobias.levers.size import NoShare, whole_between
from algobias.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn


class GhostNorm(Part):
    """Batch statistics over chunks of the batch, as a smaller batch would have them (Hoffer et al. 2017).

    Attributes:
        size: Examples in a chunk; 0 leaves the model as it is.
    """

    name: ClassVar[str] = "ghost_norm"
    revision: ClassVar[int] = 2  # 1 left out what a subclass adds to its normalisation
    positional: ClassVar[str | None] = "size"

    size: int = Field(ge=0)

    card: ClassVar[Card] = Card(
        summary="Normalises chunks of a large batch by their own statistics instead of the whole batch's.",
        saves="nothing",
        costs="a few small operations in place of one large one in every normalisation",
        injected="algobias.ghost_batch_norm of the model, with the names of its layers kept",
        acts_on=("gradients", "statistics"),
        moves=("gradient_variance",),
        not_when=(
            "Brings back the noise of small-batch statistics and nothing else. FashionMNIST, conv net with "
            "BatchNorm, batch 32 to 512: ghosts of 32 recovered 0.01 [-0.03, 0.05] of a gap of 4.7 points, "
            "which is one of fit (four times the updates gave back 0.98 [0.93, 1.02]); 2,500 images of "
            "CIFAR-10, batch 32 to 512: 0.02 [-0.04, 0.08] of 6.9 points, one of fit too; 1,000 images, "
            "batch "
            "16 to 250: 0.48 [0.02, 1.49] of a gap of 0.46 that itself is within the tolerance. "
            "Does nothing in a network without BatchNorm (the activity check says so)."
        ),
        references=(
            "Hoffer, Hubara, Soudry, Train longer, generalize better: closing the generalization gap in "
            "large "
            "batch training of neural networks, 2017",
            "Summers, Dinneen, Four things everyone should know to improve batch normalization, 2020",
        ),
        examples=("ghost_norm:4",),
        needs=("batch_norm",),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> GhostNorm:
        """A chunk as large as the batch: plain batch normalisation."""
        return cls(size=0)

    def part_of(self, fraction: float, recipe: Recipe) -> GhostNorm:
        """Geometric in the chunk, from the whole batch."""
        now = self.size_from(recipe, "size") or recipe.batch
        if not self.size:
            raise NoShare("it takes chunks away, which is a choice")
        return self.with_options(size=whole_between(now, self.size, fraction))

    def model(self, net: nn.Module) -> nn.Module:
        """Replace every batch normalisation."""
        if self.size:
            from algobias.components.ghost_norm import ghost_batch_norm

            ghost_batch_norm(net, self.size)
        return net


__getattr__ = attributes_from(
    __name__,
    {
        "algobias.components.ghost_norm": (
            "GhostBatchNorm",
            "ghost_batch_norm",
        )
    },
)
