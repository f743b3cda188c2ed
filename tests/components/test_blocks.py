"""Building blocks in anybody's own loop: SAM, EMA, clipping around ordinary modules and optimizers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from algobias.components.clip import clip_by_norm
from algobias.components.ema import EMA
from algobias.components.sam import SAM
from algobias.errors import BadInput


def problem(norm: bool = False, dtype=torch.float64):
    torch.manual_seed(0)
    layers = [nn.Linear(3, 4), nn.BatchNorm1d(4)] if norm else [nn.Linear(3, 4)]
    net = nn.Sequential(*layers, nn.Tanh(), nn.Linear(4, 1)).to(dtype)
    x, y = torch.randn(12, 3, dtype=dtype), torch.randn(12, 1, dtype=dtype)
    return net, x, y, lambda rows=slice(None): (net(x[rows]) - y[rows]).square().mean()


def by_hand(net, loss, rho, lr):
    """One SAM update written out with autograd alone."""
    parameters = list(net.parameters())
    grads = torch.autograd.grad(loss(), parameters)
    norm = torch.cat([g.flatten() for g in grads]).norm()
    kept = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p, g in zip(parameters, grads, strict=True):
            p.add_(rho * g / norm)
    grads = torch.autograd.grad(loss(), parameters)
    return [p - lr * g for p, g in zip(kept, grads, strict=True)]


def test_sam_against_the_formula_written_out():
    net, _, _, loss = problem()
    expected = by_hand(net, loss, 0.3, 0.1)
    net, _, _, loss = problem()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sam = SAM(net, optimizer, rho=0.3)
    loss().backward()
    with sam.perturbed():
        loss().backward()
    optimizer.step()
    for p, e in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(p.detach(), e)


def test_sam_with_accumulation_is_sam_on_the_whole_batch():
    results = []
    for parts in ([slice(None)], [slice(0, 4), slice(4, 8), slice(8, 12)]):
        net, _, _, loss = problem()
        sam = SAM(net, torch.optim.SGD(net.parameters(), lr=0.1), rho=0.3)

        def closure(parts=parts, loss=loss):
            total = torch.zeros((), dtype=torch.float64)
            for rows in parts:
                part = loss(rows) / len(parts)
                part.backward()
                total += part.detach()
            return total

        sam.step(closure)
        results.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    torch.testing.assert_close(results[0], results[1])


def test_sam_leaves_batchnorm_statistics_to_the_first_pass():
    net, x, _, loss = problem(norm=True)
    reference, _, _, _ = problem(norm=True)
    reference(x)
    SAM(net, torch.optim.SGD(net.parameters(), lr=0.1), rho=0.5).step(lambda: backward(loss))
    for ours, theirs in zip(net.buffers(), reference.buffers(), strict=True):
        assert torch.equal(ours, theirs)


class OwnStatistics(nn.Module):
    """Puts another tensor in the place of its buffer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 1)
        self.register_buffer("size", torch.ones(()))

    def forward(self, x):
        out = self.layer(x)
        self.size = 0.9 * self.size + 0.1 * out.detach().abs().mean()
        return out / self.size


def test_sam_leaves_buffers_that_are_replaced_to_the_first_pass():
    net, reference, x = OwnStatistics(), OwnStatistics(), torch.randn(8, 4)
    reference(x)
    sam = SAM(net, torch.optim.SGD(net.parameters(), lr=0.1), rho=0.5)
    sam.step(lambda: backward(lambda: net(x).square().mean()))
    assert torch.equal(net.size, reference.size)


def backward(loss):
    value = loss()
    value.backward()
    return value


