"""What an arm costs by axis, or how many times a reference."""

from __future__ import annotations

from collections.abc import Iterable

from algobias.answer.form import Form, Number
from algobias.runs.cost import Cost

SAVED = 0.9
"""A change saves an axis where it costs less than this multiple of the baseline."""


class Costs(Form):
    """A cost for each axis; None where it is not known.

    Attributes:
        updates: Serial updates.
        examples: Examples drawn.
        gradients: Gradient evaluations, in examples.
        flops: Floating-point operations.
        bytes_sent: Bytes a worker sends to others.
        peak_memory: Bytes of one run.
        bits: Bits per multiply.
        seconds: Wall seconds.
    """

    updates: Number | None = None
    examples: Number | None = None
    gradients: Number | None = None
    flops: Number | None = None
    bytes_sent: Number | None = None
    peak_memory: Number | None = None
    bits: Number | None = None
    seconds: Number | None = None

    def on(self, axis: str) -> float | None:
        """Take the cost on an axis by its name; None of an axis that there is not."""
        value: float | None = getattr(self, axis) if axis in type(self).model_fields else None
        return value

    def spare(self, axes: Iterable[str], reference: Costs) -> bool | None:
        """Tell whether they are clearly below a reference on one of some axes; None: none is known of both.

        Args:
            axes: Names of axes.
            reference: What they are compared with.
        """
        both = [(self.on(axis), reference.on(axis)) for axis in axes]
        known = [(ours, theirs) for ours, theirs in both if ours is not None and theirs is not None]
        return any(ours < SAVED * theirs for ours, theirs in known) if known else None

    def of_updates_alone(self) -> Costs:
        """Forget what it costs on every other axis."""
        return self.changed(**dict.fromkeys(axis for axis in self._keys if axis != "updates"))

    def vector(self) -> Cost:
        """Take it as the cost vector of a run; what is not known counts as there being none."""
        return Cost(
            **{axis: value for axis in type(self).model_fields if (value := self.on(axis)) is not None}
        )
