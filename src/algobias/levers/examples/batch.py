"""Batch size, with the learning-rate rules that go with it."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from algobias.errors import BadInput
from algobias.levers.amount import Amount
from algobias.levers.base import Card, Lever
from algobias.levers.learning_rate import warmup_between
from algobias.levers.portions import check_batch
from algobias.levers.size import rounded, whole_between
from algobias.recipe import Recipe
from algobias.spelling import number
from algobias.theory.stability import single_weight


class BatchSize(Lever):
    """Draw more (or fewer) examples per update.

    With a budget in epochs the number of updates shrinks as the batch grows. The learning rate is
    multiplied by 1 (``none``), (B'/B)^(1/2) (``sqrt``), B'/B (``linear``), or by a gain that ends where the
    gradient noise does: ``noise`` (:func:`noise_gain`), ``stable`` (:func:`stable_gain`).

    Attributes:
        size: Examples per update, or a multiple of the present ones.
        lr: Rule for the learning rate.
        noise: For ``lr=noise``: the gradient noise scale in examples (probe ``gradient_noise_scale``).
        spread: For ``lr=stable``: how uneven the curvature of single examples is, at least 1; the probe
            ``sgd_stability`` measures it.
        warmup: Where given, replaces the schedule's warm-up: updates, or a fraction of the planned ones.
    """

    name: ClassVar[str] = "batch"
    positional: ClassVar[str | None] = "size"

    size: Amount
    lr: Literal["none", "sqrt", "linear", "noise", "stable"] = "none"
    noise: float | None = Field(default=None, ge=0)
    spread: float | None = Field(default=None, ge=1)
    warmup: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _numbers(self) -> Self:
        for rule in ("noise", "spread"):
            name = {"noise": "noise", "spread": "stable"}[rule]
            if (getattr(self, rule) is not None) != (self.lr == name):
                raise BadInput(
                    f"batch.{rule}", getattr(self, rule), f"a number with lr={name}, and only then"
                )
        return self

    card: ClassVar[Card] = Card(
        summary="Draws K times as many examples per update; the learning rate follows a rule or stays.",
        saves="serial updates: at a budget in epochs K times fewer, each parallel over its batch",
        costs="memory for activations; often generalisation, or updates to get it back",
        not_injected=(
            "what a script draws is its own: take its option, like --args '--batch_size=256'; accumulate:K "
            "makes K of its batches one"
        ),
        acts_on=("data", "weights", "budget"),
        moves=("top_eigenvalue", "trace", "margin_input", "distance_from_init"),
        not_when=(
            "At equal epochs without a rate rule the damage is under-training, not bias (digits 16 to 256: "
            "2.78 points, training loss 9e-2 against 2e-4). With lr=sqrt a true gap remains at the same "
            "training loss (0.99 points; full batch 1.64). lr=linear at x16 broke it even with 40 updates "
            "of warm-up (23.5 % test accuracy). The linear rule was derived for SGD, the square root for "
            "Adam and for equal gradient noise; neither holds beyond the critical batch size. lr=noise with "
            "94 examples, measured at update 200, left 0.76 [0.50, 1.03] points on digits x16 after 40 "
            "epochs "
            "(sqrt 1.15 [0.88, 1.43]); the scale itself moved from 15 to over 90 during training. lr=stable "
            "hardly raises the rate there (spread 1.9, x1.05): 2.63 points, all under-training."
        ),
        references=(
            "Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014 (sqrt)",
            "Goyal et al., Accurate, large minibatch SGD: training ImageNet in 1 hour, 2017 (linear rule)",
            "Keskar et al., On large-batch training: generalization gap and sharp minima, 2017",
            "Hoffer, Hubara, Soudry, Train longer, generalize better, 2017",
            "McCandlish, Kaplan, Amodei et al., An empirical model of large-batch training, 2018 (noise)",
            "Mulayoff, Michaeli, Exact mean square linear stability analysis for SGD, 2024 (stable)",
            "Malladi et al., SDEs and scaling rules for adaptive gradient algorithms, 2022 (sqrt for Adam)",
        ),
        examples=(
            "batch:x16,lr=sqrt",
            "batch:256",
            "batch:x4,lr=linear,warmup=40",
            "batch:x16,lr=noise,noise=100",
            "batch:x16,lr=stable,spread=20",
        ),
        controls=(
            "sam:0.05",
            "sam:0.1",
            "sam:0.2",
            "sam:0.4",
            "lr:x2+warmup:0.3+clip:1",
            "lr:x4+warmup:0.3+clip:1",
            "lr:x2",
            "label_noise:0.1",
        ),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> BatchSize:
        """One times the present batch."""
        return cls(size=Amount(value=1, relative=True))

    def part_of(self, fraction: float, recipe: Recipe) -> BatchSize:
        """Geometric in the examples, rounded; linear in the warm-up."""
        size = whole_between(recipe.batch, self._size(recipe), fraction)
        ratio = size / recipe.batch
        relative = self.size.relative and rounded(ratio) == ratio
        options: dict[str, Any] = {"size": Amount(value=ratio if relative else size, relative=relative)}
        if self.warmup is not None:
            options["warmup"] = warmup_between(recipe, self.warmup, fraction)
        return self.with_options(**options)

    def apply(self, recipe: Recipe) -> Recipe:
        """Set the batch, the learning rate by its rule, and the warm-up where one is given.

        Raises:
            BadInput: The batch is not a whole number, larger than the training data in use, or one that parts
                of the recipe cannot divide; a rule for another optimizer.
        """
        size = self._size(recipe)
        rate = recipe.optimizer.lr * self._gain(recipe, size)
        edited = recipe.edit(batch=size, optimizer__lr=rate)
        check_batch(edited)
        return edited if self.warmup is None else edited.edit(schedule__warmup=self.warmup)

    def derivation(self, recipe: Recipe) -> str | None:
        """How the learning rate follows from the recipe's, in one line."""
        if self.lr == "none":
            return None
        size, n = self._size(recipe), recipe.used_examples
        before = recipe.batch
        said = {
            "sqrt": f"({size} / {before})^(1/2)",
            "linear": f"{size} / {before}",
            "noise": f"(1 + {self.noise:g} / {before}) / (1 + {self.noise:g} / {size})"
            if self.noise
            else "1",
            "stable": "",
        }[self.lr]
        if self.lr == "stable" and self.spread is not None:
            p, q = (single_weight(n, batch) for batch in (before, size))
            said = f"(1 + {p:.6g} x {self.spread - 1:g}) / (1 + {q:.6g} x {self.spread - 1:g})"
        return f"lr = {recipe.optimizer.lr:g} x {said} = {self.apply(recipe).optimizer.lr:.6g}"

    def _size(self, recipe: Recipe) -> int:
        exact = self.size.of(recipe.batch)
        if exact > recipe.used_examples:
            raise BadInput(
                "batch", number(exact), f"at most the {recipe.used_examples} training examples in use"
            )
        size = round(exact)
        if not math.isclose(exact, size, rel_tol=1e-9) or size < 1:
            raise BadInput("batch", str(self.size), f"a whole number of examples, not {number(exact)}")
        return size

    def _gain(self, recipe: Recipe, size: int) -> float:
        """What the learning rate is multiplied by."""
        if self.lr in ("noise", "stable") and recipe.optimizer.name != "sgd":
            raise BadInput("batch.lr", self.lr, f"none, sqrt or linear with {recipe.optimizer.name}")
        if self.lr == "noise" and self.noise is not None:
            return noise_gain(self.noise, recipe.batch, size)
        if self.lr == "stable" and self.spread is not None:
            return stable_gain(self.spread, recipe.used_examples, recipe.batch, size)
        power = {"sqrt": 0.5, "linear": 1.0}.get(self.lr, 0.0)
        return math.pow(size / recipe.batch, power)


def noise_gain(noise: float, before: int, after: int) -> float:
    """How much the best step on a quadratic grows with the batch, ``(1 + Bn / B) / (1 + Bn / B')``.

    A step of SGD lowers the expected loss most at the rate ``r / (1 + Bn / B)``, with Bn the gradient noise
    scale ``tr(H Sigma) / G' H G``, in its simple form ``tr Sigma / |G|^2``: linear in B far below Bn, flat
    above. Source: McCandlish, Kaplan, Amodei et al., An empirical model of large-batch training, 2018.

    Args:
        noise: Bn, in examples.
        before: B.
        after: B'.

    Example:
        >>> noise_gain(0, 16, 256), noise_gain(48, 16, 48)
        (1.0, 2.0)
    """
    return (1 + noise / before) / (1 + noise / after)


def stable_gain(spread: float, examples: int, before: int, after: int) -> float:
    """How much the largest rate that is stable in mean square grows with the batch.

    Along a direction v in which the Hessian of the mean loss has eigenvalue h and those of single examples
    h_i = v'H_i v, that rate is ``2 / (h (1 - p + p k))`` with ``k = mean(h_i^2) / h^2`` and p the weight of
    single examples in a batch, ``(n - B) / (B (n - 1))``: the gain is ``(1 - p + p k) / (1 - p' + p' k)``. At
    k = 1 all examples agree and the gain is 1; for large k it is the linear rule. Momentum is left out.

    Over all directions the exact threshold's inverse is a convex function of p, and linear in this rule. So
    with k taken at the batch B, ``k = 1 + (full / rate - 1) / p`` with rate and full the thresholds of B and
    of the full batch, the rule is exact at both ends and never exceeds the exact threshold in between.
    Source of the threshold: Mulayoff, Michaeli, Exact mean square linear stability analysis for SGD, 2024.

    Args:
        spread: k.
        examples: n.
        before: B.
        after: B'.

    Example:
        >>> stable_gain(1.25, 100, 1, 100)    # curvatures 1 and 3: rate .8 at batch 1, 1 at full batch
        1.25
    """
    p, q = single_weight(examples, before), single_weight(examples, after)
    return (1 - p + p * spread) / (1 - q + q * spread)
