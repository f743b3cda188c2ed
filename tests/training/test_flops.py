"""The counter of operations: torch's own numbers, without torch's compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from algobias.training.flops import FlopCounter

NETWORKS = {
    "dense": (nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)), (4, 5)),
    "convolution": (nn.Sequential(nn.Conv2d(2, 3, 3), nn.GroupNorm(3, 3), nn.Flatten()), (4, 2, 6, 6)),
    "attention": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (4, 3, 8)),
    "recurrent": (nn.GRU(5, 4, batch_first=True), (4, 3, 5)),
}


def once(network: nn.Module, x: torch.Tensor) -> None:
    """A forward and a backward pass."""
    value = network(x)
    (value[0] if isinstance(value, tuple) else value).square().sum().backward()


@pytest.mark.parametrize("name", NETWORKS)
def test_it_counts_what_torch_counts(name: str) -> None:
    network, shape = NETWORKS[name]
    x = torch.randn(shape)
    with FlopCounterMode(display=False) as expected:
        once(network, x)
    with FlopCounter() as counter:
        once(network, x)
    assert counter.get_total_flops() == expected.get_total_flops() > 0


def test_it_counts_within_a_batched_gradient() -> None:
    """Four networks at once: four times the operations of one, which torch's tracker of modules forbids."""
    weights = torch.randn(4, 3, 5)
    x = torch.randn(6, 5)

    def gradient(weight: torch.Tensor) -> torch.Tensor:
        return torch.func.grad(lambda at: (x @ at.T).square().sum())(weight)

    counts = []
    for run in (lambda: gradient(weights[0]), lambda: torch.func.vmap(gradient)(weights)):
        with FlopCounter() as counter:
            run()
        counts.append(counter.get_total_flops())
    assert counts[1] == 4 * counts[0] > 0


def test_the_compiler_is_not_loaded() -> None:
    script = (
        "import sys, torch\n"
        "from algobias.training.flops import FlopCounter\n"
        "with FlopCounter() as counter:\n"
        "    torch.ones(2, 3) @ torch.ones(3, 4)\n"
        "print(counter.get_total_flops(), 'torch._dynamo' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["48", "False"]
