"""Training on another device, as far as a machine without one can show it: every tensor is on it.

Torch's ``meta`` device stands in for CUDA: its tensors have a shape and a type but no values, and an
operation that mixes them with tensors of the CPU raises, as it would on a GPU. What a GPU computes is tested
where there is one.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from algobias.levers.registry import parse
from algobias.recipe_fields import Budget
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.device import exact_arithmetic, one_thread
from algobias.training.loop import train
from algobias.training.memory import select
from algobias.training.setup import Setup

META = torch.device("meta")
LEVERS = {
    "plain": (),
    "parts": ("label_noise:0.1", "sam:0.1", "clip:1", "ema:0.9"),
    "adam": ("optimizer:adam,lr=1e-3", "data:0.5"),
}


@pytest.fixture(scope="module")
def digits() -> Task:
    return load_task("digits")


@pytest.fixture(scope="module")
def conv() -> Task:
    x = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y = torch.arange(40) % 4
    return Task(
        "conv", (x, y), (x, y),
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(144, 4)
        ),
        lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        lambda model, batch: (model(batch[0]).argmax(-1) == batch[1]).double(),
        {"lr": 0.1, "momentum": 0.9, "batch": 8, "updates": 10},
    )  # fmt: skip


@pytest.mark.parametrize("levers", LEVERS.values(), ids=LEVERS.keys())
@pytest.mark.parametrize("name", ["digits", "conv"])
def test_every_tensor_of_a_step_and_a_check_is_on_the_device(name, levers, request):
    task = request.getfixturevalue(name)
    recipe = task.recipe()
    for text in levers:
        recipe = parse(text).apply(recipe)
    setup = Setup(recipe, task, META)
    assert setup.network.stacked == (name == "digits"), "the same rule as on a CPU"
    seeds = (3, 5) if setup.network.stacked else (3,)
    state = setup.initial(seeds)
    memory = setup.transform.init(state)
    for update in range(2):
        batch, key = setup.sampler(update, seeds)
        assert all(tensor.device == META for tensor in batch)
        grads, state = setup.grad(state, batch, key)
        state, memory = setup.transform.update(grads, memory, state)
    state, memory = select(state, memory, [0], setup.network.stacked)
    weights = setup.transform.weights(state, memory)
    for found in (
        weights.params,
        *weights.buffers.values(),
        setup.network.loss(weights, setup.fit_examples),
        setup.network.metric(weights, setup.test_examples),
    ):
        assert found.device == META


def test_mixing_devices_would_be_noticed():
    with pytest.raises((RuntimeError, TypeError)):
        torch.randn(3, device=META) + torch.randn(3)


def test_settings_of_torch_are_put_back(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)

    def settings():
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.conv.fp32_precision,
            torch.backends.cuda.matmul.fp32_precision,
        )

    before = settings()
    with exact_arithmetic(torch.device("cpu")):
        assert settings() == before
    with exact_arithmetic(torch.device("cuda")):
        assert settings() == (True, True, False, "ieee", "ieee")
    assert settings() == before


def test_one_thread_inside_and_as_before_outside():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="inside"), one_thread():
            raise RuntimeError("inside" if torch.get_num_threads() == 1 else "two threads")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_itself_and_with_the_cpu(digits):
    recipe = digits.recipe().edit(budget=Budget(updates=20))
    once, again = (train(recipe, digits, [0, 1], device="cuda") for _ in range(2))
    here = train(recipe, digits, [0, 1])
    for one, two, three in zip(once, again, here, strict=True):
        assert (one.curve.train_loss == two.curve.train_loss).all()
        assert one.curve.train_loss == pytest.approx(three.curve.train_loss, rel=1e-3)
