"""Losses of groups of examples: a mean over all hides what is not fitted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from algobias.lazy import torch
from algobias.probes.base import Card, Probe
from algobias.probes.passes.losses import checked
from algobias.probes.passes.weighing import example, examples, weighing
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.subject import Subject
from algobias.tasks.keys import ink
from algobias.trees import map_trees

if TYPE_CHECKING:
    from torch import Tensor


class GroupLoss(Probe):
    """Training loss of the examples above a quantile of a key, and of those below.

    Attributes:
        by: What examples are grouped by: the sum of the input, pixels say (``ink``), or how much an
            example counts in the loss, unmasked tokens say (``length``).
        quantile: Where the groups part, over the examples read.
        group: Whose loss is the value.
    """

    name: ClassVar[str] = "group_loss"
    positional: ClassVar[str | None] = "quantile"
    card: ClassVar[Card] = Card(
        summary="Training loss of the examples with much ink, or of the long ones; the others beside it",
        family="function",
        formula="mean loss over the examples whose key is above (or below) its quantile; both as parts",
        unit="nats, or as the loss",
        invariances="whatever leaves the loss of every example unchanged",
        cost="one forward pass",
        references=("Sagawa et al., Distributionally robust neural networks for group shifts, 2020",),
        preset=None,
        caution=(
            "a change that drops examples by content can fit the rest as well as before: compare the group, "
            "not the mean"
        ),
        examples=("group_loss", "group_loss:by=ink,quantile=0.6", "group_loss:0.6,group=below"),
    )

    by: Literal["ink", "length"] = "ink"
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    group: Literal["above", "below"] = "above"

    def read(self, subject: Subject) -> Reading:
        """The loss of one group; both groups and their sizes as parts and details."""
        batches = list(subject.batches)
        if not batches:
            raise Unavailable("there are no batches")
        keys = [self._keys(subject, batch) for batch in batches]
        everything = torch.cat(keys)
        limit = torch.quantile(everything.double(), self.quantile)
        rule = weighing(subject)
        sums, weights, sizes = [0.0, 0.0], [0.0, 0.0], [0, 0]
        with torch.no_grad():
            for batch, key in zip(batches, keys, strict=True):
                for group, chosen in enumerate((key.double() > limit, key.double() <= limit)):
                    if not bool(chosen.any()):
                        continue
                    part = _rows(batch, chosen)
                    weight = rule.weigh(part)
                    if weight > 0:
                        loss = float(checked(subject.loss(subject.model, part)))
                        sums[group] += rule.share(part) * loss
                        weights[group] += weight
                        sizes[group] += int(chosen.sum())
                subject.meter.forwards += examples(batch) / len(everything)
        if not all(weights):
            told = f"all examples have the same {self.by}" if not sizes[0] else "a group weighs nothing"
            raise Unavailable(f"{told}: there are no two groups")
        above, below = (total / weight for total, weight in zip(sums, weights, strict=True))
        parts = {"above": above, "below": below}
        if below > 0 and above > 0:
            parts["log_ratio"] = math.log(above / below)
        details = {"by": self.by, "limit": float(limit), "above": sizes[0], "below": sizes[1]}
        value = parts[self.group]
        return self.reading(value, parts=parts, details=details, no_interval="all examples are read")

    def _keys(self, subject: Subject, batch: Any) -> Tensor:
        if self.by == "ink":
            return ink(batch)
        weigh = weighing(subject).weigh
        return torch.tensor([weigh(example(batch, place)) for place in range(examples(batch))])


def _rows(batch: Any, chosen: Tensor) -> Any:
    """The chosen examples of a batch; tensors without a first dimension are kept."""
    return map_trees(lambda t: t[chosen.to(t.device)] if t.ndim else t, batch)
