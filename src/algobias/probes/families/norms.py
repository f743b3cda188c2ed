"""Norms of weights: how far training went, and in which geometry."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
import scipy
from pydantic import Field

from algobias.inference.statistics import t_reach
from algobias.probes.base import Card, Probe
from algobias.probes.passes.layers import frobenius_norms, spectral_norms
from algobias.probes.passes.samples import LEVEL
from algobias.probes.reading import Interval, Reading, Twin, Unavailable
from algobias.probes.subject import Subject
from algobias.spelling import Whole

SOUDRY = "Soudry et al., The Implicit Bias of Gradient Descent on Separable Data, 2018"
HOFFER = "Hoffer, Hubara and Soudry, Train longer, generalize better, 2017"


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
        references=(SOUDRY,),
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


class DistanceFromInit(Probe):
    """Euclidean distance of the trained parameters from where training started."""

    name: ClassVar[str] = "distance_from_init"
    card: ClassVar[Card] = Card(
        summary="Distance of the weights from their initial values",
        family="norms",
        formula="||w - w_0|| over trained parameters w, w_0 their values before training",
        unit="parameter units",
        invariances="rotations of both; not rescalings that leave the function as it is",
        cost="none: no pass over the data",
        references=(HOFFER, "Nagarajan and Kolter, Generalization in Deep Networks, 2017"),
        preset="cheap",
        twin="||w - w_0|| / ||w_0||",
        needs=("initial",),
        caution="correlates with generalisation in many cases and controls it in few",
    )

    def read(self, subject: Subject) -> Reading:
        """The distance, and that of every parameter tensor.

        Raises:
            Unavailable: The initial weights do not fit the model.
        """
        before = subject.flat(subject.initial).double()
        moved = subject.flat().double() - before
        value, start = float(moved.norm()), float(before.norm())
        invariance = "a common factor on the weights and the initial ones"
        twin = Twin(self.card.twin or "", value / start, None, None, invariance) if start > 0 else None
        return self.reading(
            value,
            no_interval="computed exactly from the weights",
            twin=twin,
            parts={name: float(part.norm()) for name, part in subject.views(moved).items()},
        )


class DistanceSlope(Probe):
    """How fast the weights move away from their initial values, against the logarithm of time.

    Attributes:
        since: Updates before this one are left out.
    """

    name: ClassVar[str] = "distance_slope"
    since: Annotated[Whole, Field(ge=1)] = 1
    card: ClassVar[Card] = Card(
        summary="Slope of the distance from initialisation against the logarithm of the update",
        family="norms",
        formula="b of the least-squares line ||w_t - w_0|| = a + b log t over the moments t kept of the run",
        unit="parameter units per e-fold of updates",
        invariances="rotations of the weights; the unit in which updates are counted",
        cost="none: no pass over the data",
        references=(HOFFER, SOUDRY),
        preset=None,
        needs=("initial", "history"),
        caution="a good line needs moments spread over at least a decade of updates",
        examples=("distance_slope", "distance_slope:since=100"),
    )

    def read(self, subject: Subject) -> Reading:
        """The slope, its t-interval, and R^2 in ``details``.

        Raises:
            Unavailable: There are fewer than three moments, or weights do not fit the model.
        """
        start = subject.flat(subject.initial).double()
        moments = [(t, subject.flat(weights)) for t, weights in subject.history]
        if subject.updates is not None and all(t < subject.updates for t, _ in moments):
            moments.append((subject.updates, subject.flat()))
        kept = {t: float((w.double() - start).norm()) for t, w in moments if t >= self.since}
        if len(kept) < 3:
            raise Unavailable(f"it needs weights at three updates or more, not {len(kept)}")
        x, y = np.log(np.array(list(kept), dtype=np.float64)), np.array(list(kept.values()))
        fit = scipy.stats.linregress(x, y)
        half = t_reach(LEVEL, len(x) - 2) * float(fit.stderr)
        condition = "deviations from the line are normal and independent of each other, roughly so in one run"
        slope = float(fit.slope)
        return self.reading(
            slope,
            subset=Interval(slope - half, slope + half, LEVEL, condition),
            parts={str(t): distance for t, distance in kept.items()},
            details={
                "r_squared": float(fit.rvalue) ** 2,
                "intercept": float(fit.intercept),
                "moments": len(kept),
            },
        )


class FrobeniusProduct(Probe):
    """Product of the Frobenius norms of all weight matrices."""

    name: ClassVar[str] = "frobenius_product"
    revision: ClassVar[int] = 2
    card: ClassVar[Card] = Card(
        summary="Product of the Frobenius norms of all weight matrices",
        family="norms",
        formula="prod_l ||W_l||_F over all parameters W_l of two or more dimensions, each as often as the "
        "network uses it on the way to its output",
        unit="product of norms",
        invariances="moving a positive factor from one layer to the next; rotations of a matrix",
        cost="one forward pass of two examples",
        references=("Neyshabur et al., Norm-Based Capacity Control in Neural Networks, 2015",),
        preset="full",
        caution="grows with depth and width: compare networks of one shape only",
    )

    def read(self, subject: Subject) -> Reading:
        """The product, and the norm of every matrix.

        Raises:
            Unavailable: There is no weight matrix; how often they are used is not known.
        """
        found = frobenius_norms(subject)
        return self.reading(
            found.product,
            no_interval="computed exactly from the weights",
            parts=found.values,
            details={"log10": _log10(found.product), "uses": found.details},
        )


class SpectralProduct(Probe):
    """Product of the spectral norms of all weight matrices and convolutions."""

    name: ClassVar[str] = "spectral_product"
    revision: ClassVar[int] = 2
    card: ClassVar[Card] = Card(
        summary="Product of the spectral norms of all layers: bounds the Lipschitz constant of plain nets",
        family="norms",
        formula=(
            "prod_l sigma_max(W_l) over all weight matrices; of a convolution the largest singular value of "
            "its linear map on inputs of the size seen, with its stride and padding; each as often as the "
            "network uses it"
        ),
        unit="product of norms",
        invariances="moving a positive factor from one layer to the next; rotations of a matrix",
        cost="one forward pass of a batch, tens of passes of each convolution on one example",
        references=(
            "Bartlett et al., Spectrally-normalized margin bounds for neural networks, 2017",
            "Sedghi et al., The Singular Values of Convolutional Layers, 2019",
        ),
        preset="full",
        caution="a bound only without normalisation layers, attention, recurrence and skips",
    )

    def read(self, subject: Subject) -> Reading:
        """The product, and the norm of every matrix.

        Raises:
            Unavailable: There is no weight matrix; how often they are used is not known.
        """
        found = spectral_norms(subject)
        value, high = found.product, replace(found, values=found.high).product
        interval = None
        if high > value:
            condition = "the Lanczos iteration has found the largest singular value of each convolution"
            interval = Interval(value, high, None, condition)
        return self.reading(
            value,
            numerical=interval,
            no_interval=None if interval else "computed exactly from the weights",
            parts=found.values,
            details={"log10": _log10(value), "uses": found.details},
            warnings=tuple(f"{name}: norm of the reshaped weight" for name in found.reshaped),
        )


def _log10(value: float) -> float | None:
    return math.log10(value) if 0 < value < math.inf else None
