"""Whether a batch may be computed in parts: is the loss of a batch the mean of its parts' losses?"""

from __future__ import annotations

from dataclasses import replace

import torch

from algobias.levers.registry import build_part
from algobias.probes.passes.weighing import weighing
from algobias.probes.reading import Unavailable
from algobias.recipe import Recipe
from algobias.tasks.task import Task
from algobias.training.before.sums import is_sum
from algobias.training.engine.network import Network
from algobias.training.evaluation import EVALUATION_BATCH
from algobias.training.subjects import subject_of

TRIED = 64
"""Training examples on which the loss is tried."""


SUMMED = (
    "the loss of a batch is a sum: training losses are sums over up to "
    f"{EVALUATION_BATCH} examples, and a larger batch makes larger steps"
)


def sum_remark(recipe: Recipe, task: Task) -> str | None:
    """What to mind about a loss that is a sum over the batch, or None.

    Args:
        recipe: Any of the task.
        task: Its task.
    """
    plain = recipe.edit(parts=(), engine="looped")
    return SUMMED if is_sum(Network(task, plain, (), torch.device("cpu"))) else None


def split_doubt(recipe: Recipe, task: Task) -> str | None:
    """Why the pieces of a batch do not add up to it in this recipe, or None.

    Pieces are joined as means over examples, or over what the task says that each example counts. The loss
    is tried on up to 64 training examples with an untrained network in evaluation mode.

    Args:
        recipe: The recipe.
        task: Its task.
    """
    splits = [part.name for part in map(build_part, recipe.parts) if part.splits(recipe)]
    if not splits:
        return None
    plain = recipe.edit(parts=(), engine="looped")
    state = Network(task, plain, (), torch.device("cpu")).initial(0)
    weights = {**state.layout.views(state.params), **state.buffers}
    used = min(TRIED, recipe.used_examples)
    subject = replace(subject_of(task, plain, weights, examples=used), reduction=None)
    subject.model.eval()
    try:
        rule = weighing(subject)
    except Unavailable:
        return None
    words = " and ".join(splits)
    if rule.doubt is not None:
        return f"{words}: pieces of a batch do not add up to the batch: {rule.doubt.partition(';')[0]}"
    if rule.reduction == "sum":
        return f"{words}: the loss of a batch is a sum, and pieces of it are joined as means: use a mean"
    if rule.unit not in ("given", "examples"):
        return (
            f"{words}: pieces of a batch do not add up to the batch: it is a mean over {rule.unit}; give the "
            "task a weight, which says how much each example counts"
        )
    return None
