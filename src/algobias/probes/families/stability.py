"""Stability: how near training is to the edge where its minimum can no longer be kept."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from algobias.lazy import torch
from algobias.probes.base import Card, Probe
from algobias.probes.families.curvature import EDGE, EffectiveSharpness
from algobias.probes.passes.draws import random_batches
from algobias.probes.passes.losses import checked, flatten, require_graph, told_scale, totals, trained_scale
from algobias.probes.passes.output_rows import gram
from algobias.probes.passes.samples import mean_interval, skewed
from algobias.probes.passes.ways import require_whole_graph
from algobias.probes.passes.weighing import weighing
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.subject import Subject, Training
from algobias.spelling import Whole
from algobias.theory.stability import batch_sharpness_plateaus, mean_square_threshold_from_gram

if TYPE_CHECKING:
    from torch import Tensor

MULAYOFF = "Mulayoff and Michaeli, Exact mean square linear stability analysis for SGD, 2024"
GILADI = "Giladi, Nacson, Hoffer and Soudry, At stability's edge, 2020"
ANDREYEV = "Andreyev and Beneventano, Edge of stochastic stability, 2024"


class StabilityMargin(Probe):
    """Sharpness over the threshold of the optimizer that is used.

    Attributes:
        tolerance: Relative residual at which Lanczos stops; from a direction known before, relative error.
        most: Hessian-vector products at most.
    """

    name: ClassVar[str] = "stability_margin"
    revision: ClassVar[int] = 3  # 1 took random delays for fixed ones; 2 took sums over the batch for means
    card: ClassVar[Card] = Card(
        summary="sharpness over the threshold of the optimizer, momentum and delay in use: 1 is the edge",
        family="stability",
        formula="lr (lambda_max(D H D) + weight decay) / c; D H D as in effective_sharpness, c the critical "
        "product: 2 for gradient descent, 2 + 2m with momentum m, (2 + 2m) / (1 + 2m) with Nesterov's, "
        "2 sin(pi / (4 delay + 2)) with stale gradients, (2 + 2 beta1) / (1 - beta1) for Adam; where "
        "parameters differ in weight decay the largest, with the smallest in the lower bound",
        unit="1 (the edge is 1)",
        invariances="batching, order and duplication of the data; the scale of the loss and of the weights "
        "where the learning rate follows it",
        cost="about 10 Hessian-vector products",
        references=(EDGE, GILADI),
        preset="standard",
        needs=("training",),
        caution="full-batch threshold: noise of small batches lowers it (sgd_stability); above 1 training "
        "moves on to flatter regions or diverges",
        examples=("stability_margin", "stability_margin:tolerance=0.01"),
    )
    tolerance: float = Field(default=0.03, gt=0, le=0.5)
    most: Whole = Field(default=100, ge=2)

    def read(self, subject: Subject) -> Reading:
        """The reading of effective_sharpness over the critical product.

        Raises:
            Unavailable: No threshold is known for the optimizer.
        """
        training = subject.training
        assert training is not None
        adaptive = training.name in ("adam", "adamw")
        if adaptive and training.delay:
            raise Unavailable("no threshold is known for Adam with stale gradients")
        found = EffectiveSharpness(tolerance=self.tolerance, most=self.most).read(subject)
        edge = found.details.get("threshold")
        if not isinstance(edge, int | float):
            raise Unavailable(f"no threshold is known for {training.name} with these settings")
        decay = least = 0.0
        if not adaptive:
            decay = training.lr * training.weight_decay
            least = decay if training.least_decay is None else training.lr * training.least_decay
        warnings = found.warnings
        if adaptive and training.weight_decay:
            warnings += ("weight decay is left out of the threshold",)
        bounds = found.numerical
        assert found.value is not None
        assert bounds is not None
        return self.reading(
            (found.value + decay) / edge,
            status=found.status,
            reason=found.reason,
            numerical=replace(bounds, low=(bounds.low + least) / edge, high=(bounds.high + decay) / edge),
            details={**found.details, "critical_product": edge, "threshold": 1.0},
            warnings=warnings,
        )


class SgdStability(Probe):
    """Learning rate over the largest one at which SGD is stable in mean square.

    Attributes:
        rows: Gradients of single outputs at most, of which the Gram matrix is made.
    """

    name: ClassVar[str] = "sgd_stability"
    revision: ClassVar[int] = 2  # 1 took a loss that is a sum over the batch for a mean
    positional: ClassVar[str | None] = "rows"
    card: ClassVar[Card] = Card(
        summary="learning rate over the largest stable one of SGD in mean square: 1 is the edge",
        family="stability",
        formula="lr mu / 2, mu largest generalised eigenvalue of D X = mu (H X + X H) / 2, "
        "D X = (1 - p) H X H + p mean_i H_i X H_i; H_i = J_i' R_i J_i Gauss-Newton matrix of example i, "
        "H their mean, p = (n - B) / (B (n - 1)) for batches of B from n",
        unit="1 (the edge is 1)",
        invariances="order and batching of the data (up to which examples are drawn); the scale of the loss "
        "and of the weights where the learning rate follows it",
        cost="one gradient of each output of up to 600 / outputs examples, and an eigenproblem of 600 rows",
        references=(MULAYOFF,),
        preset="full",
        needs=("training",),
        caution="exact for linearised training at an interpolating minimum; elsewhere, and with "
        "cross-entropy, it describes the Gauss-Newton part of the curvature only",
        examples=("sgd_stability", "sgd_stability:1000"),
    )
    rows: Whole = Field(default=600, ge=2)

    def read(self, subject: Subject) -> Reading:
        """From the Gram matrix of the gradients of the outputs; the two cheap bounds in details.

        Raises:
            Unavailable: Another optimizer than plain SGD; a loss that is not convex in the outputs.
        """
        training = subject.training
        assert training is not None
        if training.name != "sgd" or training.momentum or training.delay:
            raise Unavailable(
                "the mean-square threshold is known for SGD without momentum or delay only: "
                "see stability_margin"
            )
        _, count = totals(subject)
        population = training.examples or count
        batch = _batch_size(training, population)
        table, outputs, used = gram(subject, self.rows)
        if not bool(table.any()):
            raise Unavailable("no output has curvature and a gradient: every rate is stable here")
        try:
            found = mean_square_threshold_from_gram(
                table.numpy(), batch, outputs=outputs, population=population
            )
        except ArithmeticError as error:
            raise Unavailable(str(error)) from error
        warnings = []
        if training.weight_decay:
            warnings.append("weight decay is left out of the threshold")
        if used < population:
            warnings.append(f"{used} random examples stand for all {population}")
        scale = trained_scale(subject)
        warnings += told_scale(scale)
        rate = training.lr * scale
        exact = "computed exactly for the examples read, up to rounding"
        sampled = "eigenvalues of a sample of examples have no valid interval"
        return self.reading(
            rate / found.rate,
            no_interval=exact if used == population else sampled,
            details={
                "threshold": 1.0,
                "largest_stable_rate": found.rate / scale,
                "top_bound": rate / found.top_bound,
                "identity_bound": rate / found.identity_bound,
                "full_batch": rate / found.full_batch,
                "single_weight": found.single_weight,
                "batch": batch,
                "examples": used,
                "outputs": outputs,
            },
            warnings=tuple(warnings),
        )


class BatchSharpness(Probe):
    """Curvature of the loss of a random batch along that batch's own gradient.

    Attributes:
        batches: Random batches.
    """

    name: ClassVar[str] = "batch_sharpness"
    revision: ClassVar[int] = 3  # 2 took a loss that is a sum over the batch for a mean
    positional: ClassVar[str | None] = "batches"
    card: ClassVar[Card] = Card(
        summary="curvature of a random batch's loss along its own gradient, at the batch size of training",
        family="stability",
        formula="E_B[g_B' H_B g_B / |g_B|^2], g_B and H_B gradient and Hessian of the loss of a random batch "
        "of B examples, drawn without replacement",
        unit="loss per squared parameter",
        invariances="batching and order of the data, rotations of the weights, the scale of the gradient",
        cost="24 Hessian-vector products of a batch: 24 B / n of the whole",
        references=(ANDREYEV, "Andreyev et al., Momentum further constrains sharpness, 2026"),
        preset="standard",
        needs=("training",),
        caution="rises as batches get smaller at the same weights: compare at one batch size",
        examples=("batch_sharpness", "batch_sharpness:96"),
    )
    batches: Whole = Field(default=24, ge=2)

    def read(self, subject: Subject) -> Reading:
        """Monte Carlo over random batches; where it was seen to settle, in details.

        Raises:
            Unavailable: Gradients are zero; a second derivative does not exist.
        """
        training = subject.training
        assert training is not None
        _, count = totals(subject)
        wanted = _batch_size(training, training.examples or count)
        size = min(wanted, count)
        whole = size == count
        draw = subject.generator(self.name)
        drawn = random_batches(subject, size, 1 if whole else self.batches, draw)
        # where fewer examples are there than are trained with, a sum of as many grows in proportion
        larger = wanted / size if weighing(subject).reduction == "sum" else 1.0
        along = [_along_gradient(subject, one, size / count) for one in drawn]
        found = [larger * value for value in along if value is not None]
        if not found:
            raise Unavailable("the gradient of every random batch is zero: it has no direction")
        details: dict[str, Any] = {"batch": size, "batches": len(found)}
        if training.name == "sgd" and training.lr and not training.nesterov and not training.delay:
            small, large = batch_sharpness_plateaus(training.lr, training.momentum)
            details |= {"plateau_small_batches": small, "plateau_large_batches": large}
            if small == large:
                details["threshold"] = small
        values = np.array(found)
        interval = None if whole else mean_interval(values)
        if interval is None:
            told: dict[str, Any] = {"no_interval": "every batch is all examples: computed exactly"}
            if not whole:
                told["no_interval"] = "one random batch with a gradient is too few for an interval"
        else:
            condition = "independent random batches of the examples read"
            told = {"monte_carlo": replace(interval, condition=condition), "warnings": skewed(values)}
        told["warnings"] = (*told.get("warnings", ()), *told_scale(trained_scale(subject)))
        if size < wanted:
            few = f"the {count} examples read are fewer than the batch size, {wanted}"
            told["warnings"] = (*told.get("warnings", ()), few)
        return self.reading(float(values.mean()), details=details, **told)


def _batch_size(training: Training, population: int) -> int:
    size = training.batch or population
    if size > population:
        raise Unavailable(f"a batch of {size} cannot be drawn from {population} examples")
    return size


def _along_gradient(subject: Subject, batch: Any, share: float) -> float | None:
    """``g' H g / |g|^2`` of one batch; None where its gradient is zero."""
    require_whole_graph(subject)
    params = list(subject.trained.values())
    if weighing(subject).weigh(batch) == 0:
        return None

    def compute() -> tuple[Tensor, Tensor]:
        loss = checked(subject.loss(subject.model, batch))
        require_graph(loss)
        g = flatten(torch.autograd.grad(loss, params, create_graph=True, allow_unused=True), params)
        fixed = g.detach()
        if not g.requires_grad:
            return fixed, torch.zeros_like(fixed)
        back = torch.autograd.grad(g, params, fixed, allow_unused=True)
        return fixed, flatten(back, params)

    # Fused attention has no second derivative.
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        g, product = compute()
    subject.meter.products += share
    square = float(g.double() @ g.double())
    if square == 0:
        return None
    value = float(g.double() @ product.double()) / square
    if not math.isfinite(value):
        raise Unavailable("a product with the Hessian of a batch is not finite")
    return value
