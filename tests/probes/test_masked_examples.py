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


def flat_loss(model, batch):
    return cross_entropy(model(batch[0]), batch[1], ignore_index=-1)


@pytest.fixture
def classes():
    """A classifier; half of the examples have no label, with and without them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x = torch.randn(16, 4, dtype=torch.float64)
    y = torch.randint(3, (16,))
    y[9:] = -1
    return model, [(x[:5], y[:5]), (x[5:12], y[5:12]), (x[12:], y[12:])], [(x[:9], y[:9])]


ROWS = ("margin_input", "margin_raw", "input_gradient_norm", "kernel_drift", "kernel_label_alignment")


@pytest.mark.parametrize("probe", ROWS)
def test_examples_without_a_label_count_in_no_probe_of_rows(classes, probe):
    model, with_masked, without = classes
    initial = {name: p.detach() + 0.3 * torch.randn_like(p) for name, p in model.named_parameters()}
    one, two = (
        measure(model, batches, flat_loss, [probe], initial=initial)[0] for batches in (with_masked, without)
    )
    assert one.status == two.status == "ok"
    assert one.value == pytest.approx(two.value, rel=1e-9)
    counts = {"rows", "examples"} & set(one.details)
    assert all(one.details[key] == two.details[key] == 9 for key in counts)
    assert counts


def test_sequences_that_are_masked_throughout_are_not_in_the_kernel(case):
    model, with_masked, without = case
    initial = {name: 2 * p.detach() for name, p in model.named_parameters()}
    one, two = (
        measure(model, batches, loss, ["kernel_drift"], initial=initial)[0]
        for batches in (with_masked, without)
    )
    assert one.value == pytest.approx(two.value, rel=1e-9)
    assert one.details["examples"] == two.details["examples"] == 5


def test_outputs_of_masked_tokens_are_not_in_the_kernel():
    """A token with an output of its own direction: masked, it changes nothing."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3).double()
    x = torch.randn(6, 5, 4, dtype=torch.float64)
    y = torch.randint(1, 3, (6, 5))
    y[:, 3:] = 0
    initial = {"weight": model.weight.detach() + 1, "bias": model.bias.detach()}

    def ignoring(net, batch):
        return cross_entropy(net(batch[0]).flatten(0, 1), batch[1].flatten(), ignore_index=0)

    def by_mask(net, batch):
        each = (net(batch["x"])[..., 0] - batch["z"]).square()
        return (each * batch["mask"]).sum() / batch["mask"].sum()

    def plain(net, batch):
        return (net(batch["x"])[..., 0] - batch["z"]).square().mean()

    tanh = nn.Sequential(model, nn.Tanh())
    start = {f"0.{name}": p for name, p in initial.items()}
    short = measure(tanh, [(x[:, :3], y[:, :3])], ignoring, ["kernel_drift"], initial=start)[0]
    whole = measure(tanh, [(x, y)], ignoring, ["kernel_drift"], initial=start)[0]
    assert whole.value == pytest.approx(short.value, rel=1e-9)
    z, mask = torch.randn(6, 5, dtype=torch.float64), (y != 0).double()
    mask[2, 1:] = 0
    masked = {"x": x, "z": z, "mask": mask}
    cut = {"x": x[:, :3], "z": z[:, :3], "mask": mask[:, :3]}
    one, two = (
        measure(tanh, [batch], by_mask, ["kernel_drift"], initial=start)[0] for batch in (masked, cut)
    )
    assert one.value == pytest.approx(two.value, rel=1e-9)
    other = measure(tanh, [{"x": x, "z": z}], plain, ["kernel_drift"], initial=start)[0]
    assert other.value != pytest.approx(one.value, rel=1e-3)
