"""Losses that grow with the batch: their pieces do not join as means."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from algobias.errors import Unfit
from algobias.seeding.states import own_randomness
from algobias.training.engine.network import Network
from algobias.training.engine.stacking import agreement
from algobias.trees import map_trees, to_device

EXAMPLES = 4
"""Examples on which it is tried."""


def require_mean(names: Sequence[str], network: Network) -> None:
    """Refuse parts that join pieces of a batch as means where the loss of a batch is a sum.

    The gradient of the batch would come out divided by the number of pieces, or of what has been left out.

    Args:
        names: Of the parts that take a batch in pieces; nothing is tried where there is none.
        network: As it was made; its template is put in evaluation mode.

    Raises:
        BadInput: The loss is a sum; named after the parts.
    """
    if names and is_sum(network):
        raise Unfit(
            " and ".join(names),
            "the loss of a batch is a sum over its examples, and pieces of a batch are joined as means",
            f"a loss that is a mean over the batch (reduction='mean'; at {network.recipe.batch} times the "
            "rate it trains as the sum does)",
        )


@torch.no_grad()
def is_sum(network: Network) -> bool:
    """Whether the loss grows by the same amount each time that the same examples join the batch again.

    Cost: three forward passes of up to twelve examples.
    """
    source, model = network.task.train, network.template.eval()
    size = min(EXAMPLES, len(source))
    rows = torch.linspace(0, len(source) - 1, size).long()
    batch = to_device(source.gather(rows, (0,), 0), network.device)
    losses = []
    with own_randomness():
        for times in (1, 2, 3):
            places = torch.arange(size, device=network.device).repeat(times)
            repeated = map_trees(lambda leaf, at=places: leaf[at] if leaf.dim() else leaf, batch)
            try:
                losses.append(float(network.task.loss(model, repeated)))
            except Exception:  # what is wrong with the loss shows where it is trained
                return False
    once, twice, thrice = losses
    near = agreement(next(model.parameters()).dtype)
    grown = twice - once
    return abs(grown) > near * abs(once) and abs(thrice - twice - grown) <= near * abs(grown)
