"""Sharpness from forward passes: how much the loss rises when the weights are moved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from algobias.lazy import torch
from algobias.probes.base import Card, Probe
from algobias.probes.passes.losses import gradient, gradient_at, mean_loss
from algobias.probes.passes.samples import LEVEL, mean_bounds, skewed
from algobias.probes.passes.ways import require_swapping
from algobias.probes.reading import Interval, Reading, Unavailable
from algobias.probes.subject import Subject
from algobias.spelling import Whole

if TYPE_CHECKING:
    from torch import Tensor

Scale = Literal["plain", "adaptive"]
CONDITION = "independent random directions in opposite pairs"
DOUBLINGS = 60


def spread(subject: Subject, scale: Scale) -> Tensor:
    """What perturbations are multiplied with, entry by entry, [P]: ones, or the size of each weight.

    ``adaptive`` makes a reading independent of rescalings of single weights that leave the function as it is.
    """
    weights = subject.flat()
    return torch.ones_like(weights) if scale == "plain" else weights.abs()


def loss_along(subject: Subject, direction: Tensor, step: float) -> float:
    """Loss at ``w + step direction``; infinite where it is not finite. Cost: one forward pass."""
    require_swapping(subject)
    moved = subject.flat().add_(direction, alpha=step)
    try:
        return mean_loss(subject, subject.views(moved))
    except Unavailable:
        return math.inf


class CriticalSharpness(Probe):
    """Two over the longest step along the gradient that does not raise the loss.

    Attributes:
        tolerance: Share of the step to which it is bisected.
    """

    name: ClassVar[str] = "critical_sharpness"
    card: ClassVar[Card] = Card(
        summary="two over the critical learning rate: the largest step along the gradient that does not "
        "raise the loss",
        family="curvature",
        formula="2 / eta_c, eta_c = the smallest eta > 0 with L(w - eta g) = L(w), g the gradient of L",
        unit="loss per squared parameter",
        invariances="batching, order and duplication of the data, rotations of the weights",
        cost="one gradient and 6 to 15 forward passes; no second derivative, any attention, any precision",
        references=("Kalra et al., A scalable measure of loss landscape curvature, 2026",),
        preset="standard",
        caution="curvature along the gradient, between zero and the top eigenvalue of a quadratic",
        examples=("critical_sharpness", "critical_sharpness:tolerance=0.001"),
    )
    tolerance: float = Field(default=0.01, gt=0, lt=1)

    def read(self, subject: Subject) -> Reading:
        """By doubling or halving a step until the loss rises, then bisecting its logarithm."""
        g = gradient(subject)
        size = float(torch.linalg.vector_norm(g))
        if size == 0:
            raise Unavailable("the gradient is zero: there is no direction to step along")
        here = mean_loss(subject)
        first = (0.0 if subject.training is None else 2 * subject.training.lr) or 1.0

        def rises(step: float) -> bool:
            return loss_along(subject, g, -step) > here

        low, high = self._bracket(rises, first)
        while high / low - 1 > self.tolerance:
            middle = math.sqrt(low * high)
            low, high = (low, middle) if rises(middle) else (middle, high)
        condition = "the loss along the gradient crosses its present value once between the steps tried"
        return self.reading(
            2 / math.sqrt(low * high),
            numerical=Interval(2 / high, 2 / low, None, condition),
            details={"critical_learning_rate": math.sqrt(low * high), "gradient_norm": size},
        )

    @staticmethod
    def _bracket(rises: Any, first: float) -> tuple[float, float]:
        """A step that does not raise the loss and one, at most twice as long, that does."""
        step = first
        if rises(step):
            for _ in range(DOUBLINGS):
                if not rises(step / 2):
                    return step / 2, step
                step /= 2
            raise Unavailable("the loss rises at any step along the gradient that can be resolved")
        for _ in range(DOUBLINGS):
            if rises(2 * step):
                return step, 2 * step
            step *= 2
        raise Unavailable("the loss never rises along the gradient: it has no upward curvature there")


class WorstCaseSharpness(Probe):
    """Largest rise of the loss within a small ball around the weights.

    Attributes:
        rho: Radius of the ball, in the norm of all weights.
        steps: Steps of ascent.
        scale: Perturbations are the same for every weight (``plain``), or in proportion to its size
            (``adaptive``).
    """

    name: ClassVar[str] = "worst_case_sharpness"
    positional: ClassVar[str | None] = "rho"
    card: ClassVar[Card] = Card(
        summary="rise of the loss at the worst nearby weights found by gradient ascent",
        family="curvature",
        formula="max over ||v / s|| <= rho of L(w + v) - L(w), s = 1 (plain) or |w| entry by entry "
        "(adaptive)",
        unit="loss",
        invariances="batching, order and duplication of the data; adaptive: rescalings of single weights "
        "that leave the "
        "function as it is",
        cost="one gradient for each ascent step (5) and two forward passes",
        references=(
            "Foret, Kleiner, Mobahi and Neyshabur, Sharpness-aware minimization, 2021",
            "Kwon, Kim, Park and Choi, ASAM, 2021",
        ),
        preset="standard",
        twin="the adaptive form",
        caution="a lower bound: the ascent may miss worse weights",
        examples=("worst_case_sharpness:0.05", "worst_case_sharpness:rho=0.5,scale=adaptive"),
    )
    rho: float = Field(default=0.05, gt=0)
    steps: Whole = Field(default=5, ge=1)
    scale: Scale = "plain"

    def read(self, subject: Subject) -> Reading:
        """Ascent on the ball's surface, each step to the point that the present gradient calls worst."""
        s = spread(subject, self.scale)
        here = mean_loss(subject)
        best, moved = -math.inf, torch.zeros_like(s)
        first = math.nan
        for step in range(self.steps):
            g = gradient(subject) if step == 0 else gradient_at(subject, subject.flat() + moved)
            uphill = s * g
            length = torch.linalg.vector_norm(uphill)
            if not float(length) > 0:
                raise Unavailable("the gradient is zero: there is no direction of ascent")
            moved = self.rho * s * uphill / length
            rise = loss_along(subject, moved, 1.0) - here
            first = rise if step == 0 else first
            best = max(best, rise)
        return self.reading(
            best,
            no_interval="a lower bound of the maximum; how far ascent stays below it is not known",
            parts={"after one step": first},
        )


