"""Measuring: probes on one subject, inside the guard, with every failure told as a status."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.own.returns import is_own
from algobias.own.user_code import where_and_what
from algobias.probes.base import Probe
from algobias.probes.guard import Altered, Batches, Weights, untouched
from algobias.probes.passes.batches import lasting
from algobias.probes.passes.losses import checked, require_graph
from algobias.probes.passes.weighing import weighing
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.registry import parse_many
from algobias.probes.subject import Loss, Subject
from algobias.put_back.attributes import Attributes
from algobias.tasks.checks import check_module
from algobias.trees import OnCopies, copied, written_by

if TYPE_CHECKING:
    from torch import nn

MODULE = "an nn.Module; measure(model, batches, loss) takes the network itself, and first"
LEAVES = "a probe leaves the network and the batches as they are"
ANY_FAILURE = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What a user's model or loss may raise: one probe less is not the end of a measurement."""
RARE_FAILURE = (AssertionError, ImportError, OSError)
"""What else a user's model or loss raises; in a probe of ours it would be a defect of ours."""


def measure(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Loss,
    probes: str | Sequence[str | Probe] = "cheap",
    **about: Any,
) -> list[Reading]:
    """Measure coordinates of the bias of a trained network.

    Example:
        >>> import torch
        >>> net = torch.nn.Linear(2, 1, bias=False)
        >>> _ = torch.nn.init.ones_(net.weight)
        >>> data = [(torch.eye(2), torch.zeros(2, 1))]
        >>> def mse(model, batch): return (model(batch[0]) - batch[1]).square().mean()
        >>> measure(net, data, mse, ["weight_norm"])[0].value  # doctest: +ELLIPSIS
        1.414...

    Args:
        model: The network; left exactly as it was.
        batches: A list of batches or a data loader (one that shuffles, or anything that can be gone over only
            once, is read into a list): what is measured is the loss of all of them.
        loss: ``loss(model, batch)``, a scalar.
        probes: A preset (``cheap``, ``standard``, ``full``), or probes by name.
        about: Further fields of :class:`~algobias.probes.subject.Subject`: ``training``, ``initial``, ...

    Returns:
        One reading for each probe, in order; where one cannot honestly be given, its status says why.

    Raises:
        BadInput: An unknown probe or option; no module; batches that are none; layers without weights yet;
            a loss that gives more than one number.
        Altered: A probe of the catalogue has changed the model: a defect, never the user's doing.
    """
    check_module(model, MODULE)
    subject, wanted = Subject(model, lasting(batches), loss, **about), parse_many(probes)
    check_loss(subject)
    return take(subject, wanted)


def check_loss(subject: Subject) -> None:
    """Refuse a loss that cannot be meant: torch's own loss object, or more than one number for a batch.

    Whatever else goes wrong inside it is told by the readings. Cost: one forward pass of the first batch.

    Raises:
        BadInput: The loss is one of these.
    """
    if isinstance(subject.loss, torch.nn.modules.loss._Loss):
        wrapped = "lambda model, batch: criterion(model(batch[0]), batch[1])"
        raise BadInput("loss", type(subject.loss).__name__, f"a function loss(model, batch), as in {wrapped}")
    first = next(iter(subject.batches), None)
    if first is None:
        return
    with untouched(subject.model, subject.mode), suppress(Unavailable, *ANY_FAILURE, *RARE_FAILURE):
        found: Any = subject.loss(subject.model, copied(first))
        if not isinstance(found, torch.Tensor) or found.dim() != 0:
            shape = getattr(found, "shape", None)
            given = (
                type(found).__name__ if shape is None else f"{type(found).__name__} of shape {tuple(shape)}"
            )
            raise BadInput("loss", given, "a function that returns a scalar tensor (reduction='mean')")


def take(subject: Subject, probes: Sequence[Probe], *, strict: bool = True) -> list[Reading]:
    """Take the readings of one subject; results that several probes need are computed once.

    A shared result is charged to the first probe that asks for it.

    Args:
        subject: What is measured.
        probes: The probes.
        strict: Raise what is a mistake of the user's, or a defect of a probe of ours; else every exception
            of a probe is the reason of its reading, so that a training in progress goes on.

    Raises:
        BadInput: The model is none, or has layers without weights yet; a user's probe has changed it in a way
            that could not be put back.
    """
    check_module(subject.model, MODULE)
    with untouched(subject.model, subject.mode):
        problem = _examine(subject, strict)
    if subject.memo.get("writes"):
        subject = replace(subject, loss=OnCopies(subject.loss))
    readings = []
    for probe in probes:
        if problem is not None:
            readings.append(unavailable(probe, problem))
            continue
        readings.append(_left_alone(probe, subject, strict))
    return readings


def unavailable(probe: Probe, reason: str) -> Reading:
    """The reading of a probe that cannot give a number."""
    return probe.reading(None, status="unavailable", reason=reason)


