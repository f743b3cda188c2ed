"""What low precision does to the gradient that is trained with: all its errors, by layer and by product."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from algobias.lazy import torch
from algobias.probes.base import Card, Probe
from algobias.probes.families.gradient_rounding import ALARM, FP4
from algobias.probes.passes.losses import checked, flatten
from algobias.probes.passes.ways import backward_gradients
from algobias.probes.passes.weighing import examples
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.subject import Subject
from algobias.spelling import Whole
from algobias.trees import map_trees

if TYPE_CHECKING:
    from torch import Tensor

    from algobias.quantised.operands import Operands


@dataclass
class Errors:
    """Sums over batches, entry by entry of the squares of one group of parameters.

    Attributes:
        size: ``|g|^2``, g the gradient of float32.
        error: ``mean |g' - g|^2`` over repetitions, g' the gradient as trained.
        bias: Unbiased estimate of ``|E g' - g|^2`` from pairs of repetitions; can be negative.
    """

    size: float = 0.0
    error: float = 0.0
    bias: float = 0.0

    def add(self, right: Tensor, repeated: Tensor) -> None:
        """Add a batch.

        Args:
            right: g of some parameters.
            repeated: g' - g of them, one for each repetition, [R, ...].
        """
        rows = repeated.flatten(1)
        squares, count = rows.square().sum(), len(rows)
        pairs = rows.sum(0).square().sum() - squares
        self.size += float(right.square().sum())
        self.error += float(squares / count)
        self.bias += float(pairs / (count * (count - 1)))

    @property
    def ratio(self) -> float | None:
        """Gradient over error; None where there is no error."""
        return math.sqrt(self.size / self.error) if self.error > 0 else None


class GradientAsTrained(Probe):
    """Norm of the gradient over the norm of all errors that the trained precision makes in it.

    Attributes:
        batches: Batches of the training's size, taken apart from each other.
        repeats: How often each is differentiated with other random numbers.
    """

    name: ClassVar[str] = "gradient_as_trained"
    batches: Annotated[Whole, Field(ge=1, le=256)] = 4
    repeats: Annotated[Whole, Field(ge=2, le=256)] = 4
    card: ClassVar[Card] = Card(
        summary="Gradient over all errors of the trained precision in it: forward, backward, propagated",
        family="numerics",
        formula="||g|| / sqrt(E ||g' - g||^2), g of the float32 network, g' as trained, on training batches",
        unit="1 (alarm below 1.73)",
        invariances="scale of the loss (powers of two exactly)",
        cost="68 gradients of a training batch: 4 batches, each 1 + 4 as trained and 3 x 4 by product",
        references=(FP4,),
        caution="only of a network with rounded layers (precision); other layers are as in evaluation",
        examples=("gradient_as_trained", "gradient_as_trained:batches=8,repeats=8"),
    )

    def read(self, subject: Subject) -> Reading:
        """The ratio; bias and variance as shares of the gradient's norm, and the ratio by product and layer.

        Raises:
            Unavailable: Nothing in the network is rounded, or the gradient is zero.
        """
        from algobias.quantised.as_trained import PRODUCTS, exact, only, rounded_layers

        layers = rounded_layers(subject.model)
        if not layers:
            raise Unavailable("no layer of this network is rounded")
        total, by_layer = Errors(), {name: Errors() for name in layers}
        by_product = {product: Errors() for product in PRODUCTS}
        for number, batch in enumerate(_batches(subject, self.batches)):
            right = self._gradient(subject, batch, exact, "")
            whole = self._repeated(subject, batch, right, lambda operands: operands, f"{number}")
            total.add(right, whole)
            own, each = subject.views(right), subject.views(whole)
            for name, errors in by_layer.items():
                weight = f"{name}.weight" if name else "weight"
                if weight in own:
                    errors.add(own[weight], each[weight])
            for product, errors in by_product.items():
                errors.add(right, self._repeated(subject, batch, right, only(product), f"{number},{product}"))
        if not total.size > 0:
            raise Unavailable("the gradient is exactly zero")
        if not total.error > 0:
            raise Unavailable("rounding makes no error in this gradient")
        value = math.sqrt(total.size / total.error)
        variance = max(0.0, total.error - max(0.0, total.bias))
        parts = {
            "bias": math.sqrt(max(0.0, total.bias) / total.size),
            "variance": variance / total.size,
            **{product: ratio for product, one in by_product.items() if (ratio := one.ratio) is not None},
            **{name: ratio for name, one in by_layer.items() if (ratio := one.ratio) is not None},
        }
        low = [name for name in by_product if parts.get(name, math.inf) < ALARM]
        warnings = (f"below sqrt(3) = {ALARM:.3g}: {', '.join(low) or 'all products together'}",)
        return self.reading(
            value,
            no_interval="a mean over few batches and repetitions: more of them tell how far it is off",
            parts=parts,
            details={"alarm": ALARM, "batches": self.batches, "repeats": self.repeats},
            warnings=warnings if value < ALARM else (),
        )

    def _repeated(
        self,
        subject: Subject,
        batch: Any,
        right: Tensor,
        changed: Callable[[Operands], Operands],
        draw: str,
    ) -> Tensor:
        """Errors of the gradient as trained, one for each repetition, [R, P]."""
        found = [
            self._gradient(subject, batch, changed, f"as trained,{draw},{number}")
            for number in range(self.repeats)
        ]
        return torch.stack(found) - right

    def _gradient(
        self, subject: Subject, batch: Any, changed: Callable[[Operands], Operands], draw: str
    ) -> Tensor:
        from algobias.quantised.as_trained import computed

        params = list(subject.trained.values())
        with computed(subject.model, changed, draw):
            loss = checked(subject.loss(subject.model, batch))
            found = flatten(backward_gradients(subject.model, loss, params), params)
        subject.meter.gradients += examples(batch) / max(1, sum(examples(one) for one in subject.batches))
        return found.double()


def _batches(subject: Subject, count: int) -> list[Any]:
    """Batches of the training's size, their examples spread over the first batch that is measured."""
    first = next(iter(subject.batches))
    there = examples(first)
    training = subject.training
    size = min(there, (training.batch if training is not None else None) or there)
    step = max(1, there // size)
    starts = range(min(count, step))
    index = [torch.arange(start, there, step)[:size] for start in starts]
    return [map_trees(lambda leaf, rows=rows: leaf[rows] if leaf.dim() else leaf, first) for rows in index]
