"""How the network's function answers to changes of its input: gradients and shifts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algobias.lazy import torch
from algobias.probes.base import Card, Probe
from algobias.probes.passes.calls import captured, labels_in, logits_in, single_call
from algobias.probes.passes.losses import totals
from algobias.probes.passes.rows import NEEDS_LABELS, slope_rows
from algobias.probes.passes.samples import mean_interval, quantile, share_interval, skewed, subset
from algobias.probes.passes.weighing import examples, weighing
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor


class InputGradientNorm(Probe):
    """Mean norm of the gradient of the margin by the input."""

    name: ClassVar[str] = "input_gradient_norm"
    revision: ClassVar[int] = 2
    card: ClassVar[Card] = Card(
        summary="How steeply margins change with the input",
        family="function",
        formula=(
            "mean over examples i that are not masked of ||grad_x m_i||_2, m_i the true logit minus the best "
            "other, x the input or the whole embedded token sequence; of a sequence m_i of one unmasked "
            "token, drawn at random"
        ),
        unit="logits per input unit",
        invariances="rescalings of weights that leave the function as it is; it scales with the logits",
        cost="one gradient, shared with margin_input",
        references=(
            "Drucker and Le Cun, Improving Generalization Performance Using Double Backpropagation, 1992",
            "Novak et al., Sensitivity and Generalization in Neural Networks, 2018",
        ),
        preset="cheap",
        caution="grows with the margins themselves: margin_input is their ratio",
    )

    def read(self, subject: Subject) -> Reading:
        """The mean with its interval over examples, and quantiles.

        Raises:
            Unavailable: There are no class labels, or no input to differentiate by.
        """
        rows = slope_rows(subject)
        slopes = rows.slopes
        if slopes is None:  # never: slope_rows always has them
            raise Unavailable("there are no input gradients")
        return self.reading(
            float(slopes.mean()),
            parts={f"p{100 * q:g}": quantile(slopes, q) for q in (0.1, 0.5, 0.9)},
            details={"rows": len(slopes), "with_respect_to": rows.source},
            warnings=(*rows.warnings, *skewed(slopes)),
            **subset(mean_interval(slopes), len(slopes)),
        )


class ShiftConsistency(Probe):
    """Share of images of which the predicted class stays when they move by one pixel."""

    name: ClassVar[str] = "shift_consistency"
    card: ClassVar[Card] = Card(
        summary="How often the predicted class stays when an image moves by one pixel, wrapping around",
        family="function",
        formula=(
            "P[argmax_j f_j(x) = argmax_j f_j(shifted x)] over images x and the four circular shifts by one "
            "pixel, one shift drawn for each image"
        ),
        unit="share",
        invariances="every change of weights or logits that keeps all predictions",
        cost="two forward passes",
        references=("Zhang, Making Convolutional Networks Shift-Invariant Again, 2019",),
        preset="standard",
        caution="wrapping around moves the border too: nothing happens there only where it is uniform",
    )

    def read(self, subject: Subject) -> Reading:
        """The share, with Wilson's interval over images and their shifts.

        Raises:
            Unavailable: The inputs are no images [B, channels, height, width], or there are no class labels.
        """
        doubt = weighing(subject).doubt
        if doubt is not None:
            raise Unavailable(f"the prediction of one example needs examples that stand alone: {doubt}")
        generator = subject.generator("shifts")
        _, count = totals(subject)
        same = []
        for batch in subject.batches:
            directions = torch.randint(0, 4, (examples(batch),), generator=generator)
            predictions = []
            for moved in (False, True):

                def change(x: Tensor, moved: bool = moved, directions: Tensor = directions) -> Tensor:
                    return _shifted(x, directions) if moved else _image(x)

                with torch.no_grad(), captured(subject.model, change=change) as call:
                    subject.loss(subject.model, batch)
                single_call(call)
                if not call.inputs:
                    raise Unavailable("the model takes no real-valued input that could be an image")
                logits = logits_in(call.output)
                labels = labels_in(subject, batch, logits)
                if labels is None or logits.dim() != 2 or logits.shape[1] < 2:
                    raise Unavailable(NEEDS_LABELS)
                predictions.append(logits.argmax(1))
                subject.meter.forwards += examples(batch) / count
            same.append(predictions[0] == predictions[1])
        hits = torch.cat(same).cpu().numpy()
        return self.reading(float(hits.mean()), subset=share_interval(hits), details={"images": len(hits)})


def _image(x: Tensor) -> Tensor:
    if x.dim() != 4 or min(x.shape[2:]) < 2:
        raise Unavailable(
            f"inputs of shape {tuple(x.shape[1:])} are no images: it needs [channels, height, width]"
        )
    return x


def _shifted(x: Tensor, directions: Tensor) -> Tensor:
    """Each image moved by one pixel, wrapping around: 0 down, 1 up, 2 right, 3 left."""
    moves = ((1, -2), (-1, -2), (1, -1), (-1, -1))
    all_ways = torch.stack([torch.roll(x, by, dim) for by, dim in moves])
    return all_ways[directions.to(x.device), torch.arange(len(x), device=x.device)]
