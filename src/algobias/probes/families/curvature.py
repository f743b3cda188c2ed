"""Extreme eigenvalues of curvature matrices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from algobias.probes.base import Card, Probe
from algobias.probes.families.eigen_solver import LANCZOS, by_layer, solve, stable_product, times_norm, told
from algobias.probes.matrices.lanczos import extreme
from algobias.probes.matrices.operator import Operator, gauss_newton, hessian, scaled
from algobias.probes.passes.losses import told_scale, trained_scale
from algobias.probes.reading import Interval, Reading, Unavailable
from algobias.probes.subject import Subject
from algobias.spelling import Whole

if TYPE_CHECKING:
    pass


EDGE = (
    "Cohen, Kaur, Li, Kolter and Talwalkar, Gradient descent typically occurs at the edge of stability, 2021"
)


class TopEigenvalue(Probe):
    """Largest algebraic eigenvalue of the Hessian (sharpness).

    Attributes:
        tolerance: Relative residual at which Lanczos stops; from a direction known before, relative error.
        most: Hessian-vector products at most.
        per_layer: Read that of each layer by itself too, in parts.
    """

    name: ClassVar[str] = "top_eigenvalue"
    card: ClassVar[Card] = Card(
        summary="largest algebraic eigenvalue of the Hessian of the training loss (sharpness)",
        family="curvature",
        formula="lambda_max(H), H = Hessian of sum_b w_b loss_b / sum_b w_b with respect to the trained "
        "parameters, "
        "without weight decay",
        unit="loss per squared parameter",
        invariances="batching, order and duplication of the data, rotations of the weights; not "
        "rescalings of layers "
        "that leave the function as it is",
        cost="about 10 Hessian-vector products cold, 1 to 3 with a warm start",
        references=(LANCZOS, EDGE),
        preset="cheap",
        twin="times the squared weight norm",
        caution="goes with the learning rate more than with generalisation; compare at equal training loss",
        examples=("top_eigenvalue", "top_eigenvalue:tolerance=0.001", "top_eigenvalue:per_layer"),
    )
    tolerance: float = Field(default=0.01, gt=0, le=0.5)
    most: Whole = Field(default=100, ge=2)
    per_layer: bool = False

    def read(self, subject: Subject) -> Reading:
        """By Lanczos with a residual stop: the error is far below the residual, which is the bound."""
        operator = hessian(subject)
        found = solve(subject, self.spelling(), operator, self.tolerance, self.most)
        operator.release()
        fields = told(found, operator)
        training = subject.training
        if training is not None and training.name == "sgd" and training.lr:  # at rate 0 all is stable
            edge = stable_product(training)
            if edge is not None:
                fields["details"]["threshold"] = edge / (training.lr * trained_scale(subject))
        reading = self.reading(float(found.values[0]), **fields)
        if self.per_layer:
            reading = replace(
                reading, parts={name: self._block(one) for name, one in by_layer(subject).items()}
            )
        return times_norm(subject, "top eigenvalue", reading)

    def _block(self, subject: Subject) -> float:
        draw = subject.generator(self.name)
        found = extreme(hessian(subject), tolerance=self.tolerance, most=self.most, generator=draw)
        return float(found.values[0])


class BottomEigenvalue(Probe):
    """Smallest algebraic eigenvalue of the Hessian.

    Attributes:
        tolerance: Relative residual at which Lanczos stops; from a direction known before, relative error.
        most: Hessian-vector products at most.
    """

    name: ClassVar[str] = "bottom_eigenvalue"
    card: ClassVar[Card] = Card(
        summary="smallest algebraic eigenvalue of the Hessian: negative where the loss curves downwards",
        family="curvature",
        formula="lambda_min(H), H = Hessian of the mean loss",
        unit="loss per squared parameter",
        invariances="batching, order and duplication of the data, rotations of the weights",
        cost="10 to 40 Hessian-vector products",
        references=(LANCZOS, "Alain, Le Roux and Manzagol, Negative eigenvalues of the Hessian, 2019"),
        preset="standard",
        twin="times the squared weight norm",
        caution="close to the bulk of the spectrum, so it converges more slowly than the largest",
    )
    tolerance: float = Field(default=0.01, gt=0, le=0.5)
    most: Whole = Field(default=100, ge=2)

    def read(self, subject: Subject) -> Reading:
        """By Lanczos from the other end of the spectrum."""
        operator = hessian(subject)
        found = solve(subject, self.spelling(), operator, self.tolerance, self.most, largest=False)
        reading = self.reading(float(found.values[0]), **told(found, operator, largest=False))
        return times_norm(subject, "bottom eigenvalue", reading)


class TopEigenvalues(Probe):
    """The k largest eigenvalues of the Hessian.

    Attributes:
        k: How many eigenvalues.
        tolerance: Relative residual at which Lanczos stops; from a direction known before, relative error.
        most: Hessian-vector products at most.
    """

    name: ClassVar[str] = "top_eigenvalues"
    positional: ClassVar[str | None] = "k"
    card: ClassVar[Card] = Card(
        summary="the k largest eigenvalues of the Hessian; the value is their sum",
        family="curvature",
        formula="lambda_1 + ... + lambda_k of the Hessian of the mean loss, single ones in parts",
        unit="loss per squared parameter",
        invariances="batching, order and duplication of the data, rotations of the weights",
        cost="about 3 k + 10 Hessian-vector products",
        references=(
            LANCZOS,
            "Sagun, Evci, Guney, Dauphin and Bottou, Empirical analysis of the Hessian, 2017",
        ),
        preset="full",
        caution="with C classes about C - 1 eigenvalues stand out; more of them belong to the bulk",
        examples=("top_eigenvalues:10", "top_eigenvalues:3,tolerance=0.01"),
    )
    k: Whole = Field(default=10, ge=1)
    tolerance: float = Field(default=0.05, gt=0, le=0.5)
    most: Whole = Field(default=200, ge=2)

    def read(self, subject: Subject) -> Reading:
        """By one Lanczos process for all k."""
        operator = hessian(subject)
        found = solve(subject, self.spelling(), operator, self.tolerance, self.most, k=self.k)
        values = [float(value) for value in found.values]
        fields = told(found, operator)
        slack = float(found.residuals.sum())
        fields["numerical"] = Interval(
            sum(values),
            sum(values) + slack,
            None,
            "the low bound always holds (Ky Fan); the high one where no eigenvalue among the largest was "
            "missed",
        )
        if len(values) < self.k:
            few = f"only {len(values)} directions matter to the loss"
            fields["warnings"] = (*fields.get("warnings", ()), few)
        return self.reading(sum(values), parts={f"{i + 1}": v for i, v in enumerate(values)}, **fields)


class GaussNewtonTop(Probe):
    """Largest eigenvalue of the Gauss-Newton matrix.

    Attributes:
        tolerance: Relative residual at which Lanczos stops; from a direction known before, relative error.
        most: Products with the matrix at most.
    """

    name: ClassVar[str] = "gauss_newton_top"
    card: ClassVar[Card] = Card(
        summary="largest eigenvalue of the Gauss-Newton matrix: curvature from the loss alone, the "
        "network linearised",
        family="curvature",
        formula="lambda_max(J' H_out J), J = Jacobian of the model's output, H_out = Hessian of the loss "
        "in the output",
        unit="loss per squared parameter",
        invariances="batching, order and duplication of the data, rotations of the weights",
        cost="about 10 products of three gradients each",
        references=("Schraudolph, Fast curvature matrix-vector products, 2002",),
        preset="standard",
        twin="times the squared weight norm",
        caution="equals the top of the Hessian only where residuals are small or the network is linear",
    )
    tolerance: float = Field(default=0.01, gt=0, le=0.5)
    most: Whole = Field(default=100, ge=2)

    def read(self, subject: Subject) -> Reading:
        """By Lanczos on products with J' H_out J."""
        operator = gauss_newton(subject)
        found = solve(subject, self.spelling(), operator, self.tolerance, self.most)
        return times_norm(
            subject, "top eigenvalue", self.reading(float(found.values[0]), **told(found, operator))
        )


