"""Neural collapse: whether the last hidden layer has shrunk to one point for each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from algobias.lazy import torch
from algobias.probes.base import Card, Probe
from algobias.probes.passes.activations import layers
from algobias.probes.passes.calls import captured, labels_in, logits_in, single_call
from algobias.probes.passes.losses import totals
from algobias.probes.passes.rows import NEEDS_LABELS
from algobias.probes.passes.weighing import IGNORED, examples
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

RANK = 1e-6
"""Singular values of the class means at most this times the largest are rounding of single precision."""


class NeuralCollapse(Probe):
    """Variability within classes against that between them, in the last hidden layer."""

    name: ClassVar[str] = "neural_collapse"
    card: ClassVar[Card] = Card(
        summary="Neural collapse (NC1): spread within classes over spread between them, last hidden layer",
        family="features",
        formula=(
            "tr(Sigma_W Sigma_B^+) / C: Sigma_W = mean_i (h_i - m_y)(h_i - m_y)', m_c the mean of class c of "
            "the features h that go into the layer executed last; Sigma_B = mean_c (m_c - m)(m_c - m)', "
            "m = mean_c m_c; ^+ the pseudo-inverse; C classes seen"
        ),
        unit="1 (0: collapsed)",
        invariances="rotation, shift and scale of the features; duplicated data; order of classes",
        cost="two forward passes, one shared with other probes of features; n d^2 for d units",
        references=("Papyan, Han and Donoho, Prevalence of neural collapse, 2020",),
        preset="full",
        caution="falls with training time after the fit: compare at equal training loss",
    )

    def read(self, subject: Subject) -> Reading:
        """NC1; in ``parts`` NC2 (equal norms, equal angles) and, where the last layer is linear, NC3.

        Raises:
            Unavailable: There are no class labels for the rows of the last hidden layer, fewer than two
                classes, or class means that coincide.
        """
        last = layers(subject).last
        spread = _spread(subject, last)
        seen = spread.counts > 0
        classes = int(seen.sum())
        if classes < 2:
            raise Unavailable("it needs examples of two classes or more")
        means = spread.means[seen]
        centred = means - means.mean(0)
        _, s, v = torch.linalg.svd(centred, full_matrices=False)
        kept = s > RANK * torch.linalg.vector_norm(means)
        if not bool(kept.any()):
            raise Unavailable("the means of all classes coincide")
        within = spread.within / spread.counts.sum()
        inner = torch.einsum("kd,de,ke->k", v[kept], within, v[kept])
        value = float((inner / (s[kept] ** 2 / classes)).sum()) / classes
        norms = torch.linalg.vector_norm(centred, dim=1)
        parts = {"NC2 spread of norms": float(norms.std(correction=0) / norms.mean())}
        if bool((norms > 0).all()):
            unit = centred / norms[:, None]
            cosines = (unit @ unit.T)[~torch.eye(classes, dtype=torch.bool, device=unit.device)]
            parts["NC2 spread of angles"] = float((cosines + 1 / (classes - 1)).abs().mean())
        module = subject.model.get_submodule(last)
        if isinstance(module, torch.nn.Linear) and len(module.weight) == len(seen) == classes:
            weight = module.weight.detach().double()
            difference = weight / weight.norm() - centred / centred.norm()
            parts["NC3 self-duality"] = float(difference.norm())
        few = int(spread.counts[seen].min())
        return self.reading(
            value,
            no_interval="a ratio of covariances: no interval of proven coverage; measure it over seeds",
            parts=parts,
            details={"layer": last, "classes": classes, "fewest_rows_of_a_class": few},
            warnings=("a class has one row only, which has no spread",) if few == 1 else (),
        )


@dataclass
class Spread:
    """Rows by class.

    Attributes:
        counts: Rows of each class, [C].
        means: Mean of each class, [C, d].
        within: ``sum_i (h_i - m_y)(h_i - m_y)'``, [d, d].
    """

    counts: Tensor
    means: Tensor
    within: Tensor


def _spread(subject: Subject, last: str) -> Spread:
    """Means and spread of the classes in what goes into a layer. Cost: one forward pass."""
    spread: Spread | None = None
    _, total = totals(subject)
    for batch in subject.batches:
        inputs: list[Tensor] = []
        module = subject.model.get_submodule(last)
        handle = module.register_forward_pre_hook(lambda _, args, keep=inputs: keep.append(args[0]))
        try:
            with torch.no_grad(), captured(subject.model) as call:
                subject.loss(subject.model, batch)
        finally:
            handle.remove()
        single_call(call)
        subject.meter.forwards += examples(batch) / total
        logits = logits_in(call.output)
        labels = labels_in(subject, batch, logits)
        if labels is None or logits.shape[-1] < 2:
            raise Unavailable(NEEDS_LABELS)
        if len(inputs) != 1 or inputs[0].shape[:-1] != labels.shape:
            raise Unavailable(f"the rows of the input of {last} are not the rows of the labels")
        kept = labels != IGNORED
        rows, y = inputs[0][kept.to(inputs[0].device)].double(), labels[kept].to(inputs[0].device).long()
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < logits.shape[-1]:
            raise Unavailable(f"a label is none of the network's {logits.shape[-1]} outputs")
        if spread is None:
            d, classes = rows.shape[1], logits.shape[-1]
            zeros = torch.zeros(classes, d, dtype=torch.float64, device=rows.device)
            spread = Spread(zeros[:, 0].clone(), zeros, zeros.new_zeros(d, d))
        _add(spread, rows, y)
    if spread is None:
        raise Unavailable("there are no batches")
    return spread


def _add(spread: Spread, rows: Tensor, y: Tensor) -> None:
    """Merge rows into the classes (Chan, Golub and LeVeque, Updating Formulae, 1983)."""
    classes = len(spread.counts)
    counts = torch.bincount(y, minlength=classes).double()
    means = torch.zeros_like(spread.means).index_add_(0, y, rows) / counts.clamp(min=1)[:, None]
    centred = rows - means[y]
    step = means - spread.means
    both = spread.counts * counts / (spread.counts + counts).clamp(min=1)
    spread.within += centred.T @ centred + step.T @ (both[:, None] * step)
    spread.means = spread.means + step * (counts / (spread.counts + counts).clamp(min=1))[:, None]
    spread.counts = spread.counts + counts
