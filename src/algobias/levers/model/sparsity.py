"""N:M sparse weights: of every M weights next to each other, N are kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from algobias.errors import BadInput
from algobias.lazy import attributes_from, no_grad, torch
from algobias.levers.arranged import Arranged
from algobias.levers.base import Card, Part
from algobias.levers.context import Context
from algobias.levers.size import NoShare, whole_between
from algobias.levers.step import OF_PARTS, Batch, GradFn, Grads, Key, State, Transform, Tree
from algobias.numerics.masks.weights import weight_mask
from algobias.recipe import Recipe
from algobias.spelling import Whole

if TYPE_CHECKING:
    from torch import Tensor, nn

MASK = f"{OF_PARTS}mask"
LARGEST = 64
_PATTERN = re.compile(r"(\d{1,3}):(\d{1,3})")


class Sparsity(Part):
    """Keep N of every M weights of a layer, those of largest magnitude; the others count as zero.

    Groups lie along the contraction: the inputs of a linear layer; channels and window of a convolution; the
    last group of a row is filled up with zeros. The network that is trained and evaluated is the masked one.

    ``dynamic`` (SR-STE): the masks are those of the current weights, made anew after every ``refresh``
    updates; pruned weights keep their values and learn from the gradient that they would have if they were
    used (straight-through), plus ``decay`` times themselves. ``fixed``: the masks are those of the weights at
    the beginning; what they prune is zero from then on and its gradient too.

    Readings are of the masked network, with zeros for weights that are pruned. With ``local_sgd`` every
    worker has masks of its own weights, the first worker's after an average; an average of weights (``ema``)
    is evaluated with the current masks.

    Attributes:
        pattern: N:M, like 2:4.
        kind: Whether masks follow the weights.
        refresh: Updates between two masks (dynamic).
        decay: How strongly pruned weights are pulled to zero (dynamic), lambda of SR-STE.
        transposable: Sparse along the outputs as well, so that the backward product is N:M sparse too: N of M
            in every row and column of M x M blocks, exactly the best.
        high: Layers that stay dense: the first convolution and the last linear layer (``ends``), ``none``, or
            patterns of names separated by colons, like ``head*:*.2``.
    """

    name: ClassVar[str] = "sparsity"
    positional: ClassVar[str | None] = "pattern"

    pattern: str
    kind: Literal["dynamic", "fixed"] = "dynamic"
    refresh: Whole = Field(default=1, ge=1)
    decay: float = Field(default=2e-4, ge=0, le=1)
    transposable: bool = False
    high: str = "ends"

    card: ClassVar[Card] = Card(
        summary="Keeps N of every M weights, those of largest magnitude; the others count as zero.",
        saves="multiplications and the memory of weights, on hardware with such products; here nothing",
        costs="making the masks anew, which is emulation: a few operations on every weight",
        not_injected="a script's modules are its own: algobias.TransposableMask goes into the script",
        acts_on=("init", "gradients"),
        moves=("weight_norm", "distance_from_init", "mask_flips"),
        not_when=(
            "Masks take away capacity as well as moving the bias: look at the fit share. Digits, 1:8, fixed "
            "masks: worse by 1.37 [0.88, 1.86] points, 1.25 [0.80, 1.71] of them at equal training loss; "
            "masks that follow the weights brought back 0.76 [0.37, 1.20] of it, and by themselves are "
            "worse than dense weights by 0.64 [0.26, 1.01]. Transposable masks have fewer patterns to choose "
            "from (90 in place of 1,296 for a 4 x 4 block of 2:4) and keep less (of Gaussian weights 70.2 % "
            "of the magnitudes in place of 74.4 %). Weights that two modules share, recurrent and attention "
            "weights that are no linear layers stay dense."
        ),
        references=(
            "Zhou et al., Learning N:M fine-grained structured sparse neural networks from scratch, 2021 "
            "(SR-STE)",
            "Mishra et al., Accelerating sparse deep neural networks, 2021",
            "Hubara et al., Accelerated sparse neural training: a provable and efficient method to find N:M "
            "transposable masks, 2021",
        ),
        examples=("sparsity:2:4", "sparsity:1:8,kind=fixed", "sparsity:2:4,transposable,refresh=40"),
        controls=("lr:x0.5", "lr:x2", "sam:0.05", "ema:0.99"),
    )

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        found = _PATTERN.fullmatch(value.replace(" ", ""))
        if found is None or not 1 <= int(found[1]) <= int(found[2]) <= LARGEST:
            raise ValueError(f"N:M as in 2:4 with N from 1 to M and M up to {LARGEST}")
        return f"{int(found[1])}:{int(found[2])}"

    @property
    def sizes(self) -> tuple[int, int]:
        """N and M."""
        n, m = map(int, self.pattern.split(":"))
        return n, m

    @classmethod
    def neutral(cls, recipe: Recipe) -> Sparsity:
        """All of them."""
        return cls(pattern="4:4")

    def idle(self, recipe: Recipe) -> bool:
        """Nothing is pruned."""
        n, m = self.sizes
        return n == m

    def part_of(self, fraction: float, recipe: Recipe) -> Sparsity:
        """Geometric in N, from M of M (or from what the recipe keeps of as many)."""
        n, m = self.sizes
        now = self.present(recipe)
        before, of = (m, m) if now.idle(recipe) else now.sizes
        if of != m or before == n:
            raise NoShare(f"the recipe keeps {before} of {of} already, and what else it changes is a choice")
        return self.with_options(pattern=f"{whole_between(before, n, fraction)}:{m}")

    def cannot_follow(self, earlier: Arranged) -> bool:
        """Workers that go their own way have weights of their own, of which the masks are made."""
        return earlier.name == "local_sgd"

    @no_grad
    def model(self, net: nn.Module) -> nn.Module:
        """Put the weights behind masks.

        Raises:
            BadInput: A pattern in ``high`` matches no layer.
        """
        from algobias.components.masked import put_behind

        for module in self.layers(net).values():
            weight: Any = module._parameters["weight"]
            mask = self.masks(weight)
            if self.kind == "fixed":
                weight.masked_fill_(~mask, 0.0)
            put_behind(module, mask, MASK, dense_gradient=self.kind == "dynamic")
        return net

    def layers(self, net: nn.Module) -> dict[str, nn.Module]:
        """The layers whose weights are masked, by name.

        Raises:
            BadInput: A pattern in ``high`` matches no layer.
        """
        from algobias.components.masked import matrices, usually_dense

        found = matrices(net)
        if self.high == "none":
            return found
        if self.high == "ends":
            dense = usually_dense(net)
        else:
            patterns = [pattern.strip() for pattern in self.high.split(":")]
            dense = {name for name in found for pattern in patterns if fnmatchcase(name, pattern)}
            idle = [p for p in patterns if not any(fnmatchcase(name, p) for name in found)]
            if idle:
                raise BadInput(
                    "sparsity.high", idle[0], f"a pattern of these names: {', '.join(found) or 'none'}"
                )
        return {name: module for name, module in found.items() if name not in dense}

    def masks(self, weight: Tensor, lead: int = 0) -> Tensor:
        """The mask of a weight with so many leading axes."""
        n, m = self.sizes
        return weight_mask(weight, n, m, transposable=self.transposable, lead=lead)

    def gradient(self, grad: GradFn, context: Context) -> GradFn:
        """Pull pruned weights to zero."""
        if self.kind == "fixed" or self.decay == 0:
            return grad

        def pulled(state: State, batch: Batch, key: Key) -> tuple[Grads, State]:
            grads, after = grad(state, batch, key)
            pull = torch.zeros_like(state.params)
            views, weights = state.layout.views(pull), state.layout.views(state.params)
            for mask, name in _pairs(state.buffers):
                views[name].copy_(weights[name].masked_fill(state.buffers[mask], 0.0))
            return torch.add(grads, pull, alpha=self.decay), after

        return pulled

    def update(self, transform: Transform, context: Context) -> Transform:
        """Make the masks anew, of the weights after an update."""
        if self.kind == "fixed":
            return transform

        def init(state: State) -> Tree:
            return {"inner": transform.init(state), "count": 0}

        def update(grads: Grads, memory: Tree, state: State) -> tuple[State, Tree]:
            after, inner = transform.update(grads, memory["inner"], state)
            count = memory["count"] + 1
            if count % self.refresh == 0:
                weights, lead = after.layout.views(after.params), after.params.dim() - 1
                fresh = {mask: self.masks(weights[name], lead) for mask, name in _pairs(after.buffers)}
                after = replace(after, buffers={**after.buffers, **fresh})
            return after, {"inner": inner, "count": count}

        def weights(state: State, memory: Tree) -> State:
            return transform.weights(state, memory["inner"])

        def at(state: State, memory: Tree, key: Key) -> State:
            return transform.at(state, memory["inner"], key)

        return Transform(init, update, weights, at)


def as_used(tensors: Mapping[str, Tensor], kept: Collection[str] = ()) -> dict[str, Tensor]:
    """Weights as a network uses them: those that a mask beside them prunes are zero.

    Args:
        tensors: Parameters and buffers by name.
        kept: Masks that are left alone, with their weights.
    """
    found = dict(tensors)
    for mask, name in _pairs(name for name in tensors if name not in kept):
        if name in found:
            found[name] = found[name].masked_fill(~tensors[mask].to(torch.bool), 0.0)
    return found


def _pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """The masks among names of buffers, and the weights they belong to."""
    return [(name, f"{name.removesuffix(MASK)}weight") for name in names if name.rpartition(".")[2] == MASK]


__getattr__ = attributes_from(__name__, {"algobias.components.sparse": ("TransposableMask",)})
