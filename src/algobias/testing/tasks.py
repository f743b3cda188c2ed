"""Checks of a task: it trains, repeats itself, goes on exactly, and keeps its fingerprint."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from algobias.tasks.registry import load_task
from algobias.tasks.rehearsal import rehearse
from algobias.tasks.task import Task
from algobias.testing.expect import expect
from algobias.testing.runs import goes_on_exactly, same_curve, shortened
from algobias.training.before.soundness import check_network
from algobias.training.loop import train

TaskCheck = Callable[[Task], None]


def check_task(task: Task | str) -> None:
    """Make every check of a task.

    Cost: five trainings of 30 updates or less with their evaluations.

    Args:
        task: The task, or its text: ``path/to/file.py:name``. Then it is also loaded twice.

    Raises:
        AssertionError: A check fails; the message says what was expected.
        BadInput: It cannot be trained at all.
    """
    text, task = (task, load_task(task)) if isinstance(task, str) else (None, task)
    for check in TASK_CHECKS:
        check(task)
    if text is not None:
        expect(
            load_task(text).fingerprint() == task.fingerprint(), "loaded twice, the fingerprint is the same"
        )


def can_be_trained(task: Task) -> None:
    """Loss and metric are right on a few examples, and the gradient is that of plain PyTorch."""
    rehearse(task)
    check_network(task.recipe(), task)


def learns(task: Task) -> None:
    """The training loss falls within its own budget's first 30 updates and every number is finite."""
    outcome = train(shortened(task.recipe()), task, [0])[0]
    losses = outcome.curve.train_loss
    expect(np.isfinite(losses).all(), "training losses are finite")
    expect(losses[-1] < losses[0], f"the training loss falls in 30 updates; {losses[0]:g} to {losses[-1]:g}")


def repeats_itself(task: Task) -> None:
    """A seed has the same run each time, and seeds differ."""
    recipe = shortened(task.recipe())
    first, second = train(recipe, task, [0, 1])
    expect(same_curve(train(recipe, task, [0])[0], first), "seed 0 again is the same run, to the last bit")
    expect(not same_curve(first, second), "other seeds are other runs")


def can_be_gone_on_with(task: Task) -> None:
    """A run that is stopped in the middle and gone on with is the run that was never stopped."""
    expect(
        goes_on_exactly(shortened(task.recipe()), task), "nothing in the network remembers beside its state"
    )


TASK_CHECKS: tuple[TaskCheck, ...] = (can_be_trained, learns, repeats_itself, can_be_gone_on_with)
