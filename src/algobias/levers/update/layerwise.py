"""Layer-wise trust ratios: LARS and LAMB around the recipe's own optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.levers.base import Card, Part
from algobias.levers.context import Context
from algobias.levers.learning_rate import rate
from algobias.levers.size import NoShare, between
from algobias.levers.step import Grads, Layout, State, Transform, Tree
from algobias.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor


def trust_ratios(
    weights: Tensor, steps: Tensor, layout: Layout, coefficient: float, eps: float, decay: float = 0.0
) -> Tensor:
    """``c ||w|| / (||u|| + d ||w|| + eps)`` for each named parameter, spread over its entries, [..., P].

    1 where either norm is zero, and for parameters with a single dimension (biases, gains), as in the papers'
    code.

    Args:
        weights: w, [..., P].
        steps: u, [..., P].
        layout: Names and shapes.
        coefficient: c.
        eps: Keeps the ratio finite.
        decay: d, weight decay that is not in u.
    """
    found = []
    for shape, start, end in zip(layout.shapes, layout.offsets[:-1], layout.offsets[1:], strict=True):
        w, u = weights[..., start:end], steps[..., start:end]
        if len(shape) < 2:
            found.append(torch.ones_like(w))
            continue
        size, step = (part.norm(dim=-1, keepdim=True) for part in (w, u))
        step = step + decay * size
        ratio = torch.where((size > 0) & (step > 0), coefficient * size / (step + eps), 1.0)
        found.append(ratio.expand_as(w))
    return torch.cat(found, -1)


class LayerWise(Part):
    """Scale the update of every matrix to its own size (You et al. 2017, 2020).

    ``lars``: the gradient, weight decay included, is multiplied by ``c ||w|| / (||g|| + d ||w|| + eps)``
    before momentum. ``lamb``: Adam's direction, decoupled decay included, is multiplied by ``||w|| /
    ||u||``; it asks for adamw or adam. The recipe's learning rate stays the global one.

    Attributes:
        kind: Whose rule scales the steps of layers, if any.
        coefficient: The trust coefficient of ``lars``, c.
        eps: Added to the norm of the update.
    """

    name: ClassVar[str] = "layerwise"
    positional: ClassVar[str | None] = "kind"
    revision: ClassVar[int] = 2  # 1 took the norm of gradient and decay together

    kind: Literal["none", "lars", "lamb"]
    coefficient: float = Field(default=0.001, gt=0)
    eps: float = Field(default=1e-8, ge=0)

    card: ClassVar[Card] = Card(
        summary="Scales each layer's update to the size of its weights (LARS, LAMB).",
        saves="updates: lets very large batches take large steps",
        costs="two norms for every layer in every update",
        not_injected="an optimizer is made with its state: take the script's own option",
        acts_on=("weights",),
        moves=("weight_norm", "distance_from_init"),
        not_when=(
            "The learning rate does not carry over: with LARS the step of a layer is about rate times c "
            "times its "
            "norm, so that a recipe's old rate is usually far too small. Made for batches of tens of "
            "thousands "
            "with warm-up; with the tuned rate, momentum and warm-up of a plain optimizer the same large "
            "batches "
            "have been reached without it. Digits, batch 16 to 256: LARS at c = 0.03 R -0.68 [-1.09, "
            "-0.40], LAMB "
            "at rate 0.003 R -0.45 [-0.74, -0.25], Adam alone -0.36 [-0.59, -0.18], at matched fit: worse "
            "than "
            "plain SGD each time."
        ),
        references=(
            "You, Gitman, Ginsburg, Large batch training of convolutional networks, 2017 (LARS)",
            "You et al., Large batch optimization for deep learning: training BERT in 76 minutes, 2020 "
            "(LAMB)",
            "Nado et al., A large batch optimizer reality check, 2021",
        ),
        examples=("layerwise:lars,coefficient=0.01",),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> LayerWise:
        """Updates as they are."""
        return cls(kind="none")

    def part_of(self, fraction: float, recipe: Recipe) -> LayerWise:
        """Geometric in the coefficient of ``lars``, where the recipe has one.

        Raises:
            NoShare: Another kind than the recipe's.
        """
        now = self.present(recipe)
        if self.kind == now.kind == "lars":
            return self.with_options(coefficient=between(now.coefficient, self.coefficient, fraction))
        raise NoShare(f"{self.kind} is a kind of scaling, of which there is no part")

    def apply(self, recipe: Recipe) -> Recipe:
        """Append this part.

        Raises:
            BadInput: An optimizer that this kind is not made for.
        """
        adaptive = recipe.optimizer.name in ("adam", "adamw")
        if (self.kind == "lars" and recipe.optimizer.name != "sgd") or (self.kind == "lamb" and not adaptive):
            wanted = "sgd with lars, adam or adamw with lamb"
            raise BadInput("layerwise", f"{self.kind} with {recipe.optimizer.name}", wanted)
        return super().apply(recipe)

    @property
    def wants_one_gradient(self) -> bool:
        """Its ratios are of the gradient that is stepped with."""
        return True

    def update(self, transform: Transform, context: Context) -> Transform:
        """Scale gradients before the optimizer (lars), or its step afterwards (lamb)."""
        if self.kind == "none":
            return transform
        decay = context.recipe.optimizer.weight_decay

        def lars(grads: Grads, memory: Tree, state: State) -> tuple[State, Tree]:
            whole = torch.add(grads, state.params, alpha=decay) if decay else grads
            ratio = trust_ratios(state.params, grads, state.layout, self.coefficient, self.eps, decay)
            # the optimizer adds the decay itself: what it gets is the scaled sum without it
            scaled = torch.add(whole * ratio, state.params, alpha=-decay) if decay else grads * ratio
            return transform.update(scaled, memory, state)

        if self.kind == "lars":
            return transform._replace(update=lars)
        return transform._replace(update=self._lamb(transform, context))

    def _lamb(self, transform: Transform, context: Context) -> Any:
        schedule, eps = rate(context.recipe), self.eps

        def update(grads: Grads, memory: Tree, state: State) -> tuple[State, Tree]:
            after, remembered = transform.update(grads, memory, state)
            eta = schedule(_count(memory))
            if eta == 0:
                return after, remembered
            direction = (after.params - state.params) / eta  # -u: Adam's direction with the decay
            ratio = trust_ratios(state.params, direction, state.layout, 1.0, eps)
            return after.with_params(state.params + eta * direction * ratio), remembered

        return update


def _count(memory: Any) -> int:
    while "count" not in memory:
        memory = memory["inner"]
    return int(memory["count"])
