"""Weight matrices and their norms: Frobenius, largest entry, and spectral norm as the operator it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import scipy

from algobias.lazy import torch
from algobias.probes.passes.losses import totals
from algobias.probes.passes.uses import uses
from algobias.probes.passes.weighing import examples
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor, nn

DENSE = 256
"""A convolution with at most so many input numbers is written out as a matrix."""

TOLERANCE = 1e-4
"""Relative accuracy of squared singular values asked of the Lanczos iteration."""

Seen = tuple[Any, tuple[int, ...]]
"""A convolution, and the shape of its input without the batch dimension."""


def convolutions() -> tuple[type[nn.Module], ...]:
    """Give the kinds of layers that are convolutions."""
    return (
        torch.nn.Conv1d,
        torch.nn.Conv2d,
        torch.nn.Conv3d,
        torch.nn.ConvTranspose1d,
        torch.nn.ConvTranspose2d,
        torch.nn.ConvTranspose3d,
    )


def matrices(model: nn.Module) -> dict[str, Tensor]:
    """Parameters with two or more dimensions by name, tied ones once, frozen ones included.

    Raises:
        Unavailable: There is none, or one is complex.
    """
    found = {name: p.detach() for name, p in model.named_parameters() if p.dim() >= 2}
    if not found:
        raise Unavailable("the model has no weight matrix (a parameter with two or more dimensions)")
    for name, weight in found.items():
        if weight.is_complex():
            raise Unavailable(f"{name} holds complex numbers: its norms are not defined here")
    return found


@dataclass(frozen=True)
class Norms:
    """Norms by weight matrix, and how often each stands in their product.

    Attributes:
        values: Best values; true lower bounds where an iteration was stopped.
        uses: How often the network uses the matrix on the way to its output.
        high: Upper bounds, if an iteration has found the largest singular value.
        reshaped: Weights with more than two dimensions that no convolution was seen to use: norm of the
            matrix [first dimension, all others].
    """

    values: dict[str, float]
    uses: dict[str, int]
    high: dict[str, float]
    reshaped: tuple[str, ...] = ()

    @property
    def product(self) -> float:
        """Product of the norms, each as often as its matrix is used."""
        return math.prod(value for name, value in self.values.items() for _ in range(self.uses[name]))

    @property
    def log_product(self) -> float:
        """Logarithm of the product.

        Raises:
            Unavailable: A norm is zero or not finite.
        """
        return self._log(self.values)

    @property
    def log_product_high(self) -> float:
        """Logarithm of the product of the upper bounds.

        Raises:
            Unavailable: A norm is zero or not finite.
        """
        return self._log(self.high)

    @property
    def details(self) -> dict[str, int]:
        """Which matrices are not used exactly once."""
        return {name: count for name, count in self.uses.items() if count != 1}

    def _log(self, norms: dict[str, float]) -> float:
        for name, norm in norms.items():
            if self.uses[name] and not 0 < norm < math.inf:
                raise Unavailable(f"the norm of {name} is {norm:g}: the product of norms says nothing")
        return sum(self.uses[name] * math.log(norm) for name, norm in norms.items() if self.uses[name])


def frobenius_norms(subject: Subject) -> Norms:
    """Root of the sum of squares of each weight matrix. Cost: a forward pass of two examples, shared.

    Raises:
        Unavailable: There is no weight matrix; how often they are used is not known.
    """
    return _norms_of(subject, lambda w: float(w.double().square().sum().sqrt()))


def largest_entries(subject: Subject) -> Norms:
    """Largest absolute entry of each weight matrix. Cost: a forward pass of two examples, shared.

    Raises:
        Unavailable: There is no weight matrix; how often they are used is not known.
    """
    return _norms_of(subject, lambda w: float(w.abs().max()))


def _norms_of(subject: Subject, norm: Callable[[Tensor], float]) -> Norms:
    values = {name: norm(w) for name, w in matrices(subject.model).items()}
    return Norms(values, _used(subject, values), values)


def _used(subject: Subject, names: Iterable[str]) -> dict[str, int]:
    counts = uses(subject)
    found = {name: counts[name] for name in names}
    if not any(found.values()):
        raise Unavailable("the output of the model uses none of its weight matrices")
    return found


def spectral_norms(subject: Subject) -> Norms:
    """Spectral norm of every weight matrix; of a convolution that of the linear map it is.

    A convolution maps images to images; its padding, stride and the size of its input count. The map is
    written out as a matrix where its input has at most 256 numbers, else its largest singular value comes
    from a Lanczos iteration on ``A^T A`` to 1e-4, with the residual as bound. Cost: one forward pass of the
    first batch, and for each convolution some tens of its own forward and backward passes on one example;
    min(m, n)^3 for an m x n matrix. Memory: about 20 times the input of a convolution.

    Raises:
        Unavailable: There is no weight matrix, the iteration does not converge, or how often matrices are
            used is not known.
    """
    found: Norms = subject.shared("spectral_norms", lambda: _spectral_norms(subject))
    return found


def _spectral_norms(subject: Subject) -> Norms:
    weights = matrices(subject.model)
    used = _used(subject, weights)
    convolutions = _convolutions(subject) if any(w.dim() > 2 for w in weights.values()) else {}
    norms, high, counts, reshaped = {}, {}, {}, []
    for name, weight in weights.items():
        calls = convolutions.get(name, [])
        if not calls:
            norms[name] = high[name] = matrix_norm(weight.reshape(len(weight), -1))
            counts[name] = used[name]
            if weight.dim() > 2:
                reshaped.append(name)
            continue
        alike = _alike(calls)
        if len(alike) > 1 and len(calls) != used[name]:
            raise Unavailable(f"{name} is used beside its convolutions, which see inputs of several sizes")
        for (module, shape), count in alike:
            label = name if len(alike) == 1 else f"{name} on {'x'.join(map(str, shape))}"
            label = label if label not in norms else f"{label} ({len(norms)})"
            norms[label], high[label] = convolution_norm(module, shape)
            counts[label] = used[name] if len(alike) == 1 else count
    return Norms(norms, counts, high, tuple(reshaped))


def _alike(
    calls: list[Seen],
) -> list[tuple[tuple[nn.Module, tuple[int, ...]], int]]:
    """Calls that are the same linear map, with their number."""
    found: dict[Any, list[Seen]] = {}
    for module, shape in calls:
        found.setdefault((repr(module), shape), []).append((module, shape))
    return [(group[0], len(group)) for group in found.values()]


def matrix_norm(matrix: Tensor) -> float:
    """Largest singular value, in double precision, from the smaller Gram matrix."""
    wide = matrix.double()
    gram = wide @ wide.T if wide.shape[0] <= wide.shape[1] else wide.T @ wide
    return math.sqrt(max(0.0, float(torch.linalg.eigvalsh(gram)[-1])))


def convolution_norm(module: nn.Module, shape: tuple[int, ...]) -> tuple[float, float]:
    """Largest singular value of a convolution on inputs of a shape, and its upper bound.

    Args:
        module: The convolution; its bias does not count.
        shape: Shape of its input without the batch dimension.

    Raises:
        Unavailable: The iteration does not converge.
    """
    params = {name: p.detach().double() for name, p in module.named_parameters()}
    params |= {name: torch.zeros_like(p) for name, p in params.items() if name == "bias"}
    if not bool(params["weight"].any()):
        return 0.0, 0.0
    size = math.prod(shape)

    def apply(flat: Tensor) -> Tensor:
        images = flat.reshape(-1, *shape)
        mapped: Tensor = torch.func.functional_call(module, params, (images,))
        return mapped.reshape(len(images), -1)

    device = params["weight"].device
    if size <= DENSE:
        norm = matrix_norm(apply(torch.eye(size, dtype=torch.float64, device=device)))
        return norm, norm

    def gram(vector: Any) -> Any:
        x = torch.as_tensor(vector, dtype=torch.float64, device=device).reshape(1, -1).requires_grad_()
        (product,) = torch.autograd.grad(apply(x).square().sum() / 2, x)
        return product[0].cpu().numpy()

    start = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).numpy()
    operator = scipy.sparse.linalg.LinearOperator((size, size), matvec=gram, dtype=float)
    try:
        values, vectors = scipy.sparse.linalg.eigsh(operator, k=1, which="LA", v0=start, tol=TOLERANCE)
    except (scipy.sparse.linalg.ArpackError, scipy.sparse.linalg.ArpackNoConvergence) as error:
        raise Unavailable(f"the spectral norm of a convolution did not converge: {error}") from error
    vector = vectors[:, 0]
    residual = float(((gram(vector) - values[0] * vector) ** 2).sum() ** 0.5)
    return math.sqrt(values[0]), math.sqrt(values[0] + residual)


def _convolutions(subject: Subject) -> dict[str, list[Seen]]:
    """Calls of convolutions by the name of their weight, with the shape of their input in the first batch."""
    batch = next(iter(subject.batches))
    _, count = totals(subject)
    with torch.no_grad(), shapes_seen(subject.model) as seen:
        subject.loss(subject.model, batch)
    subject.meter.forwards += examples(batch) / count
    names = {id(p): name for name, p in subject.model.named_parameters()}
    found: dict[str, list[Seen]] = {}
    for module, shape in seen:
        weight = module._parameters.get("weight")  # what module.weight gives may be computed from it
        if id(weight) in names:
            found.setdefault(names[id(weight)], []).append((module, shape))
    return found


@contextmanager
def shapes_seen(model: nn.Module) -> Iterator[list[Seen]]:
    """Convolutions as they are called, with the shape of their input without the batch dimension."""
    seen: list[Seen] = []

    def before(module: nn.Module, args: Any) -> None:
        spatial = 3 if "1d" in type(module).__name__ else 4 if "2d" in type(module).__name__ else 5
        if args and args[0].dim() == spatial:
            seen.append((module, tuple(args[0].shape[1:])))

    handles = [m.register_forward_pre_hook(before) for m in model.modules() if isinstance(m, convolutions())]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