class AverageSharpness(Probe):
    """Mean rise of the loss under random perturbations of the weights.

    Attributes:
        sigma: Standard deviation of each perturbation.
        directions: Pairs of opposite random directions.
        scale: Perturbations are the same for every weight (``plain``), or in proportion to its size
            (``adaptive``).
    """

    name: ClassVar[str] = "average_sharpness"
    revision: ClassVar[int] = 2
    positional: ClassVar[str | None] = "sigma"
    card: ClassVar[Card] = Card(
        summary="mean rise of the loss when every weight is moved at random",
        family="curvature",
        formula="E[L(w + sigma s z)] - L(w), z standard normal, s = 1 (plain) or |w| entry by entry "
        "(adaptive); where the loss is twice differentiable and sigma small sigma^2 / 2 times the trace of "
        "the Hessian (adaptive: of diag(s) H diag(s)), of ReLU nets more: kinks within reach count, the "
        "Hessian does not see them",
        unit="loss",
        invariances="batching, order and duplication of the data; plain: rotations of the weights; "
        "adaptive: rescalings of "
        "single weights that leave the function as it is",
        cost="two forward passes for each of 16 random directions",
        references=(
            "Dziugaite and Roy, Computing nonvacuous generalization bounds, 2017",
            "Andriushchenko et al., A modern look at the relationship between sharpness and "
            "generalization, 2023",
        ),
        preset="standard",
        twin="the adaptive form",
        caution="compare at one sigma; dominated by the bulk of the spectrum, not by the largest eigenvalue; "
        "of ReLU nets no trace: 1.1 to 4 times sigma^2 / 2 tr H was seen",
        examples=("average_sharpness:0.01", "average_sharpness:sigma=0.1,scale=adaptive"),
    )
    sigma: float = Field(default=0.01, gt=0)
    directions: Whole = Field(default=16, ge=4)
    scale: Scale = "plain"

    def read(self, subject: Subject) -> Reading:
        """Monte Carlo over pairs of opposite directions, so that the gradient cancels."""
        s = spread(subject, self.scale)
        here = mean_loss(subject)
        draw = subject.generator(self.name)
        rises = []
        for _ in range(self.directions):
            z = torch.randn(subject.size, generator=draw).to(s)
            pair = [loss_along(subject, s * z, sign * self.sigma) for sign in (1.0, -1.0)]
            rises.append(sum(pair) / 2 - here)
        if not all(map(math.isfinite, rises)):
            raise Unavailable(
                f"the loss is not finite at weights moved by sigma = {self.sigma:g}: use a smaller one"
            )
        values = np.array(rises)
        value = float(values.mean())
        interval = Interval(*mean_bounds(value, values - value, LEVEL), LEVEL, CONDITION)
        return self.reading(value, monte_carlo=interval, warnings=skewed(values))
