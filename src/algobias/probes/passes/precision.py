"""Tensors that a number format would hold, rounded again and again: what probes of number formats share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.numerics.quantiser import Quantiser, parse_quantiser, quantise
from algobias.probes.base import Probe
from algobias.probes.passes.losses import gradient
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor


def _known(text: str) -> str:
    try:
        found = parse_quantiser(text)
    except BadInput as error:
        near = f" (did you mean {error.nearest!r}?)" if error.nearest else ""
        raise ValueError(f"a number format such as int4, e4m3, mxfp4, nvfp4{near}: {error}") from error
    if found.random or found.rounding != "nearest":
        raise ValueError(f"a number format without its rounding, which is an option of its own: not {found}")
    return str(found)


FormatName = Annotated[str, AfterValidator(_known)]
"""A number format, as :func:`algobias.numerics.quantiser.parse_quantiser` reads it, without its rounding."""

Independent = Literal["nearest", "stochastic"]
"""Rounding of entries that does not depend on other entries but by their scale."""


class Formatted(Probe):
    """A probe of a number format.

    Attributes:
        format: Number format: ``int2`` to ``int8``, ``e1m2`` to ``e5m3``, ``mxfp8``, ``mxfp4``, ``nvfp4``,
            with modifiers (``int8-row``, ``int4-sawb``).
        rounding: To the ``nearest`` level (ties to even), or to one of its two neighbours by chance
            (``stochastic``).
    """

    positional: ClassVar[str | None] = "format"
    format: FormatName = "int4"
    rounding: Independent = "nearest"

    @property
    def quantiser(self) -> Quantiser:
        """Format and rounding."""
        return replace(parse_quantiser(self.format), rounding=self.rounding)

    def quantised(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The tensor as the format holds it, with the scale of its largest entry.

        Blocks of block formats lie along the last dimension; a convolution's weight is the matrix [outputs,
        all others], whose rows a matrix product sums over.
        """
        matrix = x.reshape(len(x), -1) if x.dim() > 2 else x
        return quantise(matrix, self.quantiser, generator).reshape(x.shape)


def weight_gradients(subject: Subject) -> dict[str, Tensor]:
    """Gradient of every trained weight matrix that is not zero (of all parameters where there is no matrix).

    Cost: one gradient, shared with other probes.

    Raises:
        Unavailable: All are zero.
    """
    found = matrices_of(subject.views(gradient(subject)))
    moving = {name: g for name, g in found.items() if bool(g.any())}
    if not moving:
        raise Unavailable("the gradient is exactly zero: there is nothing to round")
    if not all(bool(g.isfinite().all()) for g in moving.values()):
        raise Unavailable("the gradient is not finite")
    return moving


def matrices_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those with two or more dimensions, which few-bit formats are used for; all where there are none."""
    return {name: t for name, t in tensors.items() if t.dim() >= 2} or tensors


@dataclass(frozen=True)
class Repeated:
    """A tensor that was rounded repeatedly, compared with itself; all sums over its entries.

    Attributes:
        squared: ``|g|^2``.
        bias: Unbiased estimate of ``|E Q(g) - g|^2``; can be negative.
        bias_variance: Estimated variance of that estimate.
        variance: Unbiased estimate of ``sum_k Var Q(g)_k``.
        projection: ``<mean Q(g), g>``.
        noise: ``|Q(g) - g|^2`` of each repetition.
    """

    squared: float
    bias: float
    bias_variance: float
    variance: float
    projection: float
    noise: tuple[float, ...]


def repeat(probe: Formatted, x: Tensor, repeats: int, generator: torch.Generator) -> Repeated:
    """Round a tensor so many times (once where rounding is to the nearest, which always gives the same).

    With errors ``e_r = Q_r(g) - g``, ``|E e|^2`` is estimated from pairs of different repetitions,
    ``mean_{r != s} <e_r, e_s>``, in which the noise of the mean has no part. Entries are rounded
    independently, so its variance is ``sum_k 2 v_k^2 / (R (R - 1)) + 4 b_k^2 v_k / R``, v_k the variance and
    b_k the bias of an entry; products are of one half of the repetitions with the other, hence unbiased.

    Memory: six tensors of the size of ``x`` in double precision.
    """
    g = x.double()
    if probe.rounding == "nearest":
        e = probe.quantised(x, generator).double() - g
        mean = g + e
        bias = float(e.square().sum())
        return Repeated(float(g.square().sum()), bias, 0.0, 0.0, float((mean * g).sum()), (bias,))
    sums = [torch.zeros_like(g), torch.zeros_like(g)]
    squares = [torch.zeros_like(g), torch.zeros_like(g)]
    noise = []
    for r in range(repeats):
        e = probe.quantised(x, generator).double() - g
        noise.append(float(e.square().sum()))
        sums[r % 2] += e
        squares[r % 2] += e.square()
    total, square = sums[0] + sums[1], squares[0] + squares[1]
    bias_entries = (total.square() - square) / (repeats * (repeats - 1))
    variance = (square - total.square() / repeats) / (repeats - 1)
    sizes = ((repeats + 1) // 2, repeats // 2)
    halves = [(q - s.square() / n) / (n - 1) for q, s, n in zip(squares, sums, sizes, strict=True)]
    spread = 2 * float((halves[0] * halves[1]).sum()) / (repeats * (repeats - 1))
    pairs = [(s.square() - q) / (n * (n - 1)) for q, s, n in zip(squares, sums, sizes, strict=True)]
    drift = 2 * max(0.0, float((pairs[0] * halves[1] + pairs[1] * halves[0]).sum())) / repeats
    mean = g + total / repeats
    return Repeated(
        float(g.square().sum()),
        float(bias_entries.sum()),
        max(0.0, spread) + drift,
        float(variance.sum()),
        float((mean * g).sum()),
        tuple(noise),
    )
