"""Spectral density of the Hessian by stochastic Lanczos quadrature."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import scipy
from pydantic import Field

from algobias.probes.base import Card, Probe
from algobias.probes.matrices.lanczos import random_start, stepping_down
from algobias.probes.matrices.operator import hessian
from algobias.probes.matrices.quadrature import quadrature
from algobias.probes.passes.samples import LEVEL, Floats, mean_bounds
from algobias.probes.reading import Interval, Reading, Unavailable
from algobias.probes.subject import Subject
from algobias.spelling import Whole

GRID = 200


class SpectralDensity(Probe):
    """How the eigenvalues of the Hessian are spread.

    Attributes:
        vectors: Random vectors.
        steps: Steps of Lanczos from each.
    """

    name: ClassVar[str] = "spectral_density"
    revision: ClassVar[int] = 2
    card: ClassVar[Card] = Card(
        summary="spectral density of the Hessian; the value is the share of curvature that is negative",
        family="curvature",
        formula="sum of |lambda| over negative eigenvalues / sum of |lambda| over all of them; the "
        "density in details "
        "is mean_v sum_i tau_i delta(theta_i), nodes theta and weights tau of Gauss quadrature from random v",
        unit="1 (share)",
        invariances="the scale of the loss, batching, order and duplication of the data, rotations of the "
        "weights",
        cost="vectors times steps Hessian-vector products: 240",
        references=(
            "Ghorbani, Krishnan and Xiao, An investigation into neural net optimization via Hessian "
            "density, 2019",
            "Ubaru, Chen and Saad, Fast estimation of tr(f(A)) via stochastic Lanczos quadrature, 2017",
        ),
        preset="full",
        caution="the bulk at zero hides most eigenvalues; single outliers are read from top_eigenvalues",
        examples=("spectral_density", "spectral_density:vectors=4,steps=40"),
    )
    vectors: Whole = Field(default=8, ge=2)
    steps: Whole = Field(default=30, ge=2)

    def read(self, subject: Subject) -> Reading:
        """Quadrature from several random vectors; the interval is over them."""
        operator = hessian(subject)

        def run() -> list[tuple[Floats, Floats]]:
            draw = subject.generator(self.name)
            starts = (random_start(operator, draw) for _ in range(self.vectors))
            return [quadrature(operator, self.steps, start) for start in starts]

        found = stepping_down(operator, run)
        operator.release()
        negative = np.array([float(-(nodes * weights)[nodes < 0].sum()) for nodes, weights in found])
        total = np.array([float((np.abs(nodes) * weights).sum()) for nodes, weights in found])
        if not total.sum() > 0:
            raise Unavailable("the Hessian is zero: the loss is flat in every direction that was tried")
        value, interval = ratio_interval(negative, total)
        low, high = min(nodes[0] for nodes, _ in found), max(nodes[-1] for nodes, _ in found)
        grid, density = smoothed(found, float(low), float(high))
        squares = np.mean([float((nodes**2 * weights).sum()) for nodes, weights in found])
        return self.reading(
            value,
            monte_carlo=interval,
            warnings=operator.warnings(),
            details={
                "products": operator.products,
                "rung": operator.rung,
                "grid": grid.tolist(),
                "density": density.tolist(),
                "nodes": [nodes.tolist() for nodes, _ in found],
                "weights": [weights.tolist() for _, weights in found],
                "frobenius_norm": math.sqrt(operator.size * squares),
            },
        )


def ratio_interval(above: Floats, below: Floats) -> tuple[float, Interval]:
    """Ratio of two means over the same random vectors, with an interval by linearisation.

    ``r = mean(a) / mean(b)``, its deviations those of ``a - r b`` over ``mean(b)``; cut to [0, 1].
    """
    value = float(above.mean() / below.mean())
    low, high = mean_bounds(value, (above - value * below) / below.mean(), LEVEL)
    condition = "independent random vectors, ratio of means linearised; Lanczos steps enough for the bulk"
    return value, Interval(max(0.0, low), min(1.0, high), LEVEL, condition)


def smoothed(found: list[tuple[Floats, Floats]], low: float, high: float) -> tuple[Floats, Floats]:
    """Density on an even grid, [200]: each node a Gaussian as wide as 1 % of the range; integrates to one.

    Args:
        found: Nodes and weights of every random vector.
        low: Smallest node.
        high: Largest node.
    """
    width = 0.01 * (high - low) or 1.0
    grid = np.linspace(low - 4 * width, high + 4 * width, GRID)
    bells = [scipy.stats.norm.pdf(grid[:, None], nodes, width) @ weights for nodes, weights in found]
    density: Floats = np.mean(bells, axis=0)
    return grid, density
