"""One-dimensional slices of a network through pairs of inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from algobias.lazy import no_grad, torch
from algobias.probes.base import Probe
from algobias.probes.passes.calls import captured, logits_in, single_call
from algobias.probes.passes.losses import totals
from algobias.probes.passes.samples import Floats, mean_interval
from algobias.probes.passes.states import State, loss_with, own_state
from algobias.probes.passes.ways import require_swapping
from algobias.probes.passes.weighing import example, examples, weighing
from algobias.probes.reading import Interval, Unavailable
from algobias.probes.subject import Subject
from algobias.spelling import Whole
from algobias.trees import map_trees

if TYPE_CHECKING:
    from torch import Tensor


CHUNK = 64
"""Points of a slice that are evaluated together."""


PAIRS = "pairs of examples are independent draws"


@dataclass(frozen=True)
class Slices:
    """Outputs along straight lines between two examples each, in double precision.

    Attributes:
        values: Outputs at equal steps from end to end, [S, points + 1, C].
        lengths: Euclidean distance of the ends, [S].
    """

    values: Floats
    lengths: Floats


def take_slices(subject: Subject, count: int, points: int) -> Slices:
    """The function along lines between random disjoint pairs of examples.

    Cost: ``count * (points + 3)`` forward passes of one example. Memory: ``count * points`` outputs.

    Raises:
        Unavailable: No real-valued input, no two different examples of one shape, no double precision.
    """
    key = f"slices {count} {points}"
    found: Slices = subject.shared(key, lambda: _take_slices(subject, count, points))
    return found


def _take_slices(subject: Subject, count: int, points: int) -> Slices:
    doubt = weighing(subject).doubt
    if doubt is not None:
        raise Unavailable(f"the function of one input needs examples that stand alone: {doubt}")
    _, total = totals(subject)
    order = torch.randperm(total, generator=subject.generator("pairs of examples")).tolist()
    pairs = [(order[i], order[i + 1]) for i in range(0, len(order) - 1, 2)][:count]
    wanted = _pick(subject, {place for pair in pairs for place in pair})
    state = {n: t.double() if t.is_floating_point() else t for n, t in own_state(subject).items()}
    values, lengths = [], []
    for first, second in pairs:
        a, b = (_input(subject, state, wanted[place]) for place in (first, second))
        distance = float((b - a).norm()) if a.shape == b.shape else 0.0
        if distance == 0:
            continue
        values.append(_along(subject, state, wanted[first], a, b, points))
        lengths.append(distance)
    if not values:
        raise Unavailable("slices need two examples of one shape that differ")
    return Slices(np.stack(values), np.array(lengths))


def _pick(subject: Subject, places: set[int]) -> dict[int, Any]:
    """Single examples by their place in the data, real tensors in double precision."""
    found, start = {}, 0
    for batch in subject.batches:
        n = examples(batch)
        for place in sorted(places & set(range(start, start + n))):
            found[place] = map_trees(
                lambda t: t.double() if t.is_floating_point() else t, example(batch, place - start)
            )
        start += n
    return found


def _input(subject: Subject, state: State, batch: Any) -> Tensor:
    _, call_inputs = _call(subject, state, batch, None)
    if not call_inputs:
        raise Unavailable("slices need a real-valued input of the model; this one takes none")
    return call_inputs[0].detach().double()


def _along(subject: Subject, state: State, batch: Any, a: Tensor, b: Tensor, points: int) -> Floats:
    steps = torch.linspace(0, 1, points + 1, dtype=torch.float64, device=a.device)
    outputs = []
    for part in torch.split(steps, CHUNK):
        t = part.reshape(-1, *(1 for _ in a.shape[1:]))
        line = (1 - t) * a + t * b
        repeated = _repeated(batch, len(part))
        output, _ = _call(subject, state, repeated, line)
        outputs.append(output.reshape(len(part), -1))
    found: Floats = torch.cat(outputs).cpu().numpy()
    return found


def _repeated(batch: Any, count: int) -> Any:
    return map_trees(lambda x: x.expand(count, *x.shape[1:]) if x.ndim else x, batch)


@no_grad
def _call(
    subject: Subject, state: State, batch: Any, line: Tensor | None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    require_swapping(subject)
    change = None if line is None else lambda _: line.clone()
    try:
        with captured(subject.model, change=change, keep=line is None) as call:
            loss_with(subject, state, batch)
    except RuntimeError as error:
        told = str(error).splitlines()[0]
        raise Unavailable(f"slices are computed in double precision, which fails here: {told}") from error
    single_call(call)
    subject.meter.forwards += examples(batch) / totals(subject)[1]
    return logits_in(call.output).double(), call.inputs


class _OnSlices(Probe):
    """Options of probes on slices.

    Attributes:
        slices: How many lines.
        points: Into how many steps each is cut.
    """

    slices: Annotated[Whole, Field(ge=1)] = 32
    points: Annotated[Whole, Field(ge=16, multiple_of=4)] = 1024

    def _interval(self, values: Floats) -> Interval | None:
        found = mean_interval(values)
        return None if found is None else Interval(found.low, found.high, found.level, PAIRS)
