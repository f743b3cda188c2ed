"""Margins of the training examples: raw, over products of weight norms, and in input space."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from algobias.probes.base import Card, Probe
from algobias.probes.passes.layers import (
    Norms,
    frobenius_norms,
    largest_entries,
    spectral_norms,
)
from algobias.probes.passes.rows import Rows, margin_rows, slope_rows
from algobias.probes.passes.samples import Floats, quantile, quantile_interval, subset
from algobias.probes.reading import Interval, Reading, Twin, Unavailable
from algobias.probes.subject import Subject

SOUDRY = "Soudry et al., The Implicit Bias of Gradient Descent on Separable Data, 2018"
ROWS = (
    "m_i = s_y - max_{j != y} s_j, the true logit minus the best other, of every example or unmasked token "
    "i; with one output, the output times the sign of the label"
)
CAUTION = "a quantile of all examples read, wrong ones (negative) included; ties are zero"


class _Margin(Probe):
    """Options and quantiles of all margins.

    Attributes:
        quantile: Which quantile is the value.
    """

    positional: ClassVar[str | None] = "quantile"
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.1

    def _of(self, rows: Rows, values: Floats, **rest: Any) -> Reading:
        """The quantile of ``values`` with its subset interval, and others as parts."""
        count = len(values) if rows.groups is None else len(np.unique(rows.groups))
        fields = subset(quantile_interval(values, self.quantile, rows.groups), count)
        if "no_interval" in fields and rest.get("numerical") is not None:
            rest = {**rest, "warnings": (*rest.get("warnings", ()), fields.pop("no_interval"))}
        details = {
            "rows": len(values),
            "misclassified": int((rows.margins < 0).sum()),
            "ties": int((rows.margins == 0).sum()),
            **rest.pop("details", {}),
        }
        parts = {f"p{100 * q:g}": quantile(values, q) for q in (0.1, 0.5, 0.9)}
        return self.reading(
            quantile(values, self.quantile),
            parts={**parts, "min": float(values.min())},
            details=details,
            warnings=(*rows.warnings, *rest.pop("warnings", ())),
            **fields,
            **rest,
        )


class MarginRaw(_Margin):
    """True logit minus best other logit."""

    name: ClassVar[str] = "margin_raw"
    revision: ClassVar[int] = 2
    card: ClassVar[Card] = Card(
        summary="Lower tail of the margins: true logit minus best other logit",
        family="margins",
        formula=f"10 % quantile over i of {ROWS}",
        unit="logits",
        invariances="adding a constant to all logits; it scales with the logits, so it grows with training",
        cost="one forward pass",
        references=(SOUDRY, "Bartlett et al., Spectrally-normalized margin bounds, 2017"),
        preset="cheap",
        twin="margin over the product of Frobenius norms",
        caution=CAUTION,
        examples=("margin_raw", "margin_raw:0.5"),
    )

    def read(self, subject: Subject) -> Reading:
        """The quantile, its subset interval, and further quantiles."""
        rows = margin_rows(subject)
        reading = self._of(rows, rows.margins)
        try:
            factor = _inverse(frobenius_norms(subject).log_product)
        except Unavailable:
            return reading
        if reading.value is None or factor == 0:
            return reading
        low, high = (None if x is None else x * factor for x in (reading.low, reading.high))
        twin = Twin(self.card.twin or "", reading.value * factor, low, high, INVARIANT)
        return replace(reading, twin=twin)


INVARIANT = (
    "moving a positive factor from one layer of a ReLU net without biases to another, or scaling a layer"
)


class _OverNorms(_Margin):
    """Margins over a product of norms of weight matrices."""

    revision: ClassVar[int] = 2

    def _norms(self, subject: Subject) -> Norms:
        raise TypeError(f"{type(self).__name__} must say by which norms it divides")

    def read(self, subject: Subject) -> Reading:
        """The quantile of the margins over the product of norms, and further quantiles."""
        norms, rows = self._norms(subject), margin_rows(subject)
        log, log_high = norms.log_product, norms.log_product_high
        factor = _inverse(log)
        if factor == 0:
            raise Unavailable("the product of norms is too large for a number")
        numerical = None
        if log_high > log:
            value = quantile(rows.margins, self.quantile) * factor
            least = value * math.exp(log - log_high)
            numerical = Interval(
                min(value, least),
                max(value, least),
                None,
                "the Lanczos iteration has found the largest singular value of each convolution",
            )
        details = {"log_product": log, "norms": norms.values, "uses": norms.details}
        warnings = tuple(f"{name}: norm of the reshaped weight" for name in norms.reshaped)
        return self._of(rows, rows.margins * factor, numerical=numerical, details=details, warnings=warnings)


class MarginFrobenius(_OverNorms):
    """Margin over the product of Frobenius norms."""

    name: ClassVar[str] = "margin_frobenius"
    card: ClassVar[Card] = Card(
        summary="Margins in the l2 geometry: over the product of the Frobenius norms of all weight matrices",
        family="margins",
        formula=(
            "10 % quantile over i of m_i / prod_l ||W_l||_F, W_l every parameter of two or more dimensions, "
            f"as often as the network uses it; {ROWS}"
        ),
        unit="logits per unit of the product of norms",
        invariances=INVARIANT,
        cost="one forward pass, shared with margin_raw",
        references=(
            SOUDRY,
            "Neyshabur et al., Exploring Generalization in Deep Learning, 2017",
            "Lyu and Li, Gradient Descent Maximizes the Margin of Homogeneous Neural Networks, 2020",
        ),
        preset="cheap",
        caution="often moves against generalisation when batch, rate or delay change; " + CAUTION,
    )

    def _norms(self, subject: Subject) -> Norms:
        return frobenius_norms(subject)


class MarginSpectral(_OverNorms):
    """Margin over the product of spectral norms."""

    name: ClassVar[str] = "margin_spectral"
    card: ClassVar[Card] = Card(
        summary="Margins over the product of spectral norms: a bound on how far an input must move",
        family="margins",
        formula=(
            "10 % quantile over i of m_i / prod_l ||W_l||_2, the spectral norm of every weight matrix, of a "
            f"convolution that of its linear map on inputs of the size seen, as often as it is used; {ROWS}"
        ),
        unit="logits per unit of the product of norms",
        invariances=INVARIANT,
        cost="two forward passes, tens of passes of each convolution on one example",
        references=(
            "Bartlett et al., Spectrally-normalized margin bounds for neural networks, 2017",
            "Sedghi et al., The Singular Values of Convolutional Layers, 2019",
        ),
        preset="full",
        caution="factors of normalisation layers are not in the product; " + CAUTION,
    )

    def _norms(self, subject: Subject) -> Norms:
        return spectral_norms(subject)


class MarginLinf(_OverNorms):
    """Margin over the product of largest absolute weights."""

    name: ClassVar[str] = "margin_linf"
    card: ClassVar[Card] = Card(
        summary="Margins in the l-infinity geometry of Adam and sign descent: over the largest weights",
        family="margins",
        formula=(
            "10 % quantile over i of m_i / prod_l max_jk |W_l,jk| over all weight matrices W_l, as often as "
            "they are used; for a linear "
            f"model m_i / ||w||_inf, which sign descent and Adam maximise in the smallest m_i; {ROWS}"
        ),
        unit="logits per unit of the product of norms",
        invariances=INVARIANT,
        cost="one forward pass, shared with margin_raw",
        references=(
            "Gunasekar et al., Characterizing Implicit Bias in Terms of Optimization Geometry, 2018",
            "Zhang, Zou and Cao, The Implicit Bias of Adam on Separable Data, 2024",
        ),
        preset="standard",
        caution="one large weight decides the norm of its layer; " + CAUTION,
    )

    def _norms(self, subject: Subject) -> Norms:
        return largest_entries(subject)


class MarginInput(_Margin):
    """Margin over the norm of its input gradient."""

    name: ClassVar[str] = "margin_input"
    card: ClassVar[Card] = Card(
        summary="Distance of examples to the decision boundary in input space, to first order",
        family="margins",
        formula=(
            "10 % quantile over i of m_i / ||grad_x m_i||_2, x the input or the whole embedded token "
            f"sequence; {ROWS}; of a sequence one unmasked token, drawn at random"
        ),
        unit="input units",
        invariances=(
            "scaling of all logits, every rescaling of weights that leaves the function as it is; exact "
            "distance for linear models, first order else"
        ),
        cost="one gradient, shared with input_gradient_norm",
        references=(
            "Elsayed et al., Large Margin Deep Networks for Classification, 2018",
            "Jiang et al., Predicting the Generalization Gap with Margin Distributions, 2019",
        ),
        preset="cheap",
        caution="the boundary to the best other class only; scales with the input's units; " + CAUTION,
    )

    def read(self, subject: Subject) -> Reading:
        """The quantile, its subset interval, and further quantiles.

        Raises:
            Unavailable: The margins of so many examples have no input gradient that the quantile is infinite.
        """
        rows = slope_rows(subject)
        if rows.slopes is None:  # never: slope_rows always has them
            raise Unavailable("there are no input gradients")
        flat = rows.slopes == 0
        values = np.where(rows.margins == 0, 0.0, rows.margins / np.where(flat, 1.0, rows.slopes))
        values = np.where(flat & (rows.margins != 0), np.copysign(np.inf, rows.margins), values)
        if not math.isfinite(quantile(values, self.quantile)):
            raise Unavailable(
                f"{int(flat.sum())} of {len(flat)} margins do not depend on the input at all (dead units, "
                "saturation), so that this quantile is infinite; name another quantile"
            )
        reading = self._of(
            rows, values, details={"without_gradient": int(flat.sum()), "with_respect_to": rows.source}
        )
        finite = {name: value for name, value in reading.parts.items() if math.isfinite(value)}
        return replace(reading, parts=finite)


def _inverse(log: float) -> float:
    """exp(-log), zero where that is too small for a number."""
    return math.exp(-log) if log < 700 else 0.0
