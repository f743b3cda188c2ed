"""The network's function on straight lines between examples: its kinks and its frequencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from algobias.probes.base import Card
from algobias.probes.families.input_slices import _OnSlices, take_slices
from algobias.probes.passes.samples import Floats, skewed
from algobias.probes.reading import Interval, Reading, Twin, Unavailable
from algobias.probes.subject import Subject

if TYPE_CHECKING:
    pass


UNRESOLVED = 0.1
"""Where more than this share of the variation may be missed, the grid is too coarse."""


class SecondDerivativeMass(_OnSlices):
    """Integral of the second derivative's size along lines between examples."""

    name: ClassVar[str] = "second_derivative_mass"
    revision: ClassVar[int] = 2
    card: ClassVar[Card] = Card(
        summary="How much the slope of the network's outputs changes on the way from one example to another",
        family="function",
        formula=(
            "mean over lines x(s) of unit speed between two random examples of the integral of ||d^2 f / "
            "ds^2|| ds, f all outputs; for a ReLU network the sum over its kinks of the jump of the slope"
        ),
        unit="outputs per input unit",
        invariances="every rescaling of weights that leaves the function as it is; adding an affine function",
        cost="32 x 1027 forward passes of one example",
        references=(
            "Savarese et al., How do infinite width bounded norm networks look in function space?, 2019",
            "Ongie et al., A Function Space View of Bounded Norm Infinite Width ReLU Nets, 2020",
        ),
        preset="standard",
        twin="over the mean slope along the same lines",
        caution="grows with the scale of the logits: read the twin beside it",
        examples=("second_derivative_mass", "second_derivative_mass:slices=64,points=4096"),
    )

    def read(self, subject: Subject) -> Reading:
        """The mean; a bound from three nested grids, an interval over lines.

        Raises:
            Unavailable: As :func:`take_slices`.
        """
        found = take_slices(subject, self.slices, self.points)
        each = {step: _variation(found.values[:, ::step], found.lengths) for step in (1, 2, 4)}
        fine, middle, coarse = (float(each[step].mean()) for step in (1, 2, 4))
        slope = float(_path(found.values, found.lengths).mean())
        beyond = _unseen(fine, middle, coarse)
        slow = beyond > UNRESOLVED * fine
        twin = None
        if slope > 0:
            twin = Twin(self.card.twin or "", fine / slope, None, None, "a common factor on all outputs")
        monte_carlo = self._interval(each[1])
        return self.reading(
            fine,
            status="not_converged" if slow else "ok",
            reason=f"{self.points} steps do not resolve the kinks; ask for more points" if slow else None,
            numerical=Interval(
                fine,
                fine + beyond,
                None,
                "each further halving of the steps gains no larger a share of the one before than the last",
            ),
            monte_carlo=monte_carlo,
            warnings=skewed(each[1]),
            twin=twin,
            details={"slices": len(each[1]), "coarser_grids": [middle, coarse], "mean_slope": slope},
        )


def _unseen(fine: float, middle: float, coarse: float) -> float:
    """What a grid misses, from the gains of the last two halvings of its steps, as a geometric series.

    Kinks that cancel within a step are missed. Where they are isolated, or the function is smooth, gains
    halve each time; where they are crowded, gains shrink more slowly.
    """
    gain, before = max(fine - middle, 0.0), max(middle - coarse, 0.0)
    share = min(max(gain / before, 0.5), 0.9) if before > 0 else 0.5
    return gain * share / (1 - share)


def _variation(values: Floats, lengths: Floats) -> Floats:
    """Total variation of the slope on a grid, [S]: never above that of the function itself."""
    step = lengths / (values.shape[1] - 1)
    jumps = np.linalg.norm(np.diff(values, 2, axis=1), axis=2) / step[:, None]
    found: Floats = jumps.sum(1)
    return found


def _path(values: Floats, lengths: Floats) -> Floats:
    """Length of the path of the outputs over the length of the line, [S]: the mean size of the slope."""
    found: Floats = np.linalg.norm(np.diff(values, axis=1), axis=2).sum(1) / lengths
    return found


class FrequencyContent(_OnSlices):
    """Mean frequency of the function along lines between examples.

    Attributes:
        cutoff: In cycles per line: the share of energy above it is a part of the reading.
    """

    name: ClassVar[str] = "frequency_content"
    revision: ClassVar[int] = 2
    cutoff: Annotated[float, Field(gt=0)] = 4.0
    card: ClassVar[Card] = Card(
        summary="Mean frequency of the network's outputs on the way from one example to another",
        family="function",
        formula=(
            "mean over lines between two random examples of sum_k nu_k |F_k|^2 / sum_k |F_k|^2, F the "
            "discrete Fourier transform of the outputs along the line less their least-squares line, under a "
            "Hann window"
        ),
        unit="cycles per input unit",
        invariances="a common factor on all outputs, adding an affine function to them",
        cost="32 x 1027 forward passes of one example, shared with second_derivative_mass",
        references=("Rahaman et al., On the Spectral Bias of Neural Networks, 2019",),
        preset="full",
        caution="frequencies below one cycle per line cannot be told apart",
        examples=("frequency_content", "frequency_content:cutoff=8"),
    )

    def read(self, subject: Subject) -> Reading:
        """The mean; a bound from the coarser grid, an interval over lines.

        Raises:
            Unavailable: The function is affine along all lines, or as :func:`take_slices`.
        """
        found = take_slices(subject, self.slices, self.points)
        bent = _bent(found.values)
        if not bent.any():
            raise Unavailable("the function is affine along every line: it has no frequencies")
        values, lengths = found.values[bent], found.lengths[bent]
        fine, above = _frequencies(values, lengths, self.cutoff)
        coarse, _ = _frequencies(values[:, ::2], lengths, self.cutoff)
        value, gap = float(fine.mean()), abs(float(fine.mean() - coarse.mean()))
        return self.reading(
            value,
            numerical=Interval(
                value - gap,
                value + gap,
                None,
                "the error is no larger than the difference from half the points",
            ),
            monte_carlo=self._interval(fine),
            warnings=skewed(fine),
            parts={"energy above the cutoff": float(above.mean())},
            details={"slices": len(fine), "affine": int((~bent).sum()), "cutoff": self.cutoff},
        )


def _detrended(values: Floats) -> Floats:
    """Outputs less their least-squares line along each slice, [S, points + 1, C]."""
    t = np.linspace(-1, 1, values.shape[1])
    slope = (t[:, None] * values).sum(1, keepdims=True) / (t**2).sum()
    found: Floats = values - values.mean(1, keepdims=True) - slope * t[:, None]
    return found


def _bent(values: Floats) -> NDArray[np.bool_]:
    rest = np.square(_detrended(values)).sum((1, 2))
    found: NDArray[np.bool_] = rest > 1e-22 * np.square(values).sum((1, 2))
    return found


def _frequencies(values: Floats, lengths: Floats, cutoff: float) -> tuple[Floats, Floats]:
    """Mean frequency in cycles per input unit, and the share of energy above the cutoff, both [S]."""
    count = values.shape[1]
    window = np.hanning(count)[:, None]
    energy = np.square(np.abs(np.fft.rfft(_detrended(values) * window, axis=1))).sum(2)
    cycles = (
        np.arange(energy.shape[1]) * (count - 1) / count
    )  # per line, whose ends are count - 1 steps apart
    total = energy.sum(1)
    mean: Floats = (energy * cycles).sum(1) / total / lengths
    above: Floats = energy[:, cycles > cutoff].sum(1) / total
    return mean, above
