"""Gradient clipping by the global norm."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from algobias.levers.base import Card, Context, Part
from algobias.levers.size import NoShare, between
from algobias.levers.step import Grads, State, Transform, Tree
from algobias.levers.wrapper import entries, precise
from algobias.recipe import Recipe

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


@torch.no_grad()
def clip_by_norm(parameters: Iterable[nn.Parameter], bound: float) -> Tensor:
    """Scale the ``.grad`` of all parameters together to global norm at most ``bound``, in place.

    Unlike :func:`torch.nn.utils.clip_grad_norm_` it adds nothing to the norm, so that gradients within the
    bound are unchanged to the last bit; non-finite gradients are left as they are, for a gradient scaler
    to find.

    Args:
        parameters: With or without a gradient.
        bound: Largest norm, above 0.

    Returns:
        The norm before clipping.

    Example:
        >>> import torch
        >>> net = torch.nn.Linear(3, 1)
        >>> (1e3 * net(torch.ones(1, 3))).sum().backward()
        >>> before = clip_by_norm(net.parameters(), 1.0)
        >>> after = clip_by_norm(net.parameters(), 1.0)         # the norm it has now
        >>> round(float(before)), round(float(after), 4)
        (2000, 1.0)
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    # The norm of half-precision gradients can be beyond half precision.
    norm = torch.nn.utils.get_total_norm([(e := entries(grad)).to(precise(e.dtype)) for grad in grads])
    if norm > bound and norm.isfinite():
        for grad in grads:
            grad.mul_((bound / norm).to(grad.device))
    return norm


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
