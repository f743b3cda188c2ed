"""Reading at the evaluations of a script: a monitor on its captured passes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from algobias.attached.capture.graph import BackwardPass
from algobias.attached.events import ProbeReading
from algobias.attached.fit.form import Form, examples_in
from algobias.attached.fit.kept import FitSet
from algobias.attached.levers.accumulate import steps_joined
from algobias.attached.levers.delay import Delay
from algobias.attached.levers.group_options import WeightDecay
from algobias.attached.ranks import PROCESSES, trains_with_others
from algobias.probes.captured.network import SEVERAL_LOSSES, Captured, captured
from algobias.probes.guard import Altered
from algobias.probes.monitor import Monitor
from algobias.probes.optimizers import training_from
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.registry import parse_many
from algobias.put_back.modules import undone

if TYPE_CHECKING:
    from algobias.attached.attachment import Attachment

CHANGED = "measuring has changed what is trained"


class CapturedReader:
    """Reads probes on the fit set at every evaluation at which the training loss is taken.

    The guard is that of :class:`~algobias.Monitor`, and what is trained is hashed before and after: at the
    first mismatch nothing is read any more in this run. What cannot be read is told, once.

    Args:
        run: The run.
        probes: As spelled.

    Raises:
        BadInput: An unknown probe, or an option that it does not have.
    """

    def __init__(self, run: Attachment, probes: Sequence[str]) -> None:
        self.run, self.probes = run, parse_many(tuple(probes))
        self.off = False
        self._monitor: Monitor | None = None
        self._initial: dict[int, Tensor] = {}
        self._batch: int | None = None

    def begin(self, form: Form) -> None:
        """Keep the weights before training, and the size of the run's own batches."""
        if self._batch is None:
            self._batch = examples_in([source.tensor for source in form.sources])
        if not self.run.steps.updates:
            for weight in BackwardPass(form.roots, None).weights():
                self._initial.setdefault(id(weight), weight.detach().clone())

    def read(self, fit_set: FitSet, forms: Mapping[str, Form], own_passes: int) -> None:
        """Read every probe, and tell it."""
        if self.off:
            return
        if trains_with_others():
            self._refuse(PROCESSES)
            return
        before = self.run.trained.fingerprint()
        try:
            readings = self._readings(fit_set, forms, own_passes)
        except (Altered, Unavailable) as error:
            self._refuse(str(error))
            return
        except Exception as error:  # whatever the script's own code may raise: training goes on
            self._refuse(f"{type(error).__name__}: {error}")
            return
        if self.run.trained.fingerprint() != before:
            self._refuse(CHANGED)
            return
        self.run.ensure_started()
        for reading in readings:
            event = ProbeReading(
                update=self.run.steps.updates,
                probe=reading.probe,
                value=reading.value,
                reading=json.dumps(reading.to_json(), allow_nan=False),
                fit_set=fit_set.fingerprint,
            )
            self.run.journal.write(event)

    def _readings(self, fit_set: FitSet, forms: Mapping[str, Form], own_passes: int) -> list[Reading]:
        # Losses whose optimizers take turns: the fit set has those of the first one alone.
        steps = self.run.steps.own + self.run.steps.skipped + 1
        if self.run.backwards.seen > 1.5 * own_passes * steps:
            raise Unavailable(SEVERAL_LOSSES)
        with self.run.calls.undisturbed(), self.run.backwards.unseen(), torch.inference_mode(False):
            if self._monitor is None:
                self._monitor = self._made(captured(fit_set, forms, own_passes))
            monitor = self._monitor
            modules = [module for form in forms.values() for module in _modules(form)]
            with undone(modules), torch.enable_grad():
                for module in modules:
                    for part in module.modules():
                        vars(part)["training"] = False
                self._say_how_it_trains(monitor, own_passes)
                return monitor.step(self.run.steps.updates) or []

    def _made(self, subject: Captured) -> Monitor:
        parameters = dict(subject.model.named_parameters())
        known = {name: self._initial.get(id(parameter)) for name, parameter in parameters.items()}
        initial = {name: tensor for name, tensor in known.items() if tensor is not None}
        return Monitor(
            subject.model,
            subject.batches,
            subject.loss,
            self.probes,
            every=1,
            initial=initial if len(initial) == len(known) else None,
            seed=self.run.orders.probe_seed,
        )

    def _say_how_it_trains(self, monitor: Monitor, own_passes: int) -> None:
        """Tell the monitor of the optimizer, and of what levers make of it while it steps."""
        optimizer, levers = self.run.steps.main(), self.run.levers
        monitor.about.pop("training", None)
        unknown = None
        if optimizer is None:
            unknown = "no optimizer of torch has stepped"
        elif any(isinstance(lever, WeightDecay) for lever in levers):
            unknown = "the weight decay is injected"
        else:
            trained = {name: p for name, p in monitor.model.named_parameters() if p.requires_grad}
            batch = None if self._batch is None else self._batch * own_passes * steps_joined(levers)
            try:
                training = training_from(optimizer, trained, batch)
            except Unavailable as error:
                unknown = str(error)
            else:
                delay = next((lever.tau for lever in levers if isinstance(lever, Delay)), 0)
                rate = training.lr if self.run.steps.lr is None else self.run.steps.lr
                monitor.about["training"] = replace(training, lr=rate, delay=delay)
        monitor.about["unknown"] = {} if unknown is None else {"training": unknown}

    def _refuse(self, why: str) -> None:
        self.off = True
        self.run.refuse("probes", why)


def _modules(form: Form) -> list[torch.nn.Module]:
    return BackwardPass(form.roots, None).modules()