def test_sam_with_a_scaler_is_sam_without_and_skips_what_overflowed():
    net, _, _, loss = problem(dtype=torch.float32)
    plain = SAM(net, torch.optim.SGD(net.parameters(), lr=0.1), rho=0.3)
    plain.step(lambda: backward(loss))
    expected = [p.detach().clone() for p in net.parameters()]
    net, _, _, loss = problem(dtype=torch.float32)
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sam = SAM(net, optimizer, rho=0.3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    sam.step(lambda: backward(lambda: scaler.scale(loss())), scaler)
    scaler.update()
    for p, e in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(p.detach(), e)
    net, _, _, loss = problem(dtype=torch.float32)
    sam = SAM(net, torch.optim.SGD(net.parameters(), lr=0.1), rho=0.3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    sam.step(lambda: backward(lambda: scaler.scale(loss() * float("inf"))), scaler)
    scaler.update()
    assert all(torch.equal(p.detach(), b) for p, b in zip(net.parameters(), before, strict=True))
    assert scaler.get_scale() < 2.0**10


@pytest.mark.parametrize("through", ["optimizer", "sam"])
def test_sam_after_unscaling_is_sam_without_a_scaler(through):
    """The second gradients come back unscaled as the first were, and may be clipped."""
    weights, norms = [], []
    for scale in (1.0, 2.0**10):
        net, _, _, loss = problem(dtype=torch.float32)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        sam, scaler = SAM(net, optimizer, rho=0.3), torch.amp.GradScaler("cpu", init_scale=scale)
        for _ in range(3):
            scaler.scale(loss()).backward()
            scaler.unscale_(optimizer if through == "optimizer" else sam)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            with sam.perturbed(scaler):
                scaler.scale(loss()).backward()
            norms.append(torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5))
            scaler.step(optimizer if through == "optimizer" else sam)
            scaler.update()
            optimizer.zero_grad()
        weights.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    torch.testing.assert_close(*weights)
    torch.testing.assert_close(norms[:3], norms[3:])


def test_sam_after_unscaling_finds_an_overflow_of_the_second_pass():
    net, _, _, loss = problem(dtype=torch.float32)
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sam, scaler = SAM(net, optimizer, rho=0.3), torch.amp.GradScaler("cpu", init_scale=2.0**10)
    scaler.scale(loss()).backward()
    scaler.unscale_(optimizer)
    with sam.perturbed(scaler):
        scaler.scale(loss() * float("inf")).backward()
    scaler.step(optimizer)
    scaler.update()
    assert all(torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))
    assert scaler.get_scale() == 2.0**9


@pytest.mark.parametrize("both", [True, False])
def test_sam_with_two_optimizers_leaves_gradients_of_the_second_pass_alone(both):
    """Against the gradient at the perturbed weights, by autograd: of all weights, or of the first layer."""
    net, _, _, loss = problem()
    ours = list(net.parameters()) if both else list(net[0].parameters())
    grads = torch.autograd.grad(loss(), ours)
    norm = torch.cat([g.flatten() for g in grads]).norm()
    with torch.no_grad():
        for p, g in zip(ours, grads, strict=True):
            p.add_(0.3 * g / norm)
    expected = torch.autograd.grad(loss(), list(net.parameters()))
    net, _, _, loss = problem()
    first, second = (torch.optim.SGD(layer.parameters(), lr=0.1) for layer in (net[0], net[-1]))
    sam = SAM(net, [first, second] if both else first, rho=0.3)
    loss().backward()
    with sam.perturbed():
        loss().backward()
    for p, e in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, e)


def test_sam_over_two_optimizers_goes_on_and_steps_both():
    net, _, _, loss = problem()
    whole = SAM(net, torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), rho=0.3)
    for _ in range(6):
        whole.step(lambda: backward(loss))
    expected = [p.detach().clone() for p in net.parameters()]
    net, _, _, loss = problem()

    def made():
        layers = (net[0], net[-1])
        return SAM(net, [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in layers], rho=0.3)

    sam = made()
    for update in range(6):
        if update == 3:
            state, sam = sam.state_dict(), made()
            sam.load_state_dict(state)
        sam.step(lambda: backward(loss))
    for p, e in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(p.detach(), e)
    with pytest.raises(BadInput, match="optimizers: 1"):
        sam.optimizer.load_state_dict({"optimizers": [1]})


def test_a_first_pass_that_overflowed_is_what_the_scaler_finds():
    """Also where the body goes through the second pass all the same: nothing is added up."""
    net, _, _, loss = problem(dtype=torch.float32)
    first = torch.optim.SGD(net[0].parameters(), lr=0.1)
    loss().backward()
    wanted = net[-1].weight.grad.clone()
    net[0].weight.grad.fill_(float("inf"))
    with SAM(net, first, rho=0.3).perturbed() as moved:
        loss().backward()
    assert not moved
    assert torch.isinf(net[0].weight.grad).all()
    assert torch.equal(net[-1].weight.grad, wanted)


def test_sam_puts_weights_back_when_the_second_pass_raises():
    net, _, _, loss = problem()
    before = [p.detach().clone() for p in net.parameters()]
    sam = SAM(net, torch.optim.SGD(net.parameters(), lr=0.1), rho=0.3)
    loss().backward()
    with pytest.raises(ZeroDivisionError), sam.perturbed():
        raise ZeroDivisionError
    assert all(torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))


def test_sam_every_k_goes_on_from_its_state():
    runs = []
    for stop in (None, 4):
        net, _, _, loss = problem()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        sam = SAM(net, optimizer, rho=0.3, every=3)
        for update in range(8):
            if update == stop:
                again = SAM(net, optimizer, rho=0.1)
                again.load_state_dict(sam.state_dict())
                sam = again
            sam.step(lambda loss=loss: backward(loss))
        runs.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert torch.equal(runs[0], runs[1])


