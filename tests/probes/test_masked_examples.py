"""An example whose tokens are all masked counts nothing, in every pass over single examples."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from algobias.probes.measure import measure
from algobias.probes.passes.losses import gradient
from algobias.probes.passes.singles import per_example
from algobias.probes.subject import Subject

IGNORED = -100


def loss(model, batch):
    return cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten(), ignore_index=IGNORED)


@pytest.fixture
def case():
    """A token model; batches with and without examples that are masked throughout."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x = torch.randn(7, 5, 4, dtype=torch.float64)
    y = torch.randint(3, (7, 5))
    y[1, 2:] = IGNORED
    masked = y.clone()
    masked[[0, 3]] = IGNORED
    kept = [1, 2, 4, 5, 6]
    return model, [(x[:4], masked[:4]), (x[4:], masked[4:])], [(x[kept], y[kept])]


def test_gradients_of_single_examples(case):
    model, with_masked, without = case
    rows = [list(per_example(Subject(model, batches, loss))) for batches in (with_masked, without)]
    one, two = (torch.cat([chunk.grads for chunk in chunks]) for chunks in rows)
    assert torch.allclose(one, two, atol=1e-12)
    weights = torch.cat([chunk.weights for chunk in rows[0]])
    assert weights.tolist() == [2, 5, 5, 5, 5]
    whole = gradient(Subject(model, with_masked, loss))
    assert torch.allclose((weights[:, None] * one).sum(0) / weights.sum(), whole, atol=1e-12)


@pytest.mark.parametrize("probe", ["gradient_variance", "fisher_trace", "gradient_snr"])
def test_readings(case, probe):
    model, with_masked, without = case
    one, two = (measure(model, batches, loss, probe)[0] for batches in (with_masked, without))
    assert one.status == two.status == "ok"
    assert one.value == pytest.approx(two.value, rel=1e-9)
