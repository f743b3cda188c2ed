"""Parallel workers: how far their copies of the network have drifted apart."""

from __future__ import annotations

from typing import ClassVar

from algobias.lazy import torch
from algobias.probes.base import Card, Probe
from algobias.probes.reading import Reading, Twin, Unavailable
from algobias.probes.subject import Subject


class ReplicaDispersion(Probe):
    """Mean squared distance of the workers' weights from their mean."""

    name: ClassVar[str] = "replica_dispersion"
    card: ClassVar[Card] = Card(
        summary="Mean squared distance of the workers' weights from their mean",
        family="numerics",
        formula="mean_r ||w_r - w||^2, w = mean_r w_r, w_r the trained parameters of worker r",
        unit="squared parameter units",
        invariances="order of workers; rotations of all; not rescalings that leave the functions as they are",
        cost="none: no pass over the data. Memory: two vectors of P numbers in double precision",
        references=("Lin et al., Don't Use Large Mini-Batches, Use Local SGD, 2020",),
        preset=None,
        needs=("replicas",),
        twin="over the squared norm of the mean",
        caution="falls to zero at every synchronisation: take it just before one",
    )

    def read(self, subject: Subject) -> Reading:
        """The dispersion, and that of every parameter tensor.

        Raises:
            Unavailable: There is one worker only, or weights do not fit the model.
        """
        count = len(subject.replicas)
        if count < 2:
            raise Unavailable("it needs the weights of two workers or more")
        mean = torch.zeros(subject.size, dtype=torch.float64, device=subject.device)
        for weights in subject.replicas:
            mean += subject.flat(weights).double() / count
        spread = torch.zeros_like(mean)
        for weights in subject.replicas:
            spread += (subject.flat(weights).double() - mean).square() / count
        value, size = float(spread.sum()), float(mean.square().sum())
        invariance = "a common factor on all weights"
        return self.reading(
            value,
            no_interval="computed exactly from the weights of all workers",
            twin=Twin(self.card.twin or "", value / size, None, None, invariance) if size > 0 else None,
            parts={name: float(part.sum()) for name, part in subject.views(spread).items()},
            details={"workers": count},
        )
