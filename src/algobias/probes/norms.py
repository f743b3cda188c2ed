"""Norms of weights: how far training went, and in which geometry."""

from __future__ import annotations

from typing import ClassVar

from algobias.probes.base import Card, Probe
from algobias.probes.reading import Reading
from algobias.probes.subject import Subject


class WeightNorm(Probe):
    """Euclidean norm of all trained parameters."""

    name: ClassVar[str] = "weight_norm"
    card: ClassVar[Card] = Card(
        summary="Euclidean norm of all trained parameters",
        family="norms",
        formula="||w|| = sqrt(sum_i w_i^2) over trained parameters w, biases and gains included",
        unit="parameter units",
        invariances="rotations of the weights; not rescalings that leave the function as it is",
        cost="none: no pass over the data",
        references=("Soudry et al., The Implicit Bias of Gradient Descent on Separable Data, 2018",),
        preset="cheap",
        caution="grows with training time on separable data whatever the generalisation",
    )

    def read(self, subject: Subject) -> Reading:
        """The norm, and that of every parameter tensor."""
        squares = {name: float(p.detach().double().square().sum()) for name, p in subject.trained.items()}
        return self.reading(
            sum(squares.values()) ** 0.5,
            no_interval="computed exactly from the weights",
            parts={name: square**0.5 for name, square in squares.items()},
        )
