"""The checks of ``algobias.testing``: passed by what is right, failed by what is planted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from algobias.addons import from_file
from algobias.labs.base import Lab, LabResult
from algobias.levers.base import Lever, Part
from algobias.levers.context import Context
from algobias.levers.step import State, Transform
from algobias.probes import Probe, Reading, Subject
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.testing import check_lab, check_probe, check_task, known, lever_task, levers

HERE = Path(__file__).parent
PRODUCT = f"{HERE.parent / 'product_task.py'}:task"


def mine(base: type, name: str) -> Any:
    """A class of the user's file."""
    return from_file(base, base.__name__.lower(), f"{HERE / 'mine.py'}:{name}", ())


def test_a_probe_a_lab_and_a_task_of_ones_own_pass() -> None:
    check_probe(mine(Probe, "Positive"))
    check_lab(mine(Lab, "Descent")())
    check_task(PRODUCT)


def faulty_lever(**body: Any) -> type[Lever]:
    """The user's part with something else in it."""
    shrink = mine(Lever, "Shrink")
    return type("Shrink", (shrink,), {"__module__": __name__, "source": None, **body})


def two(self: Any) -> float:
    """Twice what it costs."""
    return 2.0


def leaky(self: Any, transform: Transform, context: Context) -> Transform:
    """Not neutral at its neutral setting."""

    def update(grads, memory, state: State):
        return transform.update(grads * self.factor + 1e-7, memory, state)

    return transform._replace(update=update)


def forgetful(self: Any, transform: Transform, context: Context) -> Transform:
    """Remembers outside the memory that is saved."""
    calls = [0]

    def update(grads, memory, state: State):
        calls[0] += 1
        return transform.update(grads * self.factor ** (calls[0] % 7), memory, state)

    return transform._replace(update=update)


def drawing(self: Any, transform: Transform, context: Context) -> Transform:
    """Draws from the generator that everybody shares."""

    def update(grads, memory, state: State):
        noise = 1 + (1 - self.factor) * torch.rand(())
        return transform.update(grads * noise, memory, state)

    return transform._replace(update=update)


def mixing(self: Any, transform: Transform, context: Context) -> Transform:
    """Takes a norm over the seeds too."""

    def update(grads, memory, state: State):
        return transform.update(grads / (1 + (1 - self.factor) * grads.norm()), memory, state)

    return transform._replace(update=update)


@pytest.mark.parametrize(
    ("check", "body", "said"),
    [
        (levers.neutral_changes_nothing, {"update": leaky}, "must change nothing"),
        (levers.can_be_gone_on_with, {"update": forgetful}, "memory"),
        (levers.can_be_gone_on_with, {"update": drawing}, "memory"),
        (levers.stacked_and_looped_agree, {"update": mixing}, "stacked and looped training losses agree"),
        (levers.repeats_itself, {"update": mixing}, "seed 4 alone is seed 4 beside others"),
        (levers.acts_where_it_says, {"update": Part.update}, "the first example changes something"),
        (levers.cost_declared_is_cost_measured, {"gradients_per_example": two}, "as declared; measured"),
        (levers.card_is_complete, {"card": "saves"}, "card.saves"),
        (levers.card_is_complete, {"card": "references"}, "every reference of the card has its year"),
        (levers.acts_where_it_says, {"card": "acts_on"}, "a lever that acts on the readout"),
        (levers.examples_go_both_ways, {"card": "examples"}, "begins with the lever's name"),
    ],
)
def test_a_lever_with_a_fault_fails(check: levers.LeverCheck, body: dict[str, Any], said: str) -> None:
    card = mine(Lever, "Shrink").card
    faults = {
        "saves": replace(card, saves="-"),
        "references": replace(card, references=("Nobody",)),
        "acts_on": replace(card, acts_on=("readout",)),
        "examples": replace(card, examples=("shrunk:0.5",)),
    }
    if "card" in body:
        body = {"card": faults[body["card"]]}
    faulty = faulty_lever(**body)
    with known(faulty), pytest.raises(AssertionError, match=said):
        check(faulty, lever_task(faulty))


def altering(self: Probe, subject: Subject) -> Reading:
    """Writes into the network."""
    next(iter(subject.trained.values())).data.mul_(1.01)
    return self.reading(1.0, no_interval="none")


def raising(self: Probe, subject: Subject) -> Reading:
    """Ends in an exception that it does not foresee."""
    raise KeyError("weight")


def random(self: Probe, subject: Subject) -> Reading:
    """Draws without the seed."""
    return self.reading(float(torch.empty(()).uniform_(generator=_ANY)), no_interval="none")


_ANY = torch.Generator()


def bare(self: Probe, subject: Subject) -> Reading:
    """Says nothing of its error."""
    return self.reading(1.0)


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (altering, "left as it was"),
        (raising, "a reason in words"),
        (random, "the same value twice"),
        (bare, "an interval, or no_interval says why not"),
    ],
)
def test_a_probe_with_a_fault_fails(read: Any, said: str) -> None:
    positive = mine(Probe, "Positive")
    with pytest.raises(AssertionError, match=said):
        check_probe(type("Positive", (positive,), {"__module__": __name__, "read": read}))


@pytest.mark.parametrize("fault", ["theory", "off", "series", "columns", "marks", "seed"])
def test_a_lab_with_a_fault_fails(fault: str) -> None:
    descent = mine(Lab, "Descent")
    runs = [0]

    class Faulty(descent):
        name: ClassVar[str] = descent.name

        def run(self, seed: int) -> LabResult:
            """As it should be, with one thing changed."""
            runs[0] += 1
            result = super().run(seed + runs[0] * (fault == "seed"))
            (check,), (panel,) = result.checks, result.panels
            changes: dict[str, Any] = {
                "theory": {"checks": (replace(check, largest=0.0),)},
                "off": {"checks": (replace(check, largest=1e-3),)},
                "series": {"panels": (replace(panel, series=panel.series[:1]),)},
                "columns": {"columns": result.columns[1:]},
                "marks": {"marks": (*result.marks, ("limit", "nothing"))},
            }
            return replace(result, **changes.get(fault, {}))

    with pytest.raises(AssertionError):
        check_lab(Faulty())


class Counting(nn.Module):
    """Remembers in a plain attribute how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(6, 2), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x) * (1 + 0.01 * (self.calls % 5))


def test_a_task_with_a_fault_fails() -> None:
    good = load_task(PRODUCT)
    parts = (good.train.data, good.test.data)

    def task(model: Any, rate: float) -> Task:
        words = {"lr": rate, "batch": 10, "updates": 120}
        return Task("faulty", *parts, model, good.loss, good.metric, words, trivial=50.0)

    with pytest.raises(AssertionError, match="the training loss falls"):
        check_task(task(good.model, 1e-12))
    with pytest.raises((AssertionError, algobias_error())):
        check_task(task(Counting, 0.3))


def algobias_error() -> type[Exception]:
    """What a task is refused with before it is trained."""
    from algobias.errors import BadInput

    return BadInput
