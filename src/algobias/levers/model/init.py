"""Scale of the initial weights: between the kernel regime and the rich one."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from algobias.lazy import no_grad
from algobias.levers.base import Card, Part
from algobias.levers.size import between
from algobias.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn


class InitialScale(Part):
    """Multiply the initial weights by a factor.

    With factor c a homogeneous network of depth D starts with outputs ``c^D`` times as large and moves the
    less, relative to its weights, the larger c is: at large c it stays near its linearisation (kernel or lazy
    regime), at small c it learns features (rich regime).

    Attributes:
        factor: What every initial weight is multiplied by, c; 1 changes nothing.
        only: Which parameters: ``matrices`` are those of two or more dimensions (biases, and the gains
            and shifts of normalisations, stay as they are), ``all`` is every one.
    """

    name: ClassVar[str] = "init"
    positional: ClassVar[str | None] = "factor"

    factor: float = Field(gt=0, le=1e6)
    only: Literal["matrices", "all"] = "matrices"

    card: ClassVar[Card] = Card(
        summary="Multiplies the initial weights: large ones keep a network near its linearisation.",
        saves="nothing by itself; other precisions, widths and parametrisations change it on the way",
        costs="at large scales features are not learned; at small ones the start is slow",
        not_injected="weights are made before anything can be seen of them: take the script's own option",
        acts_on=("init",),
        moves=("distance_from_init", "weight_norm", "top_eigenvalue", "trace", "margin_input"),
        not_when=(
            "It looks like a failure of optimisation at equal updates and is one of bias: sentence polarity, "
            "factor 40, lost 20 to 23 points at equal updates and still 16 at equal training loss. Under "
            "normalisation layers the scale of what is normalised acts as an effective learning rate only."
        ),
        references=(
            "Chizat, Oyallon, Bach, On lazy training in differentiable programming, 2019",
            "Woodworth et al., Kernel and rich regimes in overparametrized models, 2020",
        ),
        examples=("init:4", "init:0.5,only=all"),
        controls=("lr:x10+optimizer:adamw+weight_decay:0.3", "lr:x4", "lr:x10", "lr:x0.25"),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> InitialScale:
        """The task's own initialisation."""
        return cls(factor=1.0)

    def part_of(self, fraction: float, recipe: Recipe) -> InitialScale:
        """Geometric in the factor."""
        return self.with_options(factor=between(self.size_from(recipe, "factor"), self.factor, fraction))

    @no_grad
    def model(self, net: nn.Module) -> nn.Module:
        """Scale the weights in place; shared ones once."""
        for parameter in net.parameters():
            if self.only == "all" or parameter.dim() > 1:
                parameter.mul_(self.factor)
        return net