def test_ema_is_the_normalised_weighted_mean():
    net = nn.Linear(1, 1, bias=False)
    ema = EMA(net, decay=0.8)
    values = [3.0, -1.0, 2.0, 5.0]
    for value in values:
        net.weight.data.fill_(value)
        ema.update()
    weights = [0.8 ** (len(values) - 1 - k) for k in range(len(values))]
    expected = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    with ema.applied():
        assert net.weight.item() == pytest.approx(expected, rel=1e-6)
    assert net.weight.item() == 5.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_ema_of_half_precision_moves(dtype):
    """Closed form after m updates at 1 and n at 2, decay d: 1 + (1 - d^n) / (1 - d^(m + n))."""
    net = nn.Linear(1, 1, bias=False).to(dtype)
    ema = EMA(net, decay=0.999)
    for value, count in ((1.0, 100), (2.0, 1000)):
        net.weight.data.fill_(value)
        for _ in range(count):
            ema.update()
    expected = 1 + (1 - 0.999**1000) / (1 - 0.999**1100)
    assert ema.average["weight"].item() == pytest.approx(expected, rel=1e-4)
    with ema.applied():
        assert net.weight.dtype is dtype
        assert net.weight.item() == torch.tensor(expected, dtype=dtype).item()
    assert net.weight.item() == 2.0
    again = EMA(net, decay=0.0)
    again.load_state_dict(ema.state_dict())
    assert torch.equal(again.average["weight"], ema.average["weight"])


def test_ema_of_complex_weights_is_that_of_their_parts():
    net = nn.ParameterDict({"w": nn.Parameter(torch.zeros(2, dtype=torch.cfloat))})
    pair = nn.ParameterDict({"w": nn.Parameter(torch.zeros(2, 2))})
    averages = EMA(net, 0.8), EMA(pair, 0.8)
    for value in (1 + 2j, 3 - 1j, 1j):
        net["w"].data.fill_(value)
        pair["w"].data.copy_(torch.view_as_real(net["w"]))
        for average in averages:
            average.update()
    torch.testing.assert_close(torch.view_as_real(averages[0].average["w"]), averages[1].average["w"])


def test_ema_takes_no_state_of_other_shapes():
    small, large = nn.Linear(1, 1), nn.Linear(4, 1)
    ema = EMA(large, 0.9)
    before = {name: tensor.clone() for name, tensor in ema.average.items()}
    with pytest.raises(BadInput, match=r"weight.*\(1, 4\)"):
        ema.load_state_dict(EMA(small, 0.5).state_dict())
    assert ema.decay == 0.9
    assert all(torch.equal(ema.average[name], before[name]) for name in before)


@pytest.mark.parametrize("bound", [0.01, 1.0, 1e6])
def test_clip_agrees_with_torch(bound):
    grads = []
    for clip in (clip_by_norm, torch.nn.utils.clip_grad_norm_):
        net, _, _, loss = problem()
        loss().backward()
        clip(net.parameters(), bound)
        grads.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=0)


def test_clip_takes_half_precision_and_sparse_gradients():
    """Four times 40,000 has a norm of 80,000, beyond float16; rows 3 and 4 of a sparse one a norm of 5."""
    half = nn.Parameter(torch.zeros(4, dtype=torch.float16))
    half.grad = torch.full((4,), 4e4, dtype=torch.float16)
    assert clip_by_norm([half], 2.0).item() == 8e4
    assert half.grad.tolist() == pytest.approx([1.0] * 4, rel=2e-3)
    table = nn.Embedding(5, 1, sparse=True)
    weights = torch.tensor([[1.0], [2.0], [4.0]])  # row 1 twice: 1 + 2
    (table(torch.tensor([1, 1, 3])) * weights).sum().backward()
    assert clip_by_norm(table.parameters(), 2.5).item() == pytest.approx(5)
    assert table.weight.grad.to_dense().flatten().tolist() == pytest.approx([0, 1.5, 0, 2, 0])


def test_impossible_settings():
    net, *_ = problem()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for rho in (-1, float("inf"), float("nan")):
        with pytest.raises(BadInput, match="sam"):
            SAM(net, optimizer, rho=rho)
    for every in (0, 1.5, True):
        with pytest.raises(BadInput, match=r"sam\.every"):
            SAM(net, optimizer, every=every)
    with pytest.raises(BadInput):
        EMA(net, decay=1.0)