def _left_alone(probe: Probe, subject: Subject, strict: bool) -> Reading:
    """Read; a probe of the user's that alters model or batches has its doing undone, and no reading."""
    if is_own(type(probe)):
        try:
            with untouched(subject.model, subject.mode):
                return _read(probe, subject, strict)
        except Altered as error:
            raise Altered(f"{probe.spelling()}: {error}") from error
    weights, batches, memo = Weights(subject.model), Batches(subject.batches), dict(subject.memo)
    altered = ""
    try:
        with untouched(subject.model, subject.mode):
            reading = _read(probe, subject, strict)
    except Altered as error:
        altered = str(error)
        if not weights.put_back():
            batches.put_back()
            raise BadInput(f"probe {probe.spelling()}", f"{error}, not to be put back", LEAVES) from error
    if written := batches.put_back():
        altered += f"{' and ' if altered else 'measuring changed '}batches{', batches'.join(written[:3])}"
    if not altered:
        return reading
    subject.memo.clear()  # what it has computed may be that of other weights, or other examples
    subject.memo.update(memo)
    return unavailable(probe, f"{altered}, which is put back: {LEAVES}")


def _read(probe: Probe, subject: Subject, strict: bool) -> Reading:
    before, start = subject.meter.cost(), time.perf_counter()
    missing = [name for name in probe.card.needs if getattr(subject, name) in (None, (), "")]
    if missing:
        known = [f"; {name}: {subject.unknown[name]}" for name in missing if name in subject.unknown]
        return unavailable(probe, f"it needs {' and '.join(missing)}{''.join(known)}")
    torch.manual_seed(subject.seed)
    try:
        reading = probe.read(subject)
        if not is_own(type(probe)):
            reading = _plain(reading)
    except Unavailable as error:
        return unavailable(probe, str(error))
    except ANY_FAILURE as error:
        return unavailable(probe, told(error) if is_own(type(probe)) else where_and_what(error))
    except (Exception, SystemExit) as error:
        if is_own(type(probe)):
            if strict:
                raise
            return unavailable(probe, told(error))
        return unavailable(probe, where_and_what(error))
    cost = subject.meter.cost(time.perf_counter() - start) - before
    if reading.value is not None and not math.isfinite(reading.value):
        return replace(unavailable(probe, f"the value is {reading.value}"), cost=cost)
    warnings = (*reading.warnings, *weighing(subject).warnings)
    changing = subject.memo.get("changing")
    if changing:
        told_of = ", ".join(changing[:3])
        warnings = (*warnings, f"every forward pass changes the number {told_of}: readings may depend on it")
    return replace(reading, cost=cost, warnings=warnings)


def _plain(reading: object) -> Reading:
    """What a user's probe returned, with values that JSON has.

    Raises:
        TypeError: It is no reading, or has something else in it; says what.
    """
    if not isinstance(reading, Reading):
        raise TypeError(f"read returned {type(reading).__name__}, not a Reading")
    value = reading.value
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise TypeError(f"the value of the reading is a {type(value).__name__}, not a number or None")
    if value is not None and not math.isfinite(value):
        return reading  # told as such
    try:
        text = json.dumps(reading.to_json(), allow_nan=False)
        return replace(Reading.from_json(json.loads(text)), cost=reading.cost)
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise TypeError(f"the reading has something in it that is not plain: {told(error)}") from error


def told(error: BaseException) -> str:
    """An exception in one line."""
    text = str(error)
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def _examine(subject: Subject, strict: bool) -> str | None:
    """What makes every reading impossible, or None. Cost: two forward passes of the first batch."""
    try:
        _try_out(subject)
    except Unavailable as error:
        return str(error)
    except (*ANY_FAILURE, *RARE_FAILURE) as error:
        return f"the loss cannot be computed: {told(error)}"
    except Exception as error:
        if strict:
            raise
        return f"the loss cannot be computed: {told(error)}"
    return None


def _try_out(subject: Subject) -> None:
    first = next(iter(subject.batches), None)
    if first is None:
        raise Unavailable("there are no batches")
    subject.trained  # noqa: B018 - raises where there is nothing to measure
    losses: list[float] = []
    for _ in range(2):
        attributes = Attributes(subject.model.named_modules())
        found, writes = written_by(lambda batch: subject.loss(subject.model, batch), first)
        loss = checked(found)
        require_graph(loss)
        losses.append(float(loss.detach()))
        subject.memo["writes"] = writes
    if abs(losses[0] - losses[1]) > 1e-5 * abs(losses[0]) + 1e-12:
        raise Unavailable(
            "two passes over the same batch give different losses (dropout or other randomness in the "
            "forward pass, or state that it keeps in attributes): measure in eval mode, fix the randomness, "
            "or keep state in buffers"
        )
    subject.memo["changing"] = sorted(attributes.changed())
    weighing(replace(subject, loss=OnCopies(subject.loss)) if writes else subject)
