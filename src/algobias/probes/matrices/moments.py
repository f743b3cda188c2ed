"""Spread of the gradients of single examples: one pass that the probes of noise share, and its covariance.

With w_i the weight of an example (1, or its unmasked tokens), g_i the gradient of its mean loss and
``g = sum w_i g_i / sum w_i``, an example contributes ``u_i = w_i / mean(w) (g_i - g)``: the gradient of a
random batch of B examples is g plus the mean of B such contributions, exactly for equal weights, else to
first order in 1/B (a ratio of two means; Cochran, Sampling Techniques, 1977).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from algobias.lazy import torch
from algobias.probes.matrices.linear import Operator
from algobias.probes.passes.losses import counted, gradient, totals
from algobias.probes.passes.samples import Floats
from algobias.probes.passes.singles import per_example
from algobias.probes.reading import Unavailable
from algobias.probes.subject import KEPT_BYTES, Subject

if TYPE_CHECKING:
    from torch import Tensor

PAIRED = 16
"""Inner products are taken between examples within blocks of so many."""


@dataclass(frozen=True)
class Moments:
    """Second moments of the contributions u_i.

    Attributes:
        count: n, examples.
        squares: ``|u_i|^2``, [n].
        along: ``u_i . g``, [n].
        layers: ``sum_i |u_i|^2 / (n - 1)`` of every parameter tensor, by name.
        gradient_squares: ``|g|^2`` of every parameter tensor, by name.
        covariance_square: Estimate of ``tr Sigma^2`` from pairs of examples; None without pairs.
    """

    count: int
    squares: Floats
    along: Floats
    layers: dict[str, float]
    gradient_squares: dict[str, float]
    covariance_square: float | None

    @property
    def trace(self) -> float:
        """``tr Sigma = sum_i |u_i|^2 / (n - 1)``: unbiased for independent examples of equal weight."""
        return float(self.squares.sum()) / (self.count - 1)

    @property
    def gradient_square(self) -> float:
        """``|g|^2`` of the examples read."""
        return sum(self.gradient_squares.values())

    @property
    def signal(self) -> float:
        """``|g|^2 - tr Sigma / n``: unbiased for the squared gradient of the population; may be negative."""
        return self.gradient_square - self.trace / self.count


def contributions(subject: Subject) -> Iterator[Tensor]:
    """u_i in the order of the data, [b, P] at a time.

    Cost: two gradients, one of which all probes share. Memory: P, and a chunk of per-example gradients.

    Raises:
        Unavailable: There is one example only, or an example cannot be taken alone.
    """
    (weight, _), count = totals(subject), counted(subject)
    if count < 2:
        raise Unavailable("the spread of gradients needs two examples or more")
    mean = gradient(subject)
    for chunk in per_example(subject):
        shares = (chunk.weights * count / weight).to(chunk.grads)
        yield chunk.grads.sub_(mean).mul_(shares[:, None])


def moments(subject: Subject) -> Moments:
    """The moments, once for each measurement.

    Cost: two gradients, one of which all probes share. Memory: P, and a chunk of per-example gradients.

    Raises:
        Unavailable: There is one example only, or an example cannot be taken alone.
    """
    found: Moments = subject.shared("moments", lambda: _moments(subject))
    return found


def _moments(subject: Subject) -> Moments:
    squares: list[Tensor] = []
    along: list[Tensor] = []
    pair_sum, pairs = 0.0, 0
    mean = None
    for chunk in contributions(subject):
        mean = gradient(subject) if mean is None else mean
        by_layer = [part.flatten(1).square().sum(1).double() for part in subject.views(chunk).values()]
        squares.append(torch.stack(by_layer, 1).cpu())
        along.append((chunk @ mean).double().cpu())
        for start in range(0, len(chunk), PAIRED):
            block = chunk[start : start + PAIRED]
            products = torch.triu(block @ block.T, diagonal=1).double()
            pair_sum += float(products.square().sum())
            pairs += len(block) * (len(block) - 1) // 2
    assert mean is not None
    each = torch.cat(squares).numpy()
    n = len(each)
    names = subject.names
    gradients = {name: float(g.double().square().sum()) for name, g in subject.views(mean).items()}
    layers = {name: float(total) / (n - 1) for name, total in zip(names, each.sum(0), strict=True)}
    square = pair_sum / pairs if pairs else None
    return Moments(n, each.sum(1), torch.cat(along).numpy().astype(np.float64), layers, gradients, square)


class Covariance(Operator):
    """``Sigma = sum_i u_i u_i' / (n - 1)``, covariance of the gradient of one example.

    Where all u_i fit into 256 MB they are kept, and products need no further pass; else a product costs one
    gradient.

    Args:
        subject: Model, batches, loss.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject.size, subject.dtype, subject.device, "exact")
        self.subject = subject
        self.count = counted(subject)
        self._fits = self.count * subject.size * subject.dtype.itemsize <= KEPT_BYTES
        self._kept: Tensor | None = None

    def product(self, v: Tensor) -> Tensor:
        """``Sigma v``."""
        total = torch.zeros_like(v)
        for rows in self._rows():
            total += rows.T @ (rows @ v)
        return total / (self.count - 1)

    def release(self) -> None:
        """Let go of what is kept."""
        self._kept = None

    def _rows(self) -> Iterator[Tensor]:
        if not self._fits:
            yield from contributions(self.subject)
            return
        if self._kept is None:
            self._kept = torch.cat(list(contributions(self.subject)))
        yield self._kept
