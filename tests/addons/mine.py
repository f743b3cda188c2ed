"""A lever, a part, a probe and a lab as a user writes them, in one file of their own."""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np
from beside import WHOLE
from pydantic import Field

from algobias.labs.base import Axis, Column, Lab, LabResult, Panel, series, worst
from algobias.levers.base import Card as LeverCard
from algobias.levers.base import Lever, Part
from algobias.levers.context import Context
from algobias.levers.step import State, Transform
from algobias.probes import Card, Probe, Reading, Subject
from algobias.recipe import Recipe


class Halved(Lever):
    """Divide the learning rate by two."""

    name: ClassVar[str] = "halved"
    card: ClassVar[LeverCard] = LeverCard(
        summary="Divides the learning rate by two, or not.",
        saves="nothing",
        costs="nothing",
        acts_on=("weights",),
        moves=("top_eigenvalue",),
        not_when="The rate is small already.",
        references=("Nobody, An example, 2026",),
        examples=("halved:really",),
    )
    really: bool = False

    @classmethod
    def neutral(cls, recipe: Recipe) -> Halved:
        """Not at all."""
        return cls(really=False)

    def apply(self, recipe: Recipe) -> Recipe:
        """Set ``optimizer.lr``."""
        return recipe.edit(optimizer__lr=recipe.optimizer.lr * (0.5 if self.really else 1.0))


class Shrink(Part):
    """Multiply every gradient by a factor."""

    name: ClassVar[str] = "shrink"
    positional: ClassVar[str] = "factor"
    card: ClassVar[LeverCard] = LeverCard(
        summary="Multiplies every gradient by a factor before the optimizer sees it.",
        saves="nothing",
        costs="nothing",
        acts_on=("gradients",),
        moves=("top_eigenvalue",),
        not_when="It is the same as a smaller learning rate without momentum.",
        references=("Nobody, An example, 2026",),
        examples=("shrink:0.5",),
    )
    factor: float = Field(default=1.0, gt=0)

    @classmethod
    def neutral(cls, recipe: Recipe) -> Shrink:
        """A factor of 1."""
        return cls(factor=1.0)

    def update(self, transform: Transform, context: Context) -> Transform:
        """Multiply, then go on."""

        def update(grads, memory, state: State):
            return transform.update(grads * (self.factor * WHOLE), memory, state)

        return transform._replace(update=update)


class Positive(Probe):
    """Share of the trained parameters that are above a threshold."""

    name: ClassVar[str] = "positive"
    positional: ClassVar[str] = "above"
    card: ClassVar[Card] = Card(
        summary="Share of the parameters above a threshold",
        family="norms",
        formula="mean over trained parameters of [w > above]",
        unit="share",
        invariances="permutations of the parameters",
        cost="none: no pass over the data",
        references=("Nobody, An example, 2026",),
        examples=("positive:0.1",),
    )
    above: float = 0.0

    def read(self, subject: Subject) -> Reading:
        """Count them."""
        values = [p.detach() > self.above for p in subject.trained.values()]
        share = sum(int(v.sum()) for v in values) / sum(v.numel() for v in values)
        return self.reading(share, no_interval="counted exactly")


class Descent(Lab):
    """Gradient descent on one parabola."""

    name: ClassVar[str] = "descent"
    title: ClassVar[str] = "Gradient descent on a parabola"
    summary: ClassVar[str] = "The weight shrinks by the same factor at every update."
    rate: float = Field(default=0.1, gt=0, lt=1, description="Learning rate.")

    def run(self, seed: int) -> LabResult:
        """Lay the power law beside the loop."""
        started, weight = time.perf_counter(), float(np.random.default_rng(seed).uniform(1, 2))
        theory = weight * (1 - self.rate) ** np.arange(1, 9)
        trained = []
        for _ in theory:
            weight -= self.rate * weight
            trained.append(weight)
        training, updates = np.array(trained), np.arange(1, 9)
        rows = [
            {"update": int(t), "theory": float(a), "training": float(b)}
            for t, a, b in zip(updates, theory, training, strict=True)
        ]
        drawn = (
            series("weight", "theory", updates, theory),
            series("weight", "training", updates, training),
        )
        return LabResult(
            name=self.name,
            title=self.title,
            spelling=self.spelling(),
            options=self.model_dump(),
            seed=seed,
            shown="A weight is trained by gradient descent on half its square. " * 4,
            theory="Every update multiplies the weight by one minus the learning rate. " * 4,
            sources=("Cauchy, Méthode générale pour la résolution des systèmes d'équations, 1847",),
            columns=tuple(Column(key, key, "See above.") for key in rows[0]),
            rows=tuple(rows),
            checks=(worst("weight", theory, training, [f"update {t}" for t in updates], 1e-12),),
            panels=(Panel("Weight", Axis("update"), Axis("weight"), drawn, "Marks lie on the line."),),
            marks=(("theory", "power law"), ("training", "the loop")),
            seconds=time.perf_counter() - started,
        )
