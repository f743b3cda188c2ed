"""The optimizer: which one and its numbers, and the transform that carries it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.levers.amount import Amount
from algobias.levers.base import Card, Lever
from algobias.levers.size import NoShare, between, kept
from algobias.levers.step import Grads, State, Transform, Tree
from algobias.recipe import Recipe
from algobias.recipe_fields import OptimizerSpec
from algobias.spelling import validate_options

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_MOMENTUM = 0.9


def build_transform(spec: OptimizerSpec, rate: Callable[[int], float]) -> Transform:
    """The update rule of an optimizer on flat parameters [..., P], with PyTorch's conventions.

    With gradient g, weights w, rate eta = ``rate(t)``, weight decay d:

    - sgd, sign: ``g += d w; v = momentum v + g; u = g + momentum v`` (nesterov) or ``u = v``;
      ``w -= eta u`` (sgd) or ``w -= eta sign(u)`` (sign);
    - adam: ``g += d w``; adamw: ``w *= 1 - eta d``; then ``m = beta1 m + (1 - beta1) g``,
      ``s = beta2 s + (1 - beta2) g^2``, ``w -= eta m / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + eps)``.

    Rows of leading axes never touch each other. The memory is a dictionary: tensors shaped like the
    parameters, and ``count``, the updates made. Cost: 1 to 4 tensor operations on [..., P] (adam 6 or 7);
    memory: none, one (momentum) or two (adam) copies of the parameters.

    Args:
        spec: The optimizer and its numbers.
        rate: Learning rate of every update, counted from 0.
    """
    return _adam(spec, rate) if spec.name in ("adam", "adamw") else _descent(spec, rate)


def _descent(spec: OptimizerSpec, rate: Callable[[int], float]) -> Transform:
    momentum, decay, nesterov, sign = spec.momentum, spec.weight_decay, spec.nesterov, spec.name == "sign"
    decayed = _decayed(spec)

    def init(state: State) -> Tree:
        memory: dict[str, Any] = {"count": 0}
        if momentum:
            memory["velocity"] = torch.zeros_like(state.params)
        return memory

    def update(grads: Grads, memory: Tree, state: State) -> tuple[State, Tree]:
        after = {"count": memory["count"] + 1}
        if decay:
            grads = torch.add(grads, decayed(state), alpha=decay)
        step = grads
        if momentum:
            step = after["velocity"] = torch.add(grads, memory["velocity"], alpha=momentum)
            if nesterov:
                step = torch.add(grads, step, alpha=momentum)
        if sign:
            step = step.sign()
        return state.with_params(torch.add(state.params, step, alpha=-rate(memory["count"]))), after

    return Transform(init, update)


def _adam(spec: OptimizerSpec, rate: Callable[[int], float]) -> Transform:
    beta1, beta2, eps, decay, decoupled = (
        spec.beta1,
        spec.beta2,
        spec.eps,
        spec.weight_decay,
        spec.name == "adamw",
    )
    decayed = _decayed(spec)

    def init(state: State) -> Tree:
        return {"count": 0, "mean": torch.zeros_like(state.params), "square": torch.zeros_like(state.params)}

    def update(grads: Grads, memory: Tree, state: State) -> tuple[State, Tree]:
        eta, count, params = rate(memory["count"]), memory["count"] + 1, state.params
        if decay and decoupled and spec.decay == "all":
            params = params * (1 - eta * decay)
        elif decay and decoupled:
            params = torch.add(params, decayed(state), alpha=-eta * decay)
        elif decay:
            grads = torch.add(grads, decayed(state), alpha=decay)
        mean = torch.lerp(memory["mean"], grads, 1 - beta1)
        square = (memory["square"] * beta2).addcmul_(grads, grads, value=1 - beta2)
        # Both corrections as scalars: m/c1 / (sqrt(s/c2) + eps) = sqrt(c2)/c1 m / (sqrt(s) + sqrt(c2) eps).
        root = (1 - beta2**count) ** 0.5
        size = eta * root / (1 - beta1**count)
        params = torch.addcdiv(params, mean, square.sqrt().add_(eps * root), value=-size)
        return state.with_params(params), {"count": count, "mean": mean, "square": square}

    return Transform(init, update)


def _decayed(spec: OptimizerSpec) -> Callable[[State], Tensor]:
    """The parameters that weight decay acts on, [..., P]; zero in the places of the others."""
    if spec.decay == "all":
        return lambda state: state.params
    masks: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def matrices(state: State) -> Tensor:
        kind = state.params.device, state.params.dtype
        if kind not in masks:
            ones = [torch.full((shape.numel(),), float(len(shape) > 1)) for shape in state.layout.shapes]
            masks[kind] = torch.cat(ones).to(*kind)
        return state.params * masks[kind]

    return matrices


class Optimizer(Lever):
    """Use another optimizer, or other numbers for the one there is.

    ``sgd`` is plain SGD unless a momentum is given; ``momentum`` is heavy-ball SGD and ``nesterov`` its
    look-ahead form, at the present momentum, or 0.9 where there is none; ``sign`` keeps the present
    momentum. Learning rate and weight decay stay what they are unless given; numbers that the new
    optimizer does not use go back to their defaults.

    Attributes:
        kind: The optimizer that trains.
        lr: Learning rate, or a multiple of the present one.
        momentum: For sgd, momentum, nesterov, sign.
        weight_decay: Coupled, but for adamw.
        beta1: For adam and adamw: what the average of gradients keeps at each update.
        beta2: For adam and adamw: what the average of squared gradients keeps.
        eps: For adam and adamw: added to the root of that average.
    """

    name: ClassVar[str] = "optimizer"
    positional: ClassVar[str | None] = "kind"

    kind: Literal["sgd", "momentum", "nesterov", "adam", "adamw", "sign"]
    lr: Amount | None = None
    momentum: float | None = Field(default=None, ge=0, lt=1)
    weight_decay: float | None = Field(default=None, ge=0)
    beta1: float | None = Field(default=None, ge=0, lt=1)
    beta2: float | None = Field(default=None, ge=0, lt=1)
    eps: float | None = Field(default=None, gt=0)

    card: ClassVar[Card] = Card(
        summary="Changes the optimizer (SGD, heavy ball, Nesterov, Adam, AdamW, sign) or its numbers.",
        saves="updates, where the new optimizer gets to the same training loss sooner",
        costs="memory: momentum one, Adam two copies of the weights",
        not_injected="an optimizer is made with its state: take the script's own option",
        acts_on=("weights",),
        moves=("weight_norm", "distance_from_init", "margin_frobenius"),
        not_when=(
            "A learning rate does not carry over between families: Adam and sign descent take steps of "
            "about the rate itself in every coordinate, SGD of the rate times the gradient. Without lr= the "
            "old rate is kept, and an SGD rate makes Adam diverge. Momentum m multiplies the effective rate "
            "by 1/(1-m). Adaptive methods prefer solutions of another geometry (max-norm rather than "
            "Euclidean margin), which can generalise worse at the same training loss."
        ),
        references=(
            "Polyak, Some methods of speeding up the convergence of iteration methods, 1964 (momentum)",
            "Sutskever et al., On the importance of initialization and momentum, 2013 (nesterov)",
            "Kingma, Ba, Adam: a method for stochastic optimization, 2015",
            "Loshchilov, Hutter, Decoupled weight decay regularization, 2019 (adamw)",
            "Bernstein et al., signSGD: compressed optimisation for non-convex problems, 2018 (sign)",
            "Wilson et al., The marginal value of adaptive gradient methods in machine learning, 2017",
        ),
        examples=("optimizer:sgd,lr=0.5,momentum=0", "optimizer:adam,lr=1e-3", "optimizer:nesterov"),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> Optimizer:
        """The present optimizer."""
        now = recipe.optimizer
        kind = now.name
        if now.name == "sgd" and now.momentum:
            return cls(kind="nesterov" if now.nesterov else "momentum")
        return cls(kind=kind)

    def part_of(self, fraction: float, recipe: Recipe) -> Optimizer:
        """The numbers of the present optimizer: rates geometric, memories in 1 - beta.

        Raises:
            NoShare: Another optimizer.
        """
        now, after = recipe.optimizer, self.apply(recipe).optimizer
        if (now.name, now.nesterov) != (after.name, after.nesterov):
            raise NoShare("another optimizer is a choice, of which there is no part")
        own = ("beta1", "beta2", "eps") if now.name in ("adam", "adamw") else ("momentum",)
        options: dict[str, Any] = {}
        for key in ("lr", "weight_decay", *own):
            how = kept if key in ("momentum", "beta1", "beta2") else between
            before, whole = getattr(now, key), getattr(after, key)
            if key == "momentum" or whole != before:
                options[key] = how(before, whole, fraction)
        kind = "nesterov" if now.nesterov and now.name == "sgd" else now.name
        return validate_options(Optimizer, {"kind": kind, **options})

    def apply(self, recipe: Recipe) -> Recipe:
        """Replace ``optimizer``.

        Raises:
            BadInput: A number that this optimizer does not have, or momentum 0 where momentum is the point.
        """
        now, adaptive = recipe.optimizer, self.kind in ("adam", "adamw")
        foreign = ("momentum",) if adaptive else ("beta1", "beta2", "eps")
        for key in foreign:
            if getattr(self, key) is not None:
                uses = "beta1, beta2, eps" if adaptive else "momentum"
                raise BadInput(
                    f"optimizer.{key}", getattr(self, key), f"{self.kind} has lr, weight_decay, {uses}"
                )
        numbers: dict[str, Any] = {
            "name": self.kind if self.kind not in ("momentum", "nesterov") else "sgd",
            "lr": now.lr if self.lr is None else self.lr.of(now.lr),
            "weight_decay": now.weight_decay if self.weight_decay is None else self.weight_decay,
            "decay": now.decay,
        }
        if adaptive:
            for key in ("beta1", "beta2", "eps"):
                given = getattr(self, key)
                numbers[key] = getattr(now, key) if given is None else given
        else:
            numbers["momentum"] = self._momentum(now)
            numbers["nesterov"] = self.kind == "nesterov" or (
                self.kind == now.name == "sign" and now.nesterov and numbers["momentum"] > 0
            )
        return recipe.edit(optimizer=numbers)

    def _momentum(self, now: OptimizerSpec) -> float:
        if self.kind in ("momentum", "nesterov") and self.momentum == 0:
            raise BadInput("optimizer.momentum", 0, f"above 0 for {self.kind} (plain SGD is optimizer:sgd)")
        if self.momentum is not None:
            return self.momentum
        if self.kind == "sgd":
            return 0.0
        return now.momentum if self.kind == "sign" or now.momentum else DEFAULT_MOMENTUM
