"""The training loss at evaluations: kept training examples, given to the run's own passes again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from algobias.attached.capture.graph import BackwardPass
from algobias.attached.capture.replay import evaluated
from algobias.attached.drained import drain
from algobias.attached.events import TrainLoss
from algobias.attached.fit.form import Form, arguments_with, form_of
from algobias.attached.fit.kept import FitSet, KeptPass, read_fit_set
from algobias.attached.levers.base import NO_BACKWARD
from algobias.attached.listener import Listener
from algobias.attached.orders import FitOrders
from algobias.errors import BadInput
from algobias.put_back.modules import undone

if TYPE_CHECKING:
    from algobias.attached.watched_run import WatchedRun

OTHER_FORM = "this run's passes have another structure than those of the fit set: its own examples are used"
NO_STEPS = "no optimizer steps: which update a loss belongs to is not known"
PASSES_TRIED = 50
"""Own passes that are looked at for one of each form in the fit set."""

MOST_LOSSES = 200
"""After so many losses the next is taken only when the updates have grown by 2 %."""

GROWTH = 1.02


class Reader(Protocol):
    """Whoever reads more than the loss at an evaluation."""

    def begin(self, form: Form) -> None:
        """Be told of the first pass of a form, before the weights that it was made with are changed."""

    def read(self, fit_set: FitSet, forms: Mapping[str, Form], own_passes: int) -> None:
        """Read on the fit set, by forms of the run's own passes; so many of them make a step."""


