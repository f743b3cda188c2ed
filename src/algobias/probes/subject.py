"""What is measured: a model, batches, a loss, and what else a probe may need to know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.probes.reading import Cost, Unavailable
from algobias.seeding.streams import torch_generator

if TYPE_CHECKING:
    from torch import Tensor, nn

Loss = Callable[["nn.Module", Any], "Tensor"]
Weigh = Callable[[Any], float]
Mode = Literal["eval", "train", "as_is"]

KEPT_BYTES = 2**28
"""What a probe keeps between its passes (graphs, gradients or rows of all examples) needs at most so much."""


@dataclass
class Meter:
    """Counts passes over the data while probes run; a pass over some of the examples counts in part."""

    forwards: float = 0.0
    gradients: float = 0.0
    products: float = 0.0

    def cost(self, seconds: float = 0.0) -> Cost:
        """What has been counted so far."""
        return Cost(self.forwards, self.gradients, self.products, seconds)


@dataclass(frozen=True)
class Training:
    """How a network is trained, as far as stability depends on it.

    Attributes:
        name: ``sgd``, ``adam``, ``adamw`` or ``sign``.
        lr: Learning rate.
        momentum: Heavy-ball momentum, ``v = momentum v + g; w -= lr v``.
        nesterov: Nesterov's momentum.
        beta1: Adam's first average.
        beta2: Adam's second average.
        eps: Adam's constant.
        weight_decay: Weight decay; the largest where parameters differ in it.
        least_decay: The smallest weight decay, where parameters differ in it.
        batch: Batch size, in examples; None: all of them.
        examples: Training examples; None: those read.
        delay: Updates by which the gradient is stale.
        shifted: Momentum is delayed as well (shifted momentum).
        random: The gradient's age is random, uniform from 0 to 2 ``delay``.
        second_moment: Adam's second moment (``exp_avg_sq``, bias-corrected), flat in the order of
            :attr:`Subject.names`; None where it is not known.
    """

    lr: float
    name: str = "sgd"
    momentum: float = 0.0
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    least_decay: float | None = None
    batch: int | None = None
    examples: int | None = None
    delay: int = 0
    shifted: bool = False
    random: bool = False
    second_moment: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained network with its data, as probes see it.

    The loss that is measured is ``sum_b w_b loss(model, b) / sum_b w_b`` over batches, ``w_b`` the number of
    examples (or unmasked tokens) of a batch, so that uneven batches give what one big batch gives.

    Attributes:
        model: The network; probes never write to it (other weights go through ``functional_call``).
        batches: A re-iterable of batches: tensors, tuples, dicts, model-specific mappings.
        loss: ``loss(model, batch)``, a scalar, as it is trained.
        weigh: Weight of a batch; None: found by :func:`algobias.probes.passes.weighing.weighing`.
        reduction: Whether ``loss`` is a mean or a sum over the batch; None: found out likewise.
        labels: batch -> class labels, [B] or [B, T]; None: found in the batch.
        parameters: Shell patterns of parameter names to restrict curvature to; empty: all that are trained.
        mode: Mode of the model while it is measured; put back afterwards, module by module.
        training: How the network is trained, for stability readings.
        initial: Weights before training, by name.
        history: Earlier weights of the same run, (update, weights by name), in order.
        updates: Updates made when the weights were taken.
        other: Weights (and buffers) of another run of the same network, by name.
        replicas: Weights of the workers that train copies of this network, by name.
        unknown: Why a field is not given, by its name, where that is known.
        seed: Of random vectors; the same seed gives the same reading.
        warm: Kept between readings of one run by whoever measures repeatedly: directions to start from.
        meter: Counts passes.
        memo: Results shared by probes of one measurement.
    """

    model: nn.Module
    batches: Iterable[Any]
    loss: Loss
    weigh: Weigh | None = None
    reduction: Literal["mean", "sum"] | None = None
    labels: Callable[[Any], Tensor] | None = None
    parameters: tuple[str, ...] = ()
    mode: Mode = "eval"
    training: Training | None = None
    initial: Mapping[str, Tensor] | None = None
    history: Sequence[tuple[int, Mapping[str, Tensor]]] = ()
    updates: int | None = None
    other: Mapping[str, Tensor] | None = None
    replicas: Sequence[Mapping[str, Tensor]] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    warm: dict[str, Any] | None = None
    meter: Meter = field(default_factory=Meter)
    memo: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def trained(self) -> dict[str, nn.Parameter]:
        """Trained parameters by name, tied ones once, restricted to ``parameters``.

        Raises:
            BadInput: A pattern that fits no trained parameter.
            Unavailable: Nothing is trained, or parameters lie on several devices, in several types, or are
                complex.
        """
        found = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        for pattern in self.parameters:
            if not any(fnmatchcase(name, pattern) for name in found):
                raise BadInput("parameters", pattern, f"a pattern that fits one of {', '.join(found)}")
        if self.parameters:
            found = {n: p for n, p in found.items() if any(fnmatchcase(n, q) for q in self.parameters)}
        if not found:
            raise Unavailable("the model has no trained parameter (requires_grad is False everywhere)")
        if len({p.device for p in found.values()}) > 1:
            raise Unavailable(
                "parameters lie on several devices; move the model to one, or name a part of it"
            )
        if any(p.is_complex() for p in found.values()):
            raise Unavailable(
                "parameters are complex numbers, for which norms and curvature are not defined here: hold "
                "their real and imaginary parts as real parameters (torch.view_as_real), or leave them out "
                "with parameters="
            )
        if len({p.dtype for p in found.values()}) > 1:
            raise Unavailable("parameters have several types; convert the model to one")
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Names of trained parameters, in the order of flat vectors."""
        return tuple(self.trained)

    @property
    def size(self) -> int:
        """Number of trained parameters, P."""
        return sum(p.numel() for p in self.trained.values())

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return next(iter(self.trained.values())).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the parameters."""
        return next(iter(self.trained.values())).dtype

    def flat(self, tensors: Mapping[str, Tensor] | None = None) -> Tensor:
        """Trained parameters (or tensors of the same names) as one vector, [P]; a copy.

        Raises:
            Unavailable: A name is missing or a shape differs.
        """
        if tensors is None:
            return torch.cat([p.detach().reshape(-1) for p in self.trained.values()])
        pieces = []
        for name, p in self.trained.items():
            if name not in tensors or tensors[name].shape != p.shape:
                raise Unavailable(
                    f"the weights given do not fit the model: {name} is missing or of another shape"
                )
            pieces.append(tensors[name].detach().to(p.device, p.dtype).reshape(-1))
        return torch.cat(pieces)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """A flat vector ([..., P]) by parameter name, each [..., *shape]; no copy."""
        found, start = {}, 0
        for name, p in self.trained.items():
            found[name] = flat[..., start : start + p.numel()].view(*flat.shape[:-1], *p.shape)
            start += p.numel()
        return found

    def generator(self, purpose: str) -> torch.Generator:
        """Random numbers on the CPU, a function of the seed and the purpose only."""
        return torch_generator(f"{self.seed} {purpose}", size=7)

    def shared(self, key: str, make: Callable[[], Any]) -> Any:
        """A result that several probes of one measurement use: made once, kept until the measurement ends."""
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]
