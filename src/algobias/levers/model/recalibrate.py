"""BatchNorm statistics estimated anew for the weights that are evaluated."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from algobias.lazy import torch
from algobias.levers.base import Card, Part, Statistics
from algobias.levers.context import Context
from algobias.levers.step import State
from algobias.recipe import Recipe
from algobias.seeding.streams import generator


class Recalibrate(Part):
    """Before an evaluation, BatchNorm statistics are the plain mean over batches at the evaluated weights.

    Training itself is unchanged: only what is evaluated differs. The batches are the first of a random order
    that belongs to the seed, in the recipe's size; everything but the normalisations is in evaluation mode.
    Cost: K forward passes before each evaluation (in use: once, before the network is used); they are not
    counted among the costs of training.

    Attributes:
        batches: K, number of batches; 0 leaves the statistics of training.
    """

    name: ClassVar[str] = "recalibrate"
    positional: ClassVar[str | None] = "batches"

    batches: int = Field(ge=0, le=100_000)

    card: ClassVar[Card] = Card(
        summary="Estimates BatchNorm statistics anew over some training batches before each evaluation.",
        saves="nothing",
        costs="forward passes over some training batches before the network is used",
        not_injected="which batches an evaluation may go over only the script knows: it goes into the script",
        acts_on=("readout",),
        moves=(),
        not_when=(
            "Repairs statistics that do not belong to the weights (averaged weights, workers that drifted "
            "apart, another image size) and nothing else. Where the network itself was trained for something "
            "else it does little: at another image size 0 to 5 % of the gap came back. Does nothing in a "
            "network without BatchNorm."
        ),
        references=(
            "Izmailov et al., Averaging weights leads to wider optima and better generalization, 2018 "
            "(section 3.2)",
            "Wu, Johnson, Rethinking 'batch' in BatchNorm, 2021",
        ),
        examples=("recalibrate:8", "recalibrate:100"),
        needs=("batch_norm",),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> Recalibrate:
        """The statistics of training."""
        return cls(batches=0)

    def readout(
        self, weights: State, statistics: Statistics, context: Context, seeds: tuple[int, ...]
    ) -> State:
        """The same weights with statistics of their own.

        Reference: :func:`torch.optim.swa_utils.update_bn`, which a user's own loop can call.
        """
        if not self.batches or not any(name.endswith("running_mean") for name in weights.buffers):
            return weights
        size = context.recipe.batch
        order = torch.from_numpy(generator(seeds[0], "recalibrate", 0).permutation(context.examples))
        chosen = context.used[order[: self.batches * size]]
        # A last batch of one example has no spread.
        parts = [part for part in chosen.split(size) if len(part) > 1]
        batches = (context.gather(part, seeds[:1], 0) for part in parts)
        return replace(weights, buffers=statistics(weights, batches))
