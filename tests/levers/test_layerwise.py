"""LARS and LAMB against programs of their own in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from algobias.errors import BadInput
from algobias.levers.registry import parse
from algobias.levers.step import Layout
from algobias.levers.update.layerwise import trust_ratios
from algobias.recipe import Recipe
from algobias.tasks.registry import load_task
from algobias.training.loop import train
from algobias.training.setup import Setup

DIGITS = load_task("digits")
UPDATES = 12


def made(*levers: str, **changes: Any) -> Recipe:
    recipe = DIGITS.recipe().edit(budget={"updates": UPDATES}, **changes)
    for text in levers:
        recipe = parse(text).apply(recipe)
    return recipe


def plain(recipe: Recipe, kind: str, coefficient: float = 0.01) -> dict[str, np.ndarray]:
    """Weights after all updates, layer by layer, in float64 numpy; gradients by torch in float64."""
    setup = Setup(recipe.edit(parts=[], engine="looped"), DIGITS, torch.device("cpu"))
    net = setup.network._build(0).double()
    spec = recipe.optimizer
    memory = {name: [np.zeros(p.shape), np.zeros(p.shape)] for name, p in net.named_parameters()}
    for t in range(UPDATES):
        (x, y), _ = setup.sampler(t, (0,))
        net.zero_grad()
        nn.functional.cross_entropy(net(x.double()), y).backward()
        for name, p in net.named_parameters():
            w, g = p.detach().numpy().copy(), p.grad.numpy()  # type: ignore[union-attr]
            m = memory[name]
            if kind == "lars":
                u = g + spec.weight_decay * w
                if w.ndim > 1:
                    # You et al. 2017, equation 6
                    size = np.linalg.norm(w)
                    u = u * coefficient * size / (np.linalg.norm(g) + spec.weight_decay * size + 1e-8)
                m[0] = spec.momentum * m[0] + u
                w = w - spec.lr * m[0]
            else:
                m[0] = spec.beta1 * m[0] + (1 - spec.beta1) * g
                m[1] = spec.beta2 * m[1] + (1 - spec.beta2) * g * g
                a, b = m[0] / (1 - spec.beta1 ** (t + 1)), m[1] / (1 - spec.beta2 ** (t + 1))
                u = a / (np.sqrt(b) + spec.eps) + spec.weight_decay * w
                if w.ndim > 1:
                    u = u * np.linalg.norm(w) / (np.linalg.norm(u) + 1e-8)
                w = w - spec.lr * u
            p.data.copy_(torch.from_numpy(w))
    return {name: p.detach().numpy() for name, p in net.named_parameters()}


class Last:
    def __init__(self) -> None:
        self.weights: dict[str, torch.Tensor] = {}

    def on_check(self, seed: int, check: Any) -> None: ...
    def on_weights(self, seed: int, update: int, tensors: dict[str, torch.Tensor]) -> None:
        self.weights = tensors

    def wants_weights(self, update: int) -> bool:
        return False

    def on_live_weights(self, seed: int, update: int, tensors: Any) -> None: ...
    def on_snapshot(self, seed: int, snapshot: Any) -> None: ...
    def wants_snapshot(self) -> bool:
        return False

    def should_stop(self) -> bool:
        return False


@pytest.mark.parametrize("engine", ["stacked", "looped"])
@pytest.mark.parametrize(
    ("kind", "levers"),
    [
        ("lars", ("lr:5", "weight_decay:1e-3", "layerwise:lars,coefficient=0.01")),
        ("lamb", ("optimizer:adamw,lr=0.01,weight_decay=0.1", "layerwise:lamb")),
    ],
)
def test_against_an_independent_program(kind: str, levers: tuple[str, ...], engine: str) -> None:
    recipe, last = made(*levers, engine=engine), Last()
    train(recipe, DIGITS, (0,), observers=[last])
    for name, wanted in plain(recipe, kind).items():
        np.testing.assert_allclose(last.weights[name].numpy(), wanted, rtol=2e-3, atol=2e-5, err_msg=name)


def test_ratios_of_known_layers() -> None:
    layout = Layout(("w", "b", "z"), (torch.Size([2, 2]), torch.Size([2]), torch.Size([1, 2])), (0, 4, 6, 8))
    w = torch.tensor([[3.0, 0, 0, 4, 9, 9, 0, 0]])
    u = torch.tensor([[0.0, 1, 0, 0, 2, 2, 5, 5]])
    assert trust_ratios(w, u, layout, 0.1, 0.0).tolist() == [[0.5] * 4 + [1.0] * 4]


def test_a_gradient_that_the_decay_cancels_leaves_the_weights_alone() -> None:
    layout = Layout(("w",), (torch.Size([1, 2]),), (0, 2))
    w, g = torch.tensor([[3.0, 4.0]]), torch.tensor([[-0.3, -0.4]])
    ratio = trust_ratios(w, g, layout, 1.0, 0.0, decay=0.1)
    torch.testing.assert_close(ratio, torch.full((1, 2), 5.0))
    torch.testing.assert_close(ratio * (g + 0.1 * w), torch.zeros(1, 2), atol=1e-6, rtol=0)


def test_each_kind_has_its_optimizer() -> None:
    with pytest.raises(BadInput, match="lamb with sgd"):
        made("layerwise:lamb")
    with pytest.raises(BadInput, match="lars with adam"):
        made("optimizer:adam,lr=1e-3", "layerwise:lars")
