"""Stale gradients: the gradient of the weights some updates ago, and momentum as old as it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.levers.base import Arranged, Card, Part
from algobias.levers.context import Context
from algobias.levers.size import whole_between
from algobias.levers.step import Grads, Key, Layout, State, Transform, Tree
from algobias.recipe import Recipe
from algobias.recipe_fields import OptimizerSpec
from algobias.seeding.streams import generator
from algobias.theory.stability import Algorithm, matched_rate

if TYPE_CHECKING:
    from torch import Tensor

SHIFTED_MOMENTUM = 0.9
"""Shifted momentum where the recipe has none of its own."""


class Delay(Part):
    """The gradient of the weights tau updates ago, on the current batch (Giladi et al. 2020).

    For the first tau updates it is taken at the initial weights. Memory: tau copies of the weights (2 tau
    where ``kind=random``), and tau + 1 more with shifted momentum.

    Attributes:
        tau: Age of the gradient in updates.
        lr: With ``rule`` the learning rate is lowered by the factor with which gradient descent of the
            same momentum (none, where it is 0 or shifted) keeps the same minima stable in spite of the delay.
            With ``momentum=keep`` these are the recipe's own; with 0 those of gradient descent at the
            recipe's effective rate, (1 - m) / (1 + m) times as sharp as its own; with ``shifted`` up to 1 + m
            times as sharp as with 0. ``match_stability`` instead of the rule keeps the recipe's own in each
            case.
        momentum: What becomes of the recipe's momentum m: it stays (``keep``), there is none (0), or it
            is as old as the gradient (``shifted``; 0.9 where the recipe has none). With 0 and ``shifted`` the
            effective rate lr / (1 - m) stays.
        kind: How old each gradient is: tau updates (``fixed``, and with the same ages ``workers``, which
            are tau + 1 in turn and a parameter server), uniform from 0 to 2 tau (``random``, for which stable
            is meant in mean square), or from tau at the first layer to 0 at the last, in equal steps
            (``pipeline``).
        shift: The momentum that is shifted; filled in where it is left out.
    """

    name: ClassVar[str] = "delay"
    positional: ClassVar[str | None] = "tau"
    revision: ClassVar[int] = 2  # 1 left weight decay out of a shifted velocity

    tau: int = Field(ge=0, le=4096)
    lr: Literal["none", "rule"] = "none"
    momentum: Literal["keep", "0", "shifted"] = "keep"
    kind: Literal["fixed", "workers", "random", "pipeline"] = "fixed"
    shift: float | None = Field(default=None, ge=0, lt=1)

    card: ClassVar[Card] = Card(
        summary="Uses gradients that are some updates old, as asynchronous workers and pipelines do.",
        saves="time: workers do not wait for each other",
        costs="stability: the largest stable learning rate falls about as 1 / tau; memory for old weights",
        injected=(
            "algobias.DelayedGradients around backward and step; a fixed delay, without lr=, momentum= "
            "and kind="
        ),
        acts_on=("weights",),
        moves=("top_eigenvalue", "trace", "gradient_variance"),
        not_when=(
            "At an unchanged rate, momentum .9 and a delay of 2 already diverge (digits: 11 % accuracy). "
            "With the rule and no momentum, a delay of 8 is an optimization loss at equal updates (1.5 "
            "points on digits) and none at equal training loss, where the same small rate without a delay "
            "loses a full point: the stability limit regularises; at a delay of 16 the same small rate "
            "without the delay lost 1.1 points, with it 0.15 [-0.06, 0.36]. Shifted momentum at the same "
            "effective rate did lose 0.5 points there; it keeps minima that are sharper (1.33 times at a "
            "delay of 8 and momentum .9)."
        ),
        references=(
            "Giladi, Nacson, Hoffer, Soudry, At stability's edge: how to adjust hyperparameters to preserve "
            "minima selection in asynchronous training of neural networks?, 2020",
            "Mitliagkas et al., Asynchrony begets momentum, 2016",
            "Narayanan et al., PipeDream: generalized pipeline parallelism for DNN training, 2019 (pipeline)",
        ),
        examples=("delay:8,lr=rule,momentum=0", "delay:4,lr=rule,momentum=shifted", "delay:3,kind=random"),
        controls=(
            "match_stability",
            "sam:0.1",
            "sam:0.05",
            "lr:x1.5",
            "lr:x2",
            "lr:x0.5",
            "optimizer:sgd,momentum=0",
            "clip:1",
        ),
    )

    @field_validator("momentum", mode="before")
    @classmethod
    def _zero(cls, value: Any) -> Any:
        return "0" if value in (0, "0.0") and not isinstance(value, bool) else value

    @classmethod
    def neutral(cls, recipe: Recipe) -> Delay:
        """Fresh gradients."""
        return cls(tau=0)

    def part_of(self, fraction: float, recipe: Recipe) -> Delay:
        """Linear in the age, rounded; geometric where the recipe has one."""
        return self.with_options(tau=whole_between(self.size_from(recipe, "tau"), self.tau, fraction))

    def idle(self, recipe: Recipe) -> bool:
        """Fresh gradients, and the momentum is the optimizer's own."""
        return self.tau == 0 and self.momentum != "shifted"

    def cannot_follow(self, earlier: Arranged) -> bool:
        """Workers that go their own way have no common weights to be old."""
        return earlier.name == "local_sgd"

    def apply(self, recipe: Recipe) -> Recipe:
        """Append this part; momentum and learning rate as asked for.

        Raises:
            BadInput: A rule or shifted momentum for another optimizer than SGD.
        """
        now = recipe.optimizer
        if (self.lr == "rule" or self.momentum != "keep") and now.name != "sgd":
            raise BadInput("delay.lr", self.lr, f"none, with momentum=keep: there is no rule for {now.name}")
        if now.nesterov and self.tau and (self.lr == "rule" and self.momentum == "keep"):
            raise BadInput("delay.momentum", "keep", "0 or shifted: there is no rule for Nesterov momentum")
        part, rate = self, now.lr
        if self.momentum != "keep":
            after = 0.0
            if self.momentum == "shifted":
                after = self.shift if self.shift is not None else (now.momentum or SHIFTED_MOMENTUM)
                part = self.model_copy(update={"shift": after})
            rate = rate / (1 - now.momentum) * (1 - after)
            recipe = recipe.edit(optimizer__momentum=0.0, optimizer__nesterov=False)
        if self.lr == "rule":
            kept = now.momentum if self.momentum == "keep" else 0.0
            stale = Algorithm(kept, delay=self.tau, random=self.kind == "random")
            rate = matched_rate(rate, Algorithm(kept), stale)
        if rate != now.lr:
            recipe = recipe.edit(optimizer__lr=rate)
        return super(Delay, part).apply(recipe)

    def derivation(self, recipe: Recipe) -> str | None:
        """How the learning rate follows from the recipe's, in one line.

        And, with the rule, how sharp the minima are that stay stable, if not as with the recipe itself.
        """
        now = recipe.optimizer
        edited = self.apply(recipe)
        after = edited.optimizer
        if self.lr == "none" and after.lr == now.lr:
            return None
        shift = self.shift if self.shift is not None else (now.momentum or SHIFTED_MOMENTUM)
        steps = [f"{now.lr:g}"]
        if self.momentum == "0" and now.momentum:
            steps.append(f"/ (1 - {now.momentum:g})")
        if self.momentum == "shifted":
            steps += [f"/ (1 - {now.momentum:g})"] * bool(now.momentum) + [f"x (1 - {shift:g})"]
        if self.lr == "rule" and (self.momentum != "keep" or now.momentum == 0) and self.kind != "random":
            steps.append(f"x sin(pi / {4 * self.tau + 2})")
        elif self.lr == "rule":
            steps.append("x ratio of the critical products with and without the delay")
        line = f"lr = {' '.join(steps)} = {after.lr:.6g}"
        if self.lr == "none":
            return line
        own = Algorithm(now.momentum, now.nesterov).critical_product / now.lr
        part = next(part for part in edited.parts if part.name == self.name)
        stale = Delay.model_validate(dict(part.options)).algorithm(after)
        ratio = stale.critical_product / after.lr / own
        if abs(ratio - 1) < 1e-6:
            return line
        return (
            f"{line}; minima stay stable up to {ratio:.3g} times the sharpness that the recipe itself allows"
        )

    def algorithm(self, optimizer: OptimizerSpec) -> Algorithm:
        """Momentum and delay of the updates of a recipe with this part, as far as stability is concerned.

        Raises:
            BadInput: Nesterov momentum with a delay.
        """
        random = self.kind == "random"
        if self.momentum == "shifted" and self.shift is not None:
            return Algorithm(self.shift, delay=self.tau, shifted=True, random=random)
        return Algorithm(optimizer.momentum, optimizer.nesterov, self.tau, random=random)

    @property
    def kept(self) -> int:
        """Copies of old weights that are kept."""
        return 2 * self.tau if self.kind == "random" else self.tau

    def update(self, transform: Transform, context: Context) -> Transform:
        """Keep old weights, take gradients there, and give momentum their age."""
        shift = self.shift if self.momentum == "shifted" else None
        if not self.kept and shift is None:
            return transform
        pick, decay = self._pick(), context.recipe.optimizer.weight_decay

        def init(state: State) -> Tree:
            memory = {"inner": transform.init(state), "past": (state.params,) * self.kept}
            if shift is not None:
                memory["velocities"] = (torch.zeros_like(state.params),) * (self.tau + 1)
            return memory

        def at(state: State, memory: Tree, key: Key) -> State:
            # the tree may have come back from a snapshot as a list
            past = (*memory["past"], state.params)
            return transform.at(state.with_params(pick(past, key, state.layout)), memory["inner"], key)

        def update(grads: Grads, memory: Tree, state: State) -> tuple[State, Tree]:
            past = (*memory["past"], state.params)[1:] if self.kept else ()
            after: dict[str, Any] = {"past": past}
            if shift is not None:
                # the decay belongs to the velocity, as in heavy ball; the optimizer would add it afterwards
                whole = torch.add(grads, state.params, alpha=decay) if decay else grads
                velocity = torch.add(whole, memory["velocities"][0], alpha=shift)
                after["velocities"] = (*memory["velocities"][1:], velocity)
                grads = torch.add(velocity, state.params, alpha=-decay) if decay else velocity
            state, after["inner"] = transform.update(grads, memory["inner"], state)
            return state, {key: after[key] for key in memory}

        def weights(state: State, memory: Tree) -> State:
            return transform.weights(state, memory["inner"])

        return Transform(init, update, weights, at)

    def _pick(self) -> Callable[[tuple[Tensor, ...], Key, Layout], Tensor]:
        """From (oldest, ..., current weights) those at which the gradient is taken."""
        if self.kind in ("fixed", "workers"):
            return lambda past, key, layout: past[0]
        if self.kind == "pipeline":
            return lambda past, key, layout: staged(past, layout)
        return self._random

    def _random(self, past: tuple[Tensor, ...], key: Key, layout: Layout) -> Tensor:
        ages = [random_age(seed, key.update, self.tau) for seed in key.seeds]
        if past[-1].dim() == 1:
            return past[-1 - ages[0]]
        return torch.stack([past[-1 - age][row] for row, age in enumerate(ages)])


def random_age(seed: int, update: int, tau: int) -> int:
    """Age of the gradient of an update, uniform from 0 to 2 tau; fixed by (seed, update)."""
    return int(generator(seed, "delay", update).integers(0, 2 * tau + 1))


def stages(layout: Layout, tau: int) -> tuple[int, ...]:
    """Age of each named parameter's gradient in a pipeline: tau at the first module, 0 at the last."""
    modules = [name.rpartition(".")[0] for name in layout.names]
    order = {module: place for place, module in enumerate(dict.fromkeys(modules))}
    deepest = max(1, len(order) - 1)
    return tuple(math.floor(tau * (len(order) - 1 - order[module]) / deepest + 0.5) for module in modules)


def staged(past: tuple[Tensor, ...], layout: Layout) -> Tensor:
    """Each module's parameters as old as its stage makes them, [..., P]."""
    ages = stages(layout, len(past) - 1)
    ends = zip(layout.offsets[:-1], layout.offsets[1:], ages, strict=True)
    return torch.cat([past[-1 - age][..., start:end] for start, end, age in ends], -1)
