"""Problems whose coordinates can be computed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from algobias.probes.subject import Subject, Training

Floats = NDArray[np.float64]

EXACT = 1e-4
"""Relative error allowed where an answer is a plain sum in single precision."""

ITERATED = 5e-3
"""Relative error allowed where a probe iterates to a tolerance of 1e-3."""

SAMPLED = 0.15
"""Relative error allowed where random vectors are drawn; the interval must hold the answer as well."""


@dataclass(frozen=True)
class Case:
    """A problem with known answers.

    Attributes:
        name: What it is.
        subject: The model at its weights, with data and loss.
        expected: Known answer and relative error allowed by probe.
    """

    name: str
    subject: Subject
    expected: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class _Vector(nn.Module):
    """A model that is one vector of weights; called with a batch, it returns the products with its rows."""

    def __init__(self, weights: Floats) -> None:
        super().__init__()
        self.w = nn.Parameter(_tensor(weights))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w


def quadratic() -> Case:
    """A quadratic whose Hessian has a known spectrum, one eigenvalue negative: 10, 5, 2.5, ..., and -3."""
    generator = np.random.default_rng(1)
    spectrum = np.concatenate([10.0 / 2.0 ** np.arange(20), [-3.0]])
    basis, _ = np.linalg.qr(generator.standard_normal((len(spectrum),) * 2))
    hessian = _tensor((basis * spectrum) @ basis.T)
    weights = generator.standard_normal(len(spectrum))

    def loss(model: nn.Module, batch: Any) -> Tensor:
        w = model.get_parameter("w")
        value: Tensor = w @ hessian @ w / 2 + model(batch[0]).mean()
        return value

    batches = [(_tensor(generator.standard_normal((n, len(spectrum)))),) for n in (7, 2)]
    start = weights - generator.standard_normal(len(spectrum))
    return Case(
        "quadratic with a known spectrum",
        Subject(
            _Vector(weights),
            batches,
            loss,
            initial={"w": _tensor(start)},
            training=Training(lr=0.02, delay=4),
        ),
        {
            # A delay of 4 updates lowers the edge of lr times sharpness from 2 to 2 sin(pi / 18).
            "stability_margin:tolerance=0.001": (0.2 / (2 * math.sin(math.pi / 18)), ITERATED),
            "top_eigenvalue:tolerance=0.001": (10.0, ITERATED),
            "trace:tolerance=0.15": (float(spectrum.sum()), SAMPLED),
            "weight_norm": (_norm(weights), EXACT),
            "distance_from_init": (_norm(weights - start), EXACT),
        },
    )


def regression() -> Case:
    """Linear regression with half the squared error, in two batches of different size."""
    generator = np.random.default_rng(2)
    inputs = generator.standard_normal((60, 12)) * np.linspace(0.3, 2.0, 12)
    targets, weights = generator.standard_normal(60), generator.standard_normal(12)
    gradients = inputs * (inputs @ weights - targets)[:, None]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        value: Tensor = ((model(batch[0]) - batch[1]) ** 2).mean() / 2
        return value

    batches = [(_tensor(inputs[a:b]), _tensor(targets[a:b])) for a, b in ((0, 47), (47, 60))]
    gram = inputs.T @ inputs / 60
    return Case(
        "linear regression, uneven batches",
        Subject(_Vector(weights), batches, loss),
        {
            "top_eigenvalue:tolerance=0.001": (float(np.linalg.eigvalsh(gram)[-1]), ITERATED),
            "trace:tolerance=0.15": (float(np.trace(gram)), SAMPLED),
            "gradient_variance": (float(np.var(gradients, axis=0, ddof=1).sum()), EXACT),
        },
    )


def linear_network() -> Case:
    """A linear net of two layers at a minimum with loss 0, inputs white.

    With ``L = ||W2 W1 - M||^2 / 2`` the Hessian's largest eigenvalue is ``s1(W1)^2 + s1(W2)^2`` and its trace
    ``outputs ||W1||^2 + inputs ||W2||^2``.
    """
    generator = np.random.default_rng(3)
    first, second = generator.standard_normal((5, 6)), generator.standard_normal((4, 5))
    net = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, 4, bias=False))
    net.load_state_dict({"0.weight": _tensor(first), "1.weight": _tensor(second)})
    white = math.sqrt(24) * np.linalg.qr(generator.standard_normal((24, 6)))[0]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        value: Tensor = ((model(batch[0]) - batch[1]) ** 2).sum(1).mean() / 2
        return value

    batch = _tensor(white), _tensor(white @ first.T @ second.T)
    sharpness = np.linalg.norm(first, 2) ** 2 + np.linalg.norm(second, 2) ** 2
    return Case(
        "linear net of two layers at a minimum",
        Subject(net, [batch], loss),
        {
            "top_eigenvalue:tolerance=0.001": (float(sharpness), ITERATED),
            "trace:tolerance=0.15": (4 * _norm(first) ** 2 + 6 * _norm(second) ** 2, SAMPLED),
        },
    )


def mean_square() -> Case:
    """SGD with one example at a time on ``(w - 1)^2 / 2`` and ``3 (w - 1)^2 / 2``: stable below 0.8.

    ``E(1 - lr h)^2 = 1`` at ``lr = 2 mean(h) / mean(h^2)``, h = 1 and 3.
    """
    inputs = np.sqrt(np.array([[1.0], [3.0]]))

    def loss(model: nn.Module, batch: Any) -> Tensor:
        value: Tensor = ((model(batch[0]) - batch[1]) ** 2).mean() / 2
        return value

    batches = [(_tensor(inputs), _tensor(inputs[:, 0]))]
    training = Training(lr=0.4, batch=1, examples=2)
    return Case(
        "stability of SGD in mean square",
        Subject(_Vector(np.ones(1)), batches, loss, training=training),
        {"sgd_stability": (0.5, EXACT)},
    )


def noise() -> Case:
    """Gradients of the examples with a planted sample covariance: variances 1, 2, 3, 4 along random axes."""
    generator = np.random.default_rng(4)
    white = generator.standard_normal((50, 4))
    white = math.sqrt(49) * np.linalg.qr(white - white.mean(0))[0]
    axes, _ = np.linalg.qr(generator.standard_normal((4, 4)))
    gradients = white * np.sqrt([1.0, 2.0, 3.0, 4.0]) @ axes.T + 5.0

    def loss(model: nn.Module, batch: Any) -> Tensor:
        value: Tensor = model(batch[0]).mean()
        return value

    batches = [(_tensor(gradients[a:b]),) for a, b in ((0, 20), (20, 50))]
    return Case(
        "planted covariance of the gradients",
        Subject(_Vector(np.ones(4)), batches, loss),
        {"gradient_variance": (10.0, EXACT)},
    )


def margins() -> Case:
    """A linear classifier of two classes, every example at distance 0.75 from its hyperplane."""
    generator = np.random.default_rng(5)
    normal = np.array([3.0, -4.0, 0.0])
    sides = np.where(np.arange(30) % 2 == 0, 1.0, -1.0)
    along = generator.standard_normal((30, 3))
    along -= np.outer(along @ normal, normal) / 25
    inputs = along + 0.75 * sides[:, None] * normal / 5
    net = nn.Linear(3, 2, bias=False)
    net.load_state_dict({"weight": _tensor(np.stack([normal, -normal]))})

    def loss(model: nn.Module, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    labels = torch.from_numpy((sides < 0).astype(np.int64))
    # Logits are w.x and -w.x with |w| = 5: the margin is 2 * 5 * 0.75, its gradient 2w.
    return Case(
        "margins of a linear classifier",
        Subject(net, [(_tensor(inputs), labels)], loss),
        {
            "margin_raw": (7.5, EXACT),
            "margin_frobenius": (7.5 / math.sqrt(50), EXACT),
            "margin_input": (0.75, EXACT),
            "input_gradient_norm": (10.0, EXACT),
        },
    )


CASES: Sequence[Callable[[], Case]] = (
    quadratic,
    regression,
    linear_network,
    mean_square,
    noise,
    margins,
)
"""Every problem that is measured."""


def _tensor(array: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).float()


def _norm(array: Floats) -> float:
    return float(np.linalg.norm(array))
