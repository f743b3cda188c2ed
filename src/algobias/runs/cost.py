"""The cost vector of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Cost vector of a run up to its last update.

    Attributes:
        updates: Serial updates.
        examples: Examples drawn.
        gradients: Gradient evaluations, in examples.
        flops: Floating-point operations of forward and backward passes.
        bytes_sent: Bytes a worker sends to others.
        peak_memory: Bytes of parameters, gradients, optimizer memory and saved activations of one run.
        bits: Bits per multiply.
        seconds: Wall seconds; shared evenly by runs that are stacked.
    """

    updates: float = 0.0
    examples: float = 0.0
    gradients: float = 0.0
    flops: float = 0.0
    bytes_sent: float = 0.0
    peak_memory: float = 0.0
    bits: float = 32.0
    seconds: float = 0.0

    def after(self, updates: float) -> Cost:
        """The cost after only ``updates`` updates; memory and bits do not shrink."""
        share = updates / self.updates if self.updates else 0.0
        return Cost(
            updates=updates,
            examples=self.examples * share,
            gradients=self.gradients * share,
            flops=self.flops * share,
            bytes_sent=self.bytes_sent * share,
            peak_memory=self.peak_memory,
            bits=self.bits,
            seconds=self.seconds * share,
        )