class FitLoss(Listener):
    """Capture the first passes of training, and take the loss on them, or on others' data, at evaluations.

    An evaluation is a call of a trained module without gradients; the loss is taken at the first one after
    every stretch of training, in evaluation mode, and whatever that changes is put back.

    Args:
        orders: What to keep, and what to use.
        run: The run.
        replay: Whether losses are taken at all; otherwise passes are only kept.
    """

    def __init__(self, orders: FitOrders, run: WatchedRun, replay: bool) -> None:
        self.orders, self.run, self.replay = orders, run, replay
        self.given: FitSet | None = None
        self._stands_in_for: int | None = None
        if orders.use is not None:
            try:
                self.given = read_fit_set(Path(orders.use))
            except BadInput as error:
                self.run.refuse("replay", str(error))
        self.readers: list[Reader] = []
        self._own: list[KeptPass] = []
        self._own_examples = 0
        self._forms: dict[str, Form] = {}
        self._modules: list[nn.Module] = []
        self._kept_passes: list[BackwardPass] = []
        self._seen = self._since_step = self._losses = self._measured_at = 0
        self._per_step: int | None = None
        self._complete = False
        self._lost = False
        self._closed = False
        run.backwards.takers.append(self)

    # -- capturing -------------------------------------------------------------------------------------------

    def wants(self) -> bool:
        """The first passes, until there are enough; of a closure that a step calls again, the first alone."""
        return not (self._complete or self._lost or self._closed)

    def take(self, backward_pass: BackwardPass) -> None:
        """Keep the data of a pass, and the pass itself where it is the first of its form."""
        form = form_of(backward_pass)
        self._seen += 1
        self._own.append(KeptPass.of(form))
        self._own_examples += self._own[-1].examples
        if form.key not in self._forms:  # the others go, with all that is kept of them
            self._forms[form.key] = form
            self._kept_passes.append(backward_pass)
            self._modules = list(dict.fromkeys([*self._modules, *backward_pass.modules()]))
            for reader in self.readers:
                reader.begin(form)
        if self.given is not None:
            wanted = {kept.form for kept in self.given.passes}
            if wanted <= self._forms.keys():
                self._own.clear()
                self._own_examples = 0
                self._complete = True
            elif self._seen >= PASSES_TRIED:
                self._use_own()
        self._since_step += 1
        # Else at the end of the step, which may have other losses; but nobody may ever step.
        if self._since_step >= PASSES_TRIED:
            self._end_of_own()

    def _use_own(self) -> None:
        """Let the run's own examples stand in for those of the fit set, which its passes cannot take."""
        if self.given is not None:
            self._stands_in_for, self.given = self.given.examples, None
            self.run.refuse("capture", OTHER_FORM)

    def lose(self, why: str) -> None:
        """Go on with what there is; without any pass there is no loss."""
        self._lost = True
        if not self._forms:
            self.run.refuse("replay", why)
        else:
            self.run.refuse("capture", why)

    def after_closure(self) -> None:
        """Take no more passes of this step: a closure that is called again has the same examples."""
        self._closed = True
        self._count_passes()

    def step_ended(self) -> None:
        """Take passes again, whatever became of the step."""
        self._closed = False

    def _count_passes(self) -> None:
        if self._per_step is None and self._seen:
            # Of all passes, wanted or not, in a step of the script's own that a scaler has not left out.
            own_steps = self.run.steps.own + self.run.steps.skipped
            self._per_step = max(1, round(self.run.backwards.seen / max(1, own_steps)))

    def after_step(self, optimizer: Optimizer) -> None:
        """Do what follows any update."""
        self.after_hand_update()

    def after_hand_update(self) -> None:
        """Count the passes of the first step; drop what only a second pass of this step could have needed."""
        for backward_pass in self._kept_passes:
            backward_pass.forget_surroundings()
        self._kept_passes.clear()
        self._count_passes()
        self._since_step = 0
        self._end_of_own()

    def _end_of_own(self) -> None:
        """Keep the run's own passes, where there are enough of them."""
        # At every step: whether anything is wanted at all comes first, it costs next to nothing.
        if self.given is None and self.wants() and self._own_examples >= self.orders.examples:
            self._complete = True
            self._keep()

    def _keep(self) -> None:
        if self.orders.keep is not None:
            self._fit_set().write(Path(self.orders.keep))

    def _fit_set(self) -> FitSet:
        if self.given is not None:
            return self.given
        return FitSet(tuple(self._own), self._per_step or self._seen)

    # -- measuring -------------------------------------------------------------------------------------------

    def evaluation(self, module: nn.Module) -> AbstractContextManager[None] | None:
        """Take the loss, at the first evaluation after a stretch of training."""
        if self._is_due():
            self.measure()
        return None

    def _is_due(self) -> bool:
        updates = self.run.steps.updates
        if not self.replay or not self._forms or updates <= self._measured_at:
            return False
        return self._losses < MOST_LOSSES or updates >= GROWTH * self._measured_at

    def measure_if_due(self) -> None:
        """Take the loss where no evaluation was seen; not of averages, which are not in place then."""
        averaged = self.run.has_lever("ema")
        if self._is_due() and not averaged:
            with torch.no_grad():
                self.measure()

    def measure(self) -> None:
        """Take the loss on the fit set, and tell it."""
        if self.given is not None and not self._complete:
            return
        drain()
        fit_set = self._fit_set()
        self._measured_at = self.run.steps.updates
        try:
            with self.run.calls.undisturbed(), undone(self._modules):
                for module in self._modules:
                    for part in module.modules():
                        vars(part)["training"] = False
                losses = [self._loss(kept) for kept in fit_set.passes]
        except Exception as error:
            self._forms.clear()
            self.run.refuse(
                "replay", f"the loss cannot be taken on other data ({type(error).__name__}: {error})"
            )
            return
        self._losses += 1
        factor = self._factor(fit_set)
        weights = [kept.examples for kept in fit_set.passes]
        value, error_of_mean = mean_and_error([factor * loss for loss in losses], weights)
        exact = self.given is not None or (self.orders.keep is not None and self._complete)
        self.run.ensure_started()
        self.run.journal.write(
            TrainLoss(
                update=self.run.steps.updates,
                value=value,
                se=None if exact else error_of_mean,
                examples=fit_set.examples,
                fit_set=fit_set.fingerprint,
                exact=exact,
                batches=None if exact else len(fit_set.passes),
                shared=self._stands_in_for,
            )
        )
        if self._complete:
            for reader in self.readers:
                reader.read(fit_set, self._forms, self._per_step or self._seen)

    def _factor(self, fit_set: FitSet) -> float:
        """What the mean over passes is multiplied by, so that it is the loss of a step.

        Of one loss the passes of a step, where they are added up. Several losses of a step keep the factors
        that the script gives them.
        """
        if self._has_several(fit_set):
            return float(self._per_step or self._seen)
        return 1.0 if any(kept.divided for kept in fit_set.passes) else float(fit_set.per_step)

    @staticmethod
    def _has_several(fit_set: FitSet) -> bool:
        return len({kept.form for kept in fit_set.passes}) > 1

    def _loss(self, kept: KeptPass) -> float:
        form = self._forms[kept.form]
        given = {
            source: tensor.to(source.tensor.device)
            for source, tensor in zip(form.sources, kept.tensors, strict=True)
        }
        roots = evaluated(form.roots, given, arguments_with(form, kept.constants))
        own = form.factor if self._has_several(self._fit_set()) else 1.0
        return own * sum(float(root.double().sum()) for root in roots)

    def at_end(self) -> None:
        """Keep what there is, take the last loss, or tell why there is none."""
        if not self.run.backwards.seen and not self._lost:
            self.run.refuse("replay", NO_BACKWARD)
        elif self.replay and self._forms and not self.run.steps.updates:
            self.run.refuse("replay", NO_STEPS)
        if self._own and not (self._complete or self._lost):
            self._use_own()
        if self.given is None and self._own and not self._complete:
            self._complete = not self._lost
            self._keep()
        self.measure_if_due()


def mean_and_error(values: Sequence[float], weights: Sequence[int]) -> tuple[float, float | None]:
    """The weighted mean of values, and its standard error; None of a single value.

    The error is that of a mean of independent values: the root of ``sum w_i^2 (x_i - m)^2 n / (n - 1)``, with
    weights that add up to one.
    """
    total = sum(weights)
    shares = [weight / total for weight in weights]
    mean = sum(share * value for share, value in zip(shares, values, strict=True))
    if len(values) < 2:
        return mean, None
    squares = sum((share * (value - mean)) ** 2 for share, value in zip(shares, values, strict=True))
    return mean, math.sqrt(squares * len(values) / (len(values) - 1))
