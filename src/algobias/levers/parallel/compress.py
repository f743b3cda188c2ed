"""Compressed communication: each worker sends a compressed gradient and remembers what it left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from algobias.lazy import torch
from algobias.levers.base import Arranged, Card, Part
from algobias.levers.context import Context
from algobias.levers.division import Division
from algobias.levers.parallel.workers import mean_buffers, spread, worker_gradients
from algobias.levers.size import NoShare, between, whole_between
from algobias.levers.step import Batch, GradFn, Grads, Key, Layout, State, Transform, Tree
from algobias.recipe import Recipe

FLOAT_BYTES, INDEX_BYTES = 4.0, 4.0


class Compress(Part):
    """Every worker compresses its gradient, adds what was left out before, and the mean is applied.

    Attributes:
        kind: What is sent: everything (``none``), signs, scaled tensor by tensor (``sign``), the largest
            entries (``topk``), or factors of a low rank, and vectors whole (``powersgd``).
        fraction: Share of the entries that ``topk`` keeps.
        rank: Rank of the factors of ``powersgd``.
        feedback: Remember what is left out and add it to the next gradient.
        workers: How many workers there are, W, each with an equal part of the batch and a memory of its
            own; divides the batch.
    """

    name: ClassVar[str] = "compress"
    positional: ClassVar[str | None] = "kind"

    kind: Literal["none", "sign", "topk", "powersgd"]
    fraction: float = Field(default=0.01, gt=0, le=1)
    rank: int = Field(default=2, ge=1)
    feedback: bool = True
    workers: int = Field(default=1, ge=1, le=65_536)

    card: ClassVar[Card] = Card(
        summary="Sends gradients as signs, largest entries or low-rank factors, with error feedback.",
        saves="communication: 32 times less with signs, 1 / fraction / 2 times less with the largest entries",
        costs="a memory of what was left out, one copy of the weights per worker; delayed small entries",
        injected=(
            "compressing the gradient of one worker in front of optimizer.step(), what is left out added "
            "to the next"
        ),
        acts_on=("weights",),
        moves=("weight_norm", "distance_from_init"),
        not_when=(
            "Without error feedback signs and largest entries are biased and need not converge at all. With "
            "it "
            "small entries arrive late, which acts like a stale gradient: at large rates it is less stable "
            "than "
            "the plain gradient. Where communication is not the bottleneck nothing is gained."
        ),
        references=(
            "Seide et al., 1-bit stochastic gradient descent and its application to data-parallel training, "
            "2014",
            "Stich, Cordonnier, Jaggi, Sparsified SGD with memory, 2018",
            "Karimireddy et al., Error feedback fixes SignSGD and other gradient compression schemes, 2019",
            "Vogels, Karimireddy, Jaggi, PowerSGD: practical low-rank gradient compression, 2019",
        ),
        examples=(
            "compress:sign",
            "compress:topk,fraction=0.05,workers=4",
            "compress:powersgd,rank=2,workers=2",
        ),
        controls=("lr:x0.5", "lr:x0.25", "compress:topk,fraction=0.1", "sam:0.1"),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> Compress:
        """Gradients as they are."""
        return cls(kind="none")

    def part_of(self, fraction: float, recipe: Recipe) -> Compress:
        """Geometric in the share of the entries that ``topk`` keeps, from all; in the rank, from another.

        Raises:
            NoShare: Another kind of compression than the recipe's.
        """
        now = self.present(recipe)
        if self.kind == "topk" and now.kind in ("none", "topk"):
            entries = now.fraction if now.kind == "topk" else 1.0
            return self.with_options(fraction=between(entries, self.fraction, fraction))
        if self.kind == now.kind == "powersgd":
            return self.with_options(rank=whole_between(now.rank, self.rank, fraction))
        raise NoShare(f"{self.kind} is a kind of compression, of which there is no part")

    @property
    def one_gradient_each(self) -> bool:
        """Each worker compresses its own."""
        return True

    def cannot_follow(self, earlier: Arranged) -> bool:
        """Workers that go their own way send weights, not gradients."""
        return earlier.name == "local_sgd"

    def divisions(self, batch: int) -> tuple[Division, ...]:
        """The gradient's work."""
        return (Division(self.name, "compress.workers", self.workers),) if self.kind != "none" else ()

    def splits(self, recipe: Recipe) -> bool:
        """Each worker has a part of the batch."""
        return self.kind != "none" and self.workers > 1

    def gradient(self, grad: GradFn, context: Context) -> GradFn:
        """Every worker's gradient, [..., W, P]."""
        if self.kind == "none":
            return grad

        def each(state: State, batch: Batch, key: Key) -> tuple[Grads, State]:
            return worker_gradients(grad, self.workers, state.params.dim() > 2)(state, batch, key)

        return each

    def update(self, transform: Transform, context: Context) -> Transform:
        """Compress, average, remember."""
        if self.kind == "none":
            return transform

        from algobias.components.compressors import compressed, first_factors

        def init(state: State) -> Tree:
            lead, size = state.params.shape[:-1], state.params.shape[-1]
            memory: dict[str, Any] = {
                "inner": transform.init(state),
                "left": state.params.new_zeros(*lead, self.workers, size),
            }
            if self.kind == "powersgd":
                first = first_factors(shapes_of(state.layout), self.rank, state.params)
                memory["right"] = {name: q.expand(*lead, *q.shape).clone() for name, q in first.items()}
            return memory

        def at(state: State, memory: Tree, key: Key) -> State:
            return spread(transform.at(state, memory["inner"], key), self.workers)

        def update(grads: Grads, memory: Tree, state: State) -> tuple[State, Tree]:
            state = replace(state, buffers=mean_buffers(state.buffers, state.params.dim() - 1))
            total = grads + memory["left"] if self.feedback else grads
            sent, mean, right = compressed(
                total, shapes_of(state.layout), self.kind, self.fraction, memory.get("right")
            )
            after, inner = transform.update(mean, memory["inner"], state)
            left = total - sent if self.feedback else memory["left"]
            found = {"inner": inner, "left": left, "right": right}
            return after, {key: found[key] for key in memory}

        def weights(state: State, memory: Tree) -> State:
            return transform.weights(state, memory["inner"])

        return Transform(init, update, weights, at)

    def bytes_sent(self, layout: Layout, updates: int, recipe: Recipe) -> float:
        """One compressed gradient in each update."""
        return updates * bytes_of(self.kind, layout, self.fraction, self.rank)


def shapes_of(layout: Layout) -> dict[str, torch.Size]:
    """Shapes of the parameters by name."""
    return dict(zip(layout.names, layout.shapes, strict=True))


def bytes_of(kind: str, layout: Layout, fraction: float, rank: int) -> float:
    """Bytes of one compressed gradient.

    sign: one bit per entry and one number per tensor. topk: value and index of each entry kept. powersgd:
    ``r (n + m)`` numbers per matrix, vectors whole. none: all numbers.
    """
    size = layout.offsets[-1]
    if kind == "sign":
        return size / 8 + FLOAT_BYTES * len(layout.names)
    if kind == "topk":
        from algobias.components.compressors import kept_of

        return kept_of(size, fraction) * (FLOAT_BYTES + INDEX_BYTES)
    if kind == "powersgd":
        from algobias.components.compressors import as_matrix

        numbers = 0.0
        for shape in layout.shapes:
            sides = as_matrix(shape)
            whole = shape.numel()
            numbers += whole if sides is None else min(whole, rank * sum(sides))
        return FLOAT_BYTES * numbers
    return FLOAT_BYTES * size
