"""Compressors, and error feedback in anybody's own loop."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from algobias.components.compressors import largest, low_rank, scaled_sign
from algobias.components.error_feedback import ErrorFeedback
from algobias.errors import BadInput


def test_known_vectors() -> None:
    x = torch.tensor([[1.0, -3.0, 0.0, 2.0], [4.0, 4.0, -4.0, -4.0]])
    assert scaled_sign(x).tolist() == [[1.5, -1.5, 0.0, 1.5], [4.0, 4.0, -4.0, -4.0]]
    assert largest(x, 2)[0].tolist() == [0, -3, 0, 2]
    assert torch.equal(largest(x, 4), x)


def test_power_sgd_is_exact_at_full_rank_and_best_at_low() -> None:
    made_up = torch.Generator().manual_seed(0)
    u, v = torch.randn(6, 2, generator=made_up), torch.randn(4, 2, generator=made_up)
    matrices = torch.stack([u @ v.T, 2 * u @ v.T])  # two workers, mean of rank 2
    mean, right = low_rank(matrices, torch.randn(4, 2, generator=made_up))
    torch.testing.assert_close(mean, matrices.mean(0), rtol=1e-4, atol=1e-5)
    assert right.shape == (4, 2)
    full = torch.randn(1, 6, 4, generator=made_up)
    q = torch.randn(4, 1, generator=made_up)
    for _ in range(60):  # power iterations find the largest singular value
        mean, q = low_rank(full, q)
    assert mean.norm().item() == pytest.approx(torch.linalg.matrix_norm(full[0], 2).item(), rel=1e-4)


def test_the_block_is_the_lever_and_goes_on() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(32, 3), torch.randn(32, 1)

    def go(net: nn.Module, block: ErrorFeedback, updates: int) -> None:
        for _ in range(updates):
            nn.functional.mse_loss(net(x), y).backward()
            block.step()
            block.zero_grad()

    for kind in ("sign", "topk"):
        net = nn.Linear(3, 1)
        block = ErrorFeedback(torch.optim.SGD(net.parameters(), lr=0.1), kind, fraction=0.4)
        go(net, block, 5)
        twin = copy.deepcopy(net)
        other = ErrorFeedback(torch.optim.SGD(twin.parameters(), lr=0.1), kind, fraction=0.4)
        other.load_state_dict(copy.deepcopy(block.state_dict()))
        go(net, block, 5)
        go(twin, other, 5)
        assert torch.equal(net.weight, twin.weight)
    with pytest.raises(BadInput, match="sign or topk"):
        ErrorFeedback(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1), "random")
