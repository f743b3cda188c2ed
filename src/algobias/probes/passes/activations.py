"""Activations between layers, streamed into means and covariances: one pass that probes of features share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from algobias.lazy import torch
from algobias.probes.passes.calls import captured
from algobias.probes.passes.layers import convolutions
from algobias.probes.passes.losses import totals
from algobias.probes.passes.trials import labels_of
from algobias.probes.passes.weighing import IGNORED, examples, weighing
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject
from algobias.trees import tensors_in

if TYPE_CHECKING:
    from torch import Tensor, nn

WIDEST = 4096
"""Layers with more units than this have no covariance (128 MB in double precision)."""

Rows = Callable[[str, "Tensor"], None]


@dataclass
class Features:
    """What goes into one layer, over all examples (and positions, or unmasked tokens).

    Attributes:
        count: Rows seen, n.
        mean: Mean of every unit, [d], double precision.
        size: Mean magnitude of every unit, [d].
        scatter: ``sum_i (h_i - mean) (h_i - mean)'``, [d, d]; None for layers that are too wide.
    """

    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(0))
    size: Tensor = field(default_factory=lambda: torch.zeros(0))
    scatter: Tensor | None = None

    def add(self, rows: Tensor) -> None:
        """Take in rows, [b, d] (Chan, Golub and LeVeque, Updating Formulae, 1983)."""
        b, d = rows.shape
        if not self.count:
            self.mean = torch.zeros(d, dtype=torch.float64, device=rows.device)
            self.size = torch.zeros_like(self.mean)
            self.scatter = self.mean.new_zeros(d, d) if d <= WIDEST else None
        mean = rows.mean(0)
        step, total = mean - self.mean, self.count + b
        if self.scatter is not None:
            centred = rows - mean
            self.scatter += centred.T @ centred + torch.outer(step, step) * (self.count * b / total)
        self.mean = self.mean + step * (b / total)
        self.size = self.size + (rows.abs().mean(0) - self.size) * (b / total)
        self.count = total

    @property
    def covariance(self) -> Tensor | None:
        """``scatter / n``, [d, d]."""
        return None if self.scatter is None else self.scatter / self.count


@dataclass(frozen=True)
class Layers:
    """Features by the layer they go into, in the order in which layers were first executed.

    Attributes:
        features: By name of the linear or convolutional layer.
        last: Name of the layer executed last: its input is the last hidden layer.
    """

    features: dict[str, Features]
    last: str


def layers(subject: Subject) -> Layers:
    """Statistics of what goes into every linear or convolutional layer, but of the model's own input.

    The *last hidden layer* is the input of the linear or convolutional layer that is executed last. A row is
    an example or an unmasked token of a linear layer, a position of an image in a convolution (its units are
    channels). Cost: one forward pass and n d^2 for each layer. Memory: d^2 numbers for each layer with d
    units, in double precision; none where d > 4096.

    Raises:
        Unavailable: No layer has hidden units as its input, or one is not finite.
    """

    def measure() -> Layers:
        found: dict[str, Features] = {}

        def add(name: str, rows: Tensor) -> None:
            found.setdefault(name, Features()).add(rows.double())

        last = ""
        for batch in passes_over(subject):
            last = forward(subject, batch, add) or last
        found = {name: one for name, one in found.items() if one.count}
        if not found or last not in found:
            raise Unavailable("no linear or convolutional layer has hidden units as its input")
        if not all(bool(one.mean.isfinite().all()) for one in found.values()):
            raise Unavailable("an activation is not finite")
        return Layers(found, last)

    result: Layers = subject.shared("activations", measure)
    return result


def passes_over(subject: Subject) -> Iterator[Any]:
    """The batches; each counts as its share of a forward pass."""
    _, count = totals(subject)
    for batch in subject.batches:
        yield batch
        subject.meter.forwards += examples(batch) / count


def forward(subject: Subject, batch: Any, take: Rows) -> str | None:
    """One forward pass; ``take(name, rows)`` for what goes into every layer but the model's own input.

    Returns:
        Name of the layer that was executed last; None where its input is the model's own.
    """
    rule, labels = weighing(subject), labels_of(batch)
    own = None if labels is None else rule.masked(batch, labels) != IGNORED
    last: list[str | None] = [None]

    def seen(name: str, x: Tensor, inner: bool) -> None:
        last[0] = name if inner else None
        if inner:
            kept = own if own is not None else rule.kept(batch, x.shape[:-1])
            rows = _rows(x.detach(), kept, channels=isinstance(modules[name], convolutions()))
            if len(rows):
                take(name, rows)

    modules = dict(subject.model.named_modules())
    with torch.no_grad(), captured(subject.model) as call, _watching(subject.model, call, seen):
        subject.loss(subject.model, batch)
    return last[0]


def _rows(x: Tensor, kept: Tensor | None, *, channels: bool) -> Tensor:
    """[rows, units]; masked tokens are left out where rows are tokens."""
    if channels:
        return x.movedim(1, -1).flatten(0, -2)
    if kept is not None and x.shape[:-1] == kept.shape:
        return x[kept.to(x.device)]
    return x.reshape(-1, x.shape[-1])


@contextmanager
def _watching(model: nn.Module, call: Any, seen: Callable[[str, Tensor, bool], None]) -> Iterator[None]:
    def before(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            x = next((t for _, t in tensors_in((args, dict(kwargs))) if t.is_floating_point()), None)
            usual = x is not None and x.dim() >= (3 if isinstance(module, convolutions()) else 2)
            if x is not None and usual:
                own = {t.untyped_storage().data_ptr() for t in call.inputs}
                seen(name, x, x.untyped_storage().data_ptr() not in own)

        return hook

    weighted: tuple[type[nn.Module], ...] = (torch.nn.Linear, *convolutions())
    handles = [
        module.register_forward_pre_hook(before(name), with_kwargs=True)
        for name, module in model.named_modules()
        if isinstance(module, weighted) and module is not model
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