class EffectiveSharpness(Probe):
    """Learning rate times the top eigenvalue of the Hessian as the optimizer sees it.

    Attributes:
        tolerance: Relative residual at which Lanczos stops; from a direction known before, relative error.
        most: Hessian-vector products at most.
    """

    name: ClassVar[str] = "effective_sharpness"
    revision: ClassVar[int] = 2  # 1 took a loss that is a sum over the batch for a mean
    card: ClassVar[Card] = Card(
        summary="learning rate times the largest eigenvalue of the preconditioned Hessian; plain descent "
        "is stable below 2",
        family="curvature",
        formula="lr lambda_max(D H D), D = I for SGD, D = diag(v^(1/2) + eps)^(-1/2) for Adam with second "
        "moment v",
        unit="1 (the edge is 2 for plain gradient descent)",
        invariances="the scale of the loss and of the weights where learning rate or preconditioner "
        "follow it",
        cost="about 10 Hessian-vector products",
        references=(EDGE, "Cohen et al., Adaptive gradient methods at the edge of stability, 2022"),
        preset="standard",
        needs=("training",),
        caution="the threshold depends on momentum, batch size and delay: see stability_margin",
    )
    tolerance: float = Field(default=0.01, gt=0, le=0.5)
    most: Whole = Field(default=100, ge=2)

    def read(self, subject: Subject) -> Reading:
        """By Lanczos on ``D H D``, which has the eigenvalues of the preconditioned Hessian."""
        training = subject.training
        assert training is not None
        inner = hessian(subject)
        operator: Operator = inner
        if training.name in ("adam", "adamw"):
            if training.second_moment is None:
                raise Unavailable("Adam's second moment is not known: pass Training(second_moment=...)")
            if training.second_moment.numel() != subject.size:
                raise Unavailable("the second moment does not have as many numbers as there are parameters")
            moment = training.second_moment.to(subject.device, subject.dtype).reshape(-1)
            operator = scaled(inner, (moment.clamp(min=0).sqrt() + training.eps).rsqrt())
        elif training.name != "sgd":
            raise Unavailable(
                f"no preconditioner is known for {training.name}: sign descent has no linear stability"
            )
        found = solve(subject, self.spelling(), operator, self.tolerance, self.most)
        inner.release()
        fields = told(found, operator)
        numerical, scale = fields["numerical"], trained_scale(subject)
        factor = training.lr * scale
        fields["numerical"] = replace(numerical, low=factor * numerical.low, high=factor * numerical.high)
        fields["details"] |= {"lr": training.lr, "threshold": stable_product(training)}
        fields["warnings"] = (*fields.get("warnings", ()), *told_scale(scale))
        return self.reading(factor * float(found.values[0]), **fields)
