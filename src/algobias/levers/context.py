"""What a part may know about the run it acts in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from algobias.recipe import Recipe

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Context:
    """What a part may know about the run it acts in.

    Attributes:
        recipe: The run's recipe.
        examples: Number of training examples in use.
        classes: Number of classes, or None where the labels are not classes.
        replace_labels: (batch, labels) -> batch with other labels; None where the task has no labels.
        labels: batch -> its labels, [..., B]; None where the task has no labels.
        weight: batch -> how much each example counts in the loss's mean, [B]; None: all alike.
        used: Training examples in use, [n].
        all_labels: Labels of all training examples, or None.
        gather: (index [..., B], seeds, epoch) -> the batch of these examples.
        keys: Names of the buffers that random numbers of rounded layers follow.
    """

    recipe: Recipe
    examples: int
    classes: int | None = None
    labels: Any = None
    replace_labels: Any = None
    weight: Any = None
    used: Any = None
    all_labels: Any = None
    gather: Any = None
    keys: tuple[str, ...] = ()
