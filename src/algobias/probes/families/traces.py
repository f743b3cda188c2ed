"""Traces of curvature matrices: the sum of all eigenvalues."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from algobias.lazy import torch
from algobias.probes.base import Card, Probe
from algobias.probes.families.eigen_solver import times_norm
from algobias.probes.matrices.lanczos import Krylov, random_start, stepping_down
from algobias.probes.matrices.operator import Operator, hessian
from algobias.probes.passes.samples import mean_bounds, mean_interval, skewed, subset
from algobias.probes.passes.singles import per_example
from algobias.probes.reading import Interval, Reading
from algobias.probes.subject import Subject
from algobias.spelling import Whole

if TYPE_CHECKING:
    from torch import Tensor

LOOKS = (6, 12, 24, 48, 96)
"""Random vectors after which the half-width is looked at."""

LEVEL = 0.95
LEVEL_OF_A_LOOK = 0.975
"""Five looks at this level cover in 95 to 97.5 % (tests), where the first look stops and where none does."""


def deflated_trace(
    operator: Operator, sketch: int, tolerance: float, most: int, generator: torch.Generator
) -> tuple[float, Interval | None, Tensor, int]:
    """Trace of a symmetric matrix: its Krylov space exactly, random probing of the rest.

    With Q an orthonormal basis of a Krylov space of dimension ``sketch``, ``tr A = tr(Q'AQ) + E[g'(I - QQ')
    A (I - QQ')g]``, as in Hutch++; the Lanczos process gives both Q and the first term for one product a
    dimension, where a sketch takes two. The interval is that of the mean of the second term over random sign
    vectors g, which are independent of Q; it is looked at after 6, 12, 24, ... vectors, each time at 97.5 %,
    which makes at least 95 % in all. Memory: ``sketch`` vectors of P numbers, rounded up to a multiple of 8,
    and six more beside those of the operator.

    Args:
        operator: The matrix.
        sketch: Dimension of the space; 0 is Hutchinson's estimator.
        tolerance: Stop where the half-width is at most this share of the estimate.
        most: Random vectors at most.
        generator: Source of randomness.

    Returns:
        The trace, its interval (None where the space is the whole one: the value is exact), an unbiased
        estimate of the diagonal ([P]), random vectors used.

    Raises:
        Asymmetric: The matrix is none.
    """
    space, exact = None, 0.0
    diagonal = torch.zeros(operator.size, dtype=operator.dtype, device=operator.device)
    if sketch:
        space = Krylov(operator, random_start(operator, generator))
        while space.steps < min(sketch, operator.size) and not space.closed:
            space.grow()
        exact = sum(space.alphas)
        _add_diagonal(diagonal, space)
        if space.steps == operator.size:
            return exact, None, diagonal, 0
    looks = [look for look in LOOKS if look <= most] or [most]
    values: list[float] = []
    rest = torch.zeros_like(diagonal)
    mean = low = high = math.nan
    for look in looks:
        while len(values) < look:
            g = _signs(operator, generator)
            outside = g if space is None else space.without(g)
            product = operator @ outside
            values.append(float(outside @ product))
            rest.addcmul_(g, product)
        mean = float(np.mean(values))
        low, high = mean_bounds(mean, np.array(values) - mean, LEVEL_OF_A_LOOK)
        if high - low <= 2 * tolerance * abs(exact + mean):
            break
    value = exact + mean
    interval = Interval(exact + low, exact + high, LEVEL, "independent random sign vectors")
    return value, interval, diagonal.add_(rest, alpha=1 / len(values)), len(values)


class Trace(Probe):
    """Trace of the Hessian.

    Attributes:
        tolerance: Half-width of the interval over the trace at which drawing of random vectors stops.
        sketch: Dimension of the Krylov space of which the trace is exact; 0 is Hutchinson's estimator.
        most: Random vectors at most.
    """

    name: ClassVar[str] = "trace"
    revision: ClassVar[int] = 3
    card: ClassVar[Card] = Card(
        summary="trace of the Hessian of the training loss: the sum of all curvatures",
        family="curvature",
        formula="tr H = sum_i lambda_i, H = Hessian of the mean loss; parts: its diagonal blocks by "
        "parameter tensor",
        unit="loss per squared parameter",
        invariances="batching, order and duplication of the data, rotations of the weights; not "
        "rescalings of layers",
        cost="26 Hessian-vector products, up to 68 where the interval asks for them",
        references=(
            "Meyer, Musco, Musco and Woodruff, Hutch++: optimal stochastic trace estimation, 2021",
            "Chen and Hallman, Krylov-aware stochastic trace estimation, 2023",
        ),
        preset="cheap",
        twin="times the squared weight norm",
        caution="negative eigenvalues cancel positive ones away from a minimum",
        examples=("trace", "trace:tolerance=0.01,most=96"),
    )
    tolerance: float = Field(default=0.05, gt=0)
    sketch: Whole = Field(default=20, ge=0)
    most: Whole = Field(default=48, ge=6)

    def read(self, subject: Subject) -> Reading:
        """Exactly in a Krylov space, at random outside of it, with an interval over random vectors."""
        operator = hessian(subject)

        def run() -> tuple[float, Interval | None, Tensor, int]:
            draw = subject.generator(self.name)
            return deflated_trace(operator, self.sketch, self.tolerance, self.most, draw)

        value, interval, diagonal, used = stepping_down(operator, run)
        operator.release()
        fields: dict[str, Any] = {
            "warnings": operator.warnings(),
            "parts": {name: float(part.sum()) for name, part in subject.views(diagonal).items()},
            "details": {"products": operator.products, "random_vectors": used, "rung": operator.rung},
        }
        if interval is None:
            fields["no_interval"] = "computed exactly: the Krylov space is the whole one"
        else:
            fields["monte_carlo"] = interval
            half = (interval.high - interval.low) / 2
            if half > self.tolerance * abs(value):
                fields["status"] = "not_converged"
                fields["reason"] = (
                    f"half-width {half:.2g} after {used} random vectors: raise most, or the tolerance"
                )
        return times_norm(subject, "trace", self.reading(value, **fields))


class FisherTrace(Probe):
    """Trace of the empirical Fisher matrix."""

    name: ClassVar[str] = "fisher_trace"
    revision: ClassVar[int] = 2
    card: ClassVar[Card] = Card(
        summary="trace of the empirical Fisher matrix: mean squared norm of per-example gradients",
        family="curvature",
        formula="tr F = sum_i w_i ||g_i||^2 / sum_i w_i, g_i the gradient of example i, w_i its weight",
        unit="squared loss per squared parameter",
        invariances="batching, order and duplication of the data, rotations of the weights; not "
        "rescalings of layers",
        cost="one pass of per-example gradients",
        references=("Jastrzebski et al., Catastrophic Fisher explosion, 2021",),
        preset="standard",
        twin="times the squared weight norm",
        caution="vanishes with the training loss, whatever the curvature; compare at equal training loss",
    )

    def read(self, subject: Subject) -> Reading:
        """Exactly over the examples read; the interval is for the population they come from."""
        norms, weights = [], []
        for chunk in per_example(subject):
            norms.append(chunk.grads.double().square().sum(1).cpu())
            weights.append(chunk.weights)
        squares, weight = torch.cat(norms).numpy(), torch.cat(weights).numpy()
        value = float(np.average(squares, weights=weight))
        fields = subset(mean_interval(squares, weights=weight), len(squares))
        fields["warnings"] = skewed(squares, weights=weight)
        return times_norm(subject, "trace", self.reading(value, **fields))


def _signs(operator: Operator, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, (operator.size,), generator=generator, dtype=torch.int8)
    return (2 * signs - 1).to(operator.device, operator.dtype)


def _add_diagonal(diagonal: Tensor, space: Krylov) -> None:
    """Add the diagonal of ``A Q Q'``, from ``A Q = Q T`` and what sticks out of the space."""
    for place, alpha in enumerate(space.alphas):
        q = space.vector(place)
        diagonal.addcmul_(q, q, value=alpha)
        if place < len(space.betas):
            # A beta inside T stands on both sides of its diagonal; the last one has one side only.
            sides = 2 if place + 1 < space.steps else 1
            diagonal.addcmul_(q, space.vector(place + 1), value=sides * space.betas[place])
