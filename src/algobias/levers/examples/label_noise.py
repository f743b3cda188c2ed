"""Label noise: some labels are replaced each time they are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.levers.base import Card, Part
from algobias.levers.context import Context
from algobias.levers.size import between
from algobias.levers.step import Batch, Key, Sampler
from algobias.recipe import Recipe
from algobias.seeding.streams import generator

if TYPE_CHECKING:
    from torch import Tensor

KEPT = -1


def replacements(seed: int, epoch: int, examples: int, classes: int, p: float) -> Tensor:
    """The label each example gets in one epoch: a uniform class with probability p, else -1 (its own).

    Fixed by (seed, epoch), whatever the batch size; the examples replaced at a smaller p are among those
    replaced at a larger one, with the same labels.

    Args:
        seed: Seed of the run.
        epoch: Pass over the data.
        examples: n, all training examples.
        classes: Number of classes; the replacement may hit the right one.
        p: Probability of replacement.

    Returns:
        Integers, [n].

    Example:
        >>> labels = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
        >>> drawn = torch.tensor([0, 2, 4, 6])                  # the examples of a batch
        >>> new = replacements(seed=0, epoch=0, examples=8, classes=10, p=0.5)[drawn]
        >>> torch.where(new < 0, labels[drawn], new)
        tensor([0, 3, 9, 1])
    """
    stream = generator(seed, "label_noise", epoch)
    chosen, label = stream.random(examples) < p, stream.integers(0, classes, examples)
    return torch.where(torch.from_numpy(chosen), torch.from_numpy(label), KEPT)


class LabelNoise(Part):
    """Replace each label drawn, with probability p, by one uniform over all classes.

    Attributes:
        p: Probability of replacement.
    """

    name: ClassVar[str] = "label_noise"
    positional: ClassVar[str | None] = "p"

    p: float = Field(ge=0, le=1)

    card: ClassVar[Card] = Card(
        summary="Replaces each label drawn by a random class with probability p, afresh every time.",
        saves="nothing",
        costs="training loss: it no longer goes to zero, so arms are matched on the training metric instead",
        not_injected=(
            "a batch does not say which examples it holds, in which epoch, nor which numbers are labels: "
            "take the script's own option, like --args '--label_noise=0.1'"
        ),
        acts_on=("labels",),
        moves=("trace",),
        not_when=(
            "Helps runs with little gradient noise of their own and hurts the others: at p = .1 digits "
            "batch 256 rose to 97.37 % (1.47 [1.22, 1.78] of its gap), the baseline at batch 16 fell from "
            "96.90 to 96.14 %. Results vary with the data order by .7 points. Needs classes; training "
            "losses under it mean nothing."
        ),
        references=(
            "Blanc et al., Implicit regularization driven by an Ornstein-Uhlenbeck like process, 2020",
            "HaoChen et al., Shape matters: understanding the implicit bias of the noise covariance, 2021",
            "Damian, Ma, Lee, Label noise SGD provably prefers flat global minimizers, 2021",
        ),
        examples=("label_noise:0.1",),
        alters_loss=True,
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> LabelNoise:
        """No label replaced."""
        return cls(p=0.0)

    def part_of(self, fraction: float, recipe: Recipe) -> LabelNoise:
        """Linear in the probability; geometric where the recipe has one."""
        return self.with_options(p=between(self.size_from(recipe, "p"), self.p, fraction))

    def sampler(self, sampler: Sampler, context: Context) -> Sampler:
        """Replace labels of the batches drawn.

        Raises:
            BadInput: The task's labels are not classes.
        """
        if context.classes is None or context.labels is None or context.replace_labels is None:
            raise BadInput("label_noise", context.recipe.task, "a task whose labels are classes")
        examples, classes = context.recipe.examples, context.classes
        # Examples are numbered within all training data, so that arms on a part of them share the draws.
        kept: dict[tuple[int, ...], tuple[int, Tensor]] = {}

        def table(key: Key) -> Tensor:
            found = kept.get(key.seeds)
            if found is None or found[0] != key.epoch:
                rows = [replacements(seed, key.epoch, examples, classes, self.p) for seed in key.seeds]
                kept.clear()
                found = kept[key.seeds] = key.epoch, torch.stack(rows).to(key.index.device)
            return found[1]

        def noisy(update: int, seeds: tuple[int, ...]) -> tuple[Batch, Key]:
            batch, key = sampler(update, seeds)
            labels = context.labels(batch)
            rows = key.index.reshape(len(key.seeds), -1)
            new = table(key).gather(1, rows).view_as(key.index).to(labels)
            return context.replace_labels(batch, torch.where(new == KEPT, labels, new)), key

        return noisy
