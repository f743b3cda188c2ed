"""Scale-invariant layers (followed by a normalisation): which they are, and how fast they turn."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from algobias.lazy import torch
from algobias.probes.base import Card, Probe
from algobias.probes.passes.losses import loss_at, totals
from algobias.probes.passes.weighing import examples
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor, nn

SCALES = (0.5, 2.0)
SHARE = 0.02
"""A layer is scale-invariant where halving and doubling its weights changes the loss by less than this share
of what other weights of the same norm change."""

HOFFER = "Hoffer et al., Norm matters: efficient and accurate normalization schemes in deep networks, 2018"
VAN_LAARHOVEN = "van Laarhoven, L2 Regularization versus Batch and Weight Normalization, 2017"


class EffectiveLearningRate(Probe):
    """Learning rate relative to the squared norm of scale-invariant layers."""

    name: ClassVar[str] = "effective_learning_rate"
    card: ClassVar[Card] = Card(
        summary="Learning rate that layers followed by a normalisation really see",
        family="norms",
        formula=(
            "median over scale-invariant layers l of eta / ||w_l||^2, eta = lr / (1 - momentum); for Adam, "
            "AdamW and sign descent lr / ||w_l||"
        ),
        unit="learning rate per squared norm",
        invariances="a factor on a layer's weights together with its square on the learning rate",
        cost="three to five forward passes of the first batch for each weight matrix",
        references=(HOFFER, VAN_LAARHOVEN),
        preset=None,
        needs=("training",),
        caution="changes through weight norms alone, at the same nominal learning rate",
    )

    def read(self, subject: Subject) -> Reading:
        """The median, and the value of each scale-invariant layer.

        Raises:
            Unavailable: No layer is scale-invariant.
        """
        training = subject.training
        if training is None:
            raise Unavailable("it needs training")
        adaptive = training.name != "sgd"
        eta = training.lr if adaptive else training.lr / (1 - training.momentum)
        norms = {name: _norm(subject.trained, group) for name, group in scale_invariant(subject).items()}
        parts = {name: eta / norm ** (1 if adaptive else 2) for name, norm in norms.items()}
        return self.reading(
            statistics.median(parts.values()),
            unit="learning rate per norm" if adaptive else self.card.unit,
            no_interval="computed exactly from the weights",
            parts=parts,
            details={"eta": eta, "norms": norms},
        )


class AngularUpdate(Probe):
    """Angle by which scale-invariant layers turn in one update."""

    name: ClassVar[str] = "angular_update"
    card: ClassVar[Card] = Card(
        summary="Angle by which layers followed by a normalisation turn in one update",
        family="norms",
        formula=(
            "median over scale-invariant layers of the mean over successive moments kept of the angle "
            "between w_t and w_t+k, over k updates; k the smallest step kept"
        ),
        unit="radians per update",
        invariances="any factor on the weights of a layer, its own at each moment",
        cost="three to five forward passes of the first batch for each weight matrix",
        references=(VAN_LAARHOVEN, "Wan et al., Spherical Motion Dynamics, 2021"),
        preset=None,
        needs=("history",),
        caution="over several updates it is a lower bound of the mean angle of one",
    )

    def read(self, subject: Subject) -> Reading:
        """The median angle; in ``details`` that of the equilibrium of SGD with weight decay.

        The equilibrium angle is ``sqrt(2 lr weight_decay / (1 + momentum))``, to first order in the product.

        Raises:
            Unavailable: No layer is scale-invariant, or there is one moment only.
        """
        moments: list[tuple[int, Mapping[str, Tensor]]] = list(subject.history)
        if subject.updates is not None and all(t < subject.updates for t, _ in moments):
            moments.append((subject.updates, {n: p.detach() for n, p in subject.trained.items()}))
        steps = [(b[0] - a[0], a[1], b[1]) for a, b in pairwise(moments) if b[0] > a[0]]
        if not steps:
            raise Unavailable("it needs weights at two updates or more")
        gap = min(step[0] for step in steps)
        used = [(before, after) for k, before, after in steps if k == gap]
        parts = {}
        for name, group in scale_invariant(subject).items():
            for weights in (w for pair in used for w in pair):
                if any(
                    one not in weights or weights[one].shape != subject.trained[one].shape for one in group
                ):
                    raise Unavailable(f"the weights of the history do not fit the model: {name}")
            angles = [angle(_joined(before, group), _joined(after, group)) for before, after in used]
            parts[name] = statistics.fmean(angles) / gap
        details = {"updates_between": gap, "pairs": len(used), "equilibrium": self._equilibrium(subject)}
        warning = f"weights are {gap} updates apart: a lower bound of the mean angle of one update"
        return self.reading(
            statistics.median(parts.values()),
            no_interval="computed exactly from the weights kept",
            parts=parts,
            details=details,
            warnings=(warning,) if gap > 1 else (),
        )

    def _equilibrium(self, subject: Subject) -> float | None:
        training = subject.training
        if training is None or training.name != "sgd" or training.weight_decay == 0:
            return None
        if training.least_decay is not None:  # which layers decay, and by how much, is not known
            return None
        return math.sqrt(2 * training.lr * training.weight_decay / (1 + training.momentum))


def angle(one: Tensor, two: Tensor) -> float:
    """Angle between two vectors in radians, accurate for small ones (Kahan's formula)."""
    a, b = one / one.norm(), two / two.norm()
    return 2 * math.atan2(float((a - b).norm()), float((a + b).norm()))


def scale_invariant(subject: Subject) -> dict[str, tuple[str, ...]]:
    """Weight matrices whose scale the loss does not depend on: name -> parameters that scale together.

    Found by trying, with the batch's own statistics in BatchNorm (as in training): the weight is halved and
    doubled, alone and then with the bias of its module. Cost: three to five forward passes of the first
    batch for each weight matrix, once for each measurement.

    Raises:
        Unavailable: There is none.
    """
    found: dict[str, tuple[str, ...]] = subject.shared("scale_invariant", lambda: _scale_invariant(subject))
    if not found:
        raise Unavailable("no weight matrix is scale-invariant: none is followed by a normalisation")
    return found


def _scale_invariant(subject: Subject) -> dict[str, tuple[str, ...]]:
    batch = next(iter(subject.batches))
    share = examples(batch) / totals(subject)[1]
    generator = subject.generator("scale invariance")
    found = {}

    def loss(params: dict[str, Tensor]) -> float:
        subject.meter.forwards += share
        return float(loss_at(subject, params, batch))

    with torch.no_grad(), batch_statistics(subject.model):
        plain = loss({})
        for name, p in subject.trained.items():
            if p.dim() < 2 or not bool(p.any()):
                continue
            noise = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
            other = abs(loss({name: p + noise * (p.norm() / noise.norm())}) - plain)
            if not other > 1e-5 * abs(plain) + 1e-9:  # a layer that does nothing is not counted
                continue
            bias = name.removesuffix("weight") + "bias"
            groups: list[tuple[str, ...]] = [(name,)]
            if bias != name and bias in subject.trained and bool(subject.trained[bias].any()):
                groups.append((name, bias))
            for group in groups:
                scaled = [{one: c * subject.trained[one] for one in group} for c in SCALES]
                if all(abs(loss(params) - plain) <= SHARE * other for params in scaled):
                    found[name] = group
                    break
    return found


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """BatchNorm normalises by the batch inside, as in training; modes are put back."""
    normalised = (torch.nn.modules.batchnorm._BatchNorm, torch.nn.modules.instancenorm._InstanceNorm)
    modes = {m: m.training for m in model.modules() if isinstance(m, normalised)}
    try:
        for module in modes:
            module.training = True
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _joined(weights: Mapping[str, Tensor], group: tuple[str, ...]) -> Tensor:
    return torch.cat([weights[name].detach().double().reshape(-1) for name in group])


def _norm(weights: Mapping[str, Tensor], group: tuple[str, ...]) -> float:
    return float(_joined(weights, group).norm())
