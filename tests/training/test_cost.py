"""Peak memory of a step: the most bytes that autograd holds at one time, whatever the allocator does."""

from __future__ import annotations

import pytest
import torch

from algobias.levers.registry import parse
from algobias.tasks.registry import load_task
from algobias.training.cost import _Saved
from algobias.training.loop import train
from algobias.training.setup import Setup


def peak_of(make) -> int:
    saved = _Saved(torch.zeros(1))
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda held: held.tensor):
        make(torch.ones(10, requires_grad=True))
    return saved.peak


def test_tensors_of_one_pass_add_up_and_those_of_passes_one_after_the_other_do_not():
    def twice(x):
        for _ in range(3):
            x.exp().sum().backward()  # exp saves its result, and backward lets go of it

    assert peak_of(twice) == 4 * 10
    assert peak_of(lambda x: x.exp().exp().sum().backward()) == 2 * 4 * 10


def test_a_storage_counts_once_and_the_parameters_not_at_all():
    x = torch.ones(10, requires_grad=True)
    saved = _Saved(x)
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda held: held.tensor):
        y = torch.ones(10)
        ((x * y).sum() + (x * y[:5].repeat(2)).sum()).backward()  # y, the copy of its half, and x's own
        assert saved.peak == 2 * 4 * 10
        (x * x).sum().backward()
    assert saved.peak == 2 * 4 * 10


def test_sam_holds_one_more_copy_of_the_weights_every_time_it_is_measured():
    task = load_task("digits")
    plain = Setup(task.recipe(), task, torch.device("cpu"))
    copy = 4 * plain.network.size
    between = []
    for size in range(5):
        one = Setup(parse("sam:0.1").apply(task.recipe()), task, torch.device("cpu"))
        assert one.step_cost().peak_memory == plain.step_cost().peak_memory + copy
        between.append(torch.randn(1000 * (size + 1)))  # moves what the allocator hands out


def test_sam_costs_twice_the_operations_at_every_perturbed_update():
    task = load_task("digits")
    budget = parse("budget:updates=8")
    plain, every, second = (
        train(budget.apply(recipe), task, [0])[0].cost
        for recipe in (
            task.recipe(),
            *(parse(t).apply(task.recipe()) for t in ("sam:0.1", "sam:0.1,every=2")),
        )
    )
    assert every.gradients == 2 * plain.gradients
    assert every.flops == pytest.approx(2 * plain.flops)
    assert second.gradients == 1.5 * plain.gradients
    assert second.flops == pytest.approx(1.5 * plain.flops)
