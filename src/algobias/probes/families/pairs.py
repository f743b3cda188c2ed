"""Two runs of one network: where their predictions differ, and what lies between their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from algobias.lazy import no_grad, torch
from algobias.probes.base import Card, Probe
from algobias.probes.passes.calls import captured, labels_in, logits_in, single_call
from algobias.probes.passes.losses import totals
from algobias.probes.passes.rows import NEEDS_LABELS
from algobias.probes.passes.samples import share_interval
from algobias.probes.passes.states import State, loss_with, mean_loss_with, other_state, own_state
from algobias.probes.passes.ways import require_swapping
from algobias.probes.passes.weighing import IGNORED, examples
from algobias.probes.reading import Interval, Reading, Unavailable
from algobias.probes.subject import Subject
from algobias.spelling import Whole

if TYPE_CHECKING:
    from torch import Tensor


class PredictionChurn(Probe):
    """Share of examples of which two runs say different things."""

    name: ClassVar[str] = "prediction_churn"
    card: ClassVar[Card] = Card(
        summary="Share of examples (or unmasked tokens) on which two runs predict different classes",
        family="function",
        formula="P[argmax_j f_j(x) != argmax_j g_j(x)] over examples x, f and g the networks of the two runs",
        unit="share",
        invariances="every rescaling of logits or weights that keeps each network's predictions",
        cost="two forward passes",
        references=("Milani Fard et al., Launch and Iterate: Reducing Prediction Churn, 2016",),
        preset=None,
        needs=("other",),
        caution="on training examples both runs have fitted it is zero: measure it on unseen ones",
    )

    def read(self, subject: Subject) -> Reading:
        """The share with Wilson's interval; in ``parts`` how often either run alone is right.

        Raises:
            Unavailable: There are no class labels, or the other run's weights do not fit.
        """
        state, warnings = other_state(subject, subject.other or {})
        own = own_state(subject)
        mine, theirs, labels, groups, start = [], [], [], [], 0
        sequences = False
        for batch in subject.batches:
            first, wanted = self._predict(subject, own, batch)
            second, _ = self._predict(subject, state, batch)
            kept = (wanted != IGNORED).nonzero()
            place = tuple(kept.T)
            sequences = sequences or wanted.dim() > 1
            mine.append(first[place])
            theirs.append(second[place])
            labels.append(wanted[place])
            groups.append(kept[:, 0] + start)
            start += examples(batch)
        a, b, y = (torch.cat(parts).cpu().numpy() for parts in (mine, theirs, labels))
        if not len(a):
            raise Unavailable("every row is masked")
        owner = torch.cat(groups).cpu().numpy() if sequences else None
        parts = {
            "only this run right": float(((a == y) & (b != y)).mean()),
            "only the other run right": float(((a != y) & (b == y)).mean()),
            "both wrong, differently": float(((a != y) & (b != y) & (a != b)).mean()),
        }
        return self.reading(
            float((a != b).mean()),
            subset=share_interval(a != b, owner),
            parts=parts,
            details={"rows": len(a)},
            warnings=warnings,
        )

    @no_grad
    def _predict(self, subject: Subject, state: State, batch: Any) -> tuple[Tensor, Tensor]:
        require_swapping(subject)
        with captured(subject.model) as call:
            loss_with(subject, state, batch)
        single_call(call)
        subject.meter.forwards += examples(batch) / totals(subject)[1]
        logits = logits_in(call.output)
        labels = labels_in(subject, batch, logits)
        if labels is None or labels.shape != logits.shape[:-1]:
            raise Unavailable(NEEDS_LABELS)
        if logits.shape[-1] == 1:
            return (logits[..., 0] > 0).long(), (labels > 0).long()
        return logits.argmax(-1), labels


class LossBarrier(Probe):
    """Height of the loss on the straight line between the weights of two runs.

    Attributes:
        points: Into how many steps the line is cut.
    """

    name: ClassVar[str] = "loss_barrier"
    points: Annotated[Whole, Field(ge=4, multiple_of=2)] = 20
    card: ClassVar[Card] = Card(
        summary="How far the loss between two runs rises above the straight line between their losses",
        family="function",
        formula="max over t in [0, 1] of L((1-t) a + t b) - (1-t) L(a) - t L(b), a and b the runs' weights",
        unit="loss",
        invariances=(
            "exchanging the runs; not permutations of units or rescalings of one run alone, which leave its "
            "function as it is"
        ),
        cost="21 forward passes",
        references=(
            "Frankle et al., Linear Mode Connectivity and the Lottery Ticket Hypothesis, 2020",
            "Entezari et al., The Role of Permutation Invariance in Linear Mode Connectivity, 2022",
        ),
        preset=None,
        needs=("other",),
        caution="two networks with one function have a barrier where their units are ordered differently",
        examples=("loss_barrier", "loss_barrier:points=40"),
    )

    def read(self, subject: Subject) -> Reading:
        """The barrier on the grid, a lower bound, and an upper bound from second differences.

        Raises:
            Unavailable: The other run's weights do not fit, or a loss on the way is not finite.
        """
        theirs, warnings = other_state(subject, subject.other or {})
        own = own_state(subject)
        if any(b.is_floating_point() for _, b in subject.model.named_buffers()):
            warnings += (
                "buffers (BatchNorm's statistics) are interpolated as well: re-estimated ones may lower it",
            )
        grid = np.linspace(0, 1, self.points + 1)
        losses = np.array([mean_loss_with(subject, between(own, theirs, float(t))) for t in grid])
        rise = losses - (1 - grid) * losses[0] - grid * losses[-1]
        rise[[0, -1]] = 0.0
        value, coarse = float(rise.max()), float(rise[::2].max())
        beyond = max(float(np.abs(np.diff(losses, 2)).max()) / 8, value - coarse)
        condition = (
            "the second derivative along the line is nowhere larger than its largest difference on the grid"
        )
        return self.reading(
            value,
            numerical=Interval(value, value + beyond, None, condition),
            parts={"loss": float(losses[0]), "loss of the other": float(losses[-1])},
            details={"at": float(grid[int(rise.argmax())]), "losses": losses.tolist()},
            warnings=warnings,
        )


def between(one: State, two: State, t: float) -> State:
    """(1 - t) one + t two for real tensors; the others are the first's."""
    return {n: torch.lerp(a, two[n], t) if a.is_floating_point() else a for n, a in one.items()}
