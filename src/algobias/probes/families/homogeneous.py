"""Smoothed margin of homogeneous networks, and the check that a network is homogeneous."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from algobias.lazy import no_grad
from algobias.probes.base import Card, Probe
from algobias.probes.passes.calls import captured, logits_in, single_call
from algobias.probes.passes.losses import loss_at, mean_loss, totals
from algobias.probes.passes.rows import margin_rows
from algobias.probes.passes.ways import require_swapping
from algobias.probes.passes.weighing import examples
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

SCALES = (0.8, 1.25)
TOLERANCE = 1e-4


class SmoothedMargin(Probe):
    """Smoothed normalised margin of a homogeneous network."""

    name: ClassVar[str] = "smoothed_margin"
    card: ClassVar[Card] = Card(
        summary="Margin that gradient flow cannot decrease, of networks homogeneous in their weights",
        family="margins",
        formula=(
            "-log(exp(S) - 1) / ||w||^L for cross-entropy, S its sum over all examples; log(1/S) / ||w||^L "
            "for the exponential loss; L the degree of homogeneity, f(c w) = c^L f(w)"
        ),
        unit="logits per unit of ||w||^L",
        invariances=(
            "re-batching and order of the examples; close to the smallest margin over ||w||^L once the loss "
            "is small, and then hardly changed by scaling all weights"
        ),
        cost="two forward passes, three more of the first batch",
        references=(
            "Lyu and Li, Gradient Descent Maximizes the Margin of Homogeneous Neural Networks, 2020",
        ),
        preset="full",
        caution="says nothing before all examples are fitted, which S < log 2 makes sure of",
    )

    def read(self, subject: Subject) -> Reading:
        """The smoothed margin; the true smallest one in ``details``.

        Raises:
            Unavailable: The network is not homogeneous, or the loss not of the exponential type.
        """
        degree = homogeneity(subject)
        rows = margin_rows(subject)
        measured = mean_loss(subject)
        kind, log_smooth, total = _matching(rows.soft, measured)
        log_norm = degree * math.log(float(subject.flat().double().norm()))
        if abs(log_norm) > 600:
            raise Unavailable("||w||^L is too large or too small for a number")
        warnings = list(rows.warnings)
        if kind == "cross-entropy" and total >= math.log(2):
            warnings.append("the summed loss is above log 2: that it cannot decrease is not yet guaranteed")
        return self.reading(
            log_smooth * math.exp(-log_norm),
            no_interval="a number of exactly these examples, not an average over a population of them",
            parts={"smallest margin over ||w||^L": float(rows.margins.min()) * math.exp(-log_norm)},
            details={"degree": degree, "loss": kind, "summed_loss": total},
            warnings=tuple(warnings),
        )


def _matching(soft: np.ndarray, measured: float) -> tuple[str, float, float]:
    """Which exponential-type loss was measured, the numerator for it, and the summed loss."""
    with np.errstate(over="ignore"):
        losses = {"cross-entropy": np.logaddexp(0.0, -soft), "exponential": np.exp(-soft)}
    for kind, each in losses.items():
        total = float(each.sum())
        if math.isfinite(total) and abs(total / len(soft) - measured) <= 1e-3 * measured + 1e-12:
            if total == 0:
                raise Unavailable("the loss is exactly zero: the margin is beyond the precision of the loss")
            log = -math.log(total) if kind == "exponential" else -(total + math.log(-math.expm1(-total)))
            return kind, log, total
    raise Unavailable(
        f"the loss ({measured:g}) is neither cross-entropy ({losses['cross-entropy'].mean():g}) nor the "
        "exponential loss of the margins: smoothed margins are defined for these"
    )


def homogeneity(subject: Subject) -> float:
    """Degree L of homogeneity in the trained parameters, f(c w) = c^L f(w), tried at c = 0.8 and 1.25.

    A whole number where it is one within 1e-3. Cost: three forward passes of the first batch.

    Raises:
        Unavailable: The outputs at scaled weights are no multiple of the outputs.
    """
    batch = next(iter(subject.batches))
    params = {name: p.detach() for name, p in subject.trained.items()}
    plain = _outputs_at(subject, params, batch)
    size = float(plain.norm())
    if not 0 < size < math.inf:
        raise Unavailable("the outputs of the first batch are all zero, or not finite")
    degrees = []
    for scale in SCALES:
        scaled = _outputs_at(subject, {name: scale * p for name, p in params.items()}, batch)
        factor = float((scaled * plain).sum()) / size**2
        if factor <= 0 or float((scaled - factor * plain).norm()) > TOLERANCE * factor * size:
            raise Unavailable(
                "the network is not homogeneous: outputs at scaled weights are no multiple of the outputs "
                "(biases, normalisation, or an activation that is not ReLU-like)"
            )
        degrees.append(math.log(factor) / math.log(scale))
    degree = sum(degrees) / len(degrees)
    if max(degrees) - min(degrees) > 1e-2:
        raise Unavailable(f"the network is not homogeneous: degrees {degrees[0]:.3g} and {degrees[1]:.3g}")
    if degree < 0.5:
        raise Unavailable(
            "the outputs hardly depend on the scale of the weights (normalisation): no margin over it"
        )
    return float(round(degree)) if abs(degree - round(degree)) < 1e-3 else degree


@no_grad
def _outputs_at(subject: Subject, params: dict[str, Tensor], batch: object) -> Tensor:
    require_swapping(subject)
    with captured(subject.model) as call:
        loss_at(subject, params, batch)
    single_call(call)
    subject.meter.forwards += examples(batch) / totals(subject)[1]
    return logits_in(call.output).double().reshape(-1)
