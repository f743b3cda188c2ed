"""Curvature matrices against dense float64 ones, over layer patterns, batch types and fallbacks."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from scipy.sparse.linalg import eigsh
from tests.probes.patterns import PATTERNS, Pattern, cross_entropy
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from algobias.probes.guard import untouched
from algobias.probes.matrices import hessian as hessian_module
from algobias.probes.matrices.operator import explicit, fisher, gauss_newton, hessian, scaled
from algobias.probes.measure import measure
from algobias.probes.passes.evaluated import Evaluated
from algobias.probes.passes.losses import weighed
from algobias.probes.passes.singles import per_example
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject, Training


def _wide(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {key: _wide(value) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)(_wide(value) for value in batch)
    return batch.double() if batch.is_floating_point() else batch


def _dense(pattern: Pattern) -> Tensor:
    """Hessian in float64 by rows of ``torch.autograd.functional``, which shares no code with the operator."""
    model, batches, loss = pattern.build()
    model = copy.deepcopy(model).double()
    model.train(pattern.train_mode)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    subject = Subject(model, [_wide(batch) for batch in batches], loss)
    parts = [(batch, factor) for batch, factor, _ in weighed(subject)]

    def total(flat: Tensor) -> Tensor:
        pieces = dict(zip(named, flat.split([p.numel() for p in named.values()]), strict=True))
        params = {f"model.{n}": pieces[n].view_as(p) for n, p in named.items()}
        params |= {f"model.{n}": b.clone() for n, b in model.named_buffers()}
        call = Evaluated(model, loss)
        return sum(f * functional_call(call, params, (batch,), tie_weights=True) for batch, f in parts)  # type: ignore[return-value]

    flat = torch.cat([p.detach().reshape(-1) for p in named.values()])
    with sdpa_kernel(SDPBackend.MATH):
        return torch.autograd.functional.hessian(total, flat)


def _formed(operator: Any) -> Tensor:
    return torch.stack([operator @ row for row in torch.eye(operator.size, dtype=operator.dtype)])


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda p: p.name)
def test_hessian_is_the_dense_one_on_every_pattern(pattern: Pattern) -> None:
    model, batches, loss = pattern.build()
    subject = Subject(model, batches, loss)
    with untouched(model, "train" if pattern.train_mode else "eval"):
        operator = hessian(subject)
        found = _formed(operator)
    attention = "ttention" in pattern.name
    assert operator.rung == ("exact (math attention)" if attention else "exact")
    expected = _dense(pattern).float()
    assert torch.allclose(found, expected, atol=2e-5 * float(expected.abs().max()) + 1e-6)
    assert operator.products == operator.size
    assert subject.meter.products == pytest.approx(operator.size)


@pytest.mark.parametrize("kept", [0, 2**40])
def test_kept_graphs_give_the_same_products(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    model, batches, loss = PATTERNS[0].build()
    with untouched(model):
        reference = _formed(hessian(Subject(model, batches, loss)))
        monkeypatch.setattr(hessian_module, "KEPT_BYTES", kept)
        operator = hessian(Subject(model, batches, loss))
        again = _formed(operator)
        assert (operator._kept is None) == (kept == 0)
    assert torch.allclose(reference, again, atol=1e-7)


def test_a_block_is_the_block_of_the_whole() -> None:
    model, batches, loss = PATTERNS[0].build()
    with untouched(model):
        whole = _formed(hessian(Subject(model, batches, loss)))
        part = Subject(model, batches, loss, parameters=("2.*",))
        block = _formed(hessian(part))
    start = sum(p.numel() for p in model[0].parameters())  # type: ignore[index,union-attr]
    assert part.names == ("2.weight", "2.bias")
    assert torch.allclose(block, whole[start:, start:], atol=1e-6)


def test_gauss_newton_is_the_hessian_of_a_linear_network_and_j_h_j_of_others() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(5, 3)
    batches = [(torch.randn(n, 5), torch.randint(0, 3, (n,))) for n in (6, 2)]
    with untouched(linear):
        subject = Subject(linear, batches, cross_entropy)
        assert torch.allclose(_formed(gauss_newton(subject)), _formed(hessian(subject)), atol=1e-6)
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    with untouched(net):
        subject = Subject(net, batches, cross_entropy)
        found = _formed(gauss_newton(subject))
        expected = torch.zeros_like(found)
        x = torch.cat([batch[0] for batch in batches])
        for row in x:
            logits = net(row)
            grads = [torch.autograd.grad(z, list(net.parameters()), retain_graph=True) for z in logits]
            jacobian = torch.stack([torch.cat([g.reshape(-1) for g in one]) for one in grads])
            p = torch.softmax(logits, 0).detach()
            expected += jacobian.T @ (torch.diag(p) - torch.outer(p, p)) @ jacobian / len(x)
        assert torch.allclose(found, expected, atol=1e-6)
        assert not torch.allclose(found, _formed(hessian(subject)), atol=1e-3)


def test_gauss_newton_refuses_losses_that_go_around_the_output() -> None:
    model, batches, loss = PATTERNS[0].build()

    def decayed(net: nn.Module, batch: Any) -> Tensor:
        return loss(net, batch) + sum(p.square().sum() for p in net.parameters())

    class LossInside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def forward(self, batch: Any) -> dict[str, Tensor]:
            return {"loss": loss(self.net, batch)}

    inside = LossInside()
    with pytest.raises(Unavailable, match="beside"):
        _ = gauss_newton(Subject(model, batches, decayed)) @ torch.ones(57)
    with pytest.raises(Unavailable, match=r"no tensor of real numbers|logits"):
        _ = gauss_newton(Subject(inside, batches, lambda net, b: net(b)["loss"])) @ torch.ones(57)


def test_fisher_is_the_mean_of_squares_and_scaling_is_on_both_sides() -> None:
    model, batches, loss = PATTERNS[0].build()
    with untouched(model):
        subject = Subject(model, batches, loss)
        grads = torch.cat([chunk.grads for chunk in per_example(subject)])
        expected = grads.T @ grads / len(grads)
        assert torch.allclose(_formed(fisher(subject)), expected, atol=1e-6)
    d = torch.rand(57) + 0.5
    assert torch.allclose(_formed(scaled(explicit(expected), d)), d[:, None] * expected * d, atol=1e-6)


class _NoSecond(torch.autograd.Function):
    """tanh whose derivative cannot be derived again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return g * (1 - y * y)


class _Custom(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _NoSecond.apply(x)


def _custom(dtype: torch.dtype = torch.float32) -> tuple[nn.Module, list[Any]]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), _Custom(), nn.Linear(6, 3)).to(dtype)
    return net, [(torch.randn(n, 5, dtype=dtype), torch.randint(0, 3, (n,))) for n in (9, 3)]


class _Silent(torch.autograd.Function):
    """tanh whose derivative takes its output for a constant: a part of the second derivative is missing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.y = torch.tanh(x)
        return ctx.y.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * (1 - ctx.y * ctx.y)


class _SilentTanh(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Silent.apply(x)


@pytest.mark.parametrize("function", [_Custom, _SilentTanh])
def test_without_second_derivatives_finite_differences_say_so(function: type[nn.Module]) -> None:
    _, batches = _custom()
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Linear(5, 6), act(), nn.Linear(6, 3)) for act in (nn.Tanh, function)]
    nets[1].load_state_dict(nets[0].state_dict())
    names = ["top_eigenvalue", "bottom_eigenvalue", "trace", "spectral_density:vectors=2"]
    names += ["effective_sharpness"]
    size = sum(p.numel() for p in nets[0].parameters())
    adam = Training(lr=0.1, name="adam", second_moment=torch.linspace(0.5, 2, size))
    exact, found = (measure(net, batches, cross_entropy, names, training=adam) for net in nets)
    for one, other in zip(exact, found, strict=True):
        assert one.details["rung"] == "exact"
        assert one.warnings == ()
        assert other.details["rung"] == "finite differences"
        assert "finite differences" in other.warnings[0]
        assert other.value == pytest.approx(one.value, rel=0.02)


@pytest.mark.parametrize("step", [1e-9, 3.0])
def test_steps_that_are_too_small_or_too_large_are_noticed(
    monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    monkeypatch.setattr(hessian_module, "STEP", step)
    net, batches = _custom()
    reading = measure(net, batches, cross_entropy, ["top_eigenvalue"])[0]
    assert reading.status == "unavailable"
    told = "cannot be moved" if step < 1 else "two step sizes disagree"
    assert told in str(reading.reason)


def test_bfloat16_weights_cannot_be_moved_as_asked() -> None:
    net, batches = _custom(torch.bfloat16)
    reading = measure(net, batches, lambda m, b: cross_entropy(m, b).float(), ["top_eigenvalue"])[0]
    assert reading.status == "unavailable"
    assert "float32 copy" in str(reading.reason)


@pytest.mark.parametrize("which", ["LA", "SA"])
def test_scipys_solvers_find_the_eigenvalues_of_the_dense_matrix(which: str) -> None:
    pattern = PATTERNS[0]
    model, batches, loss = pattern.build()
    operator = hessian(Subject(model.double(), [_wide(batch) for batch in batches], loss))
    (value,) = eigsh(operator.to_scipy(), k=1, which=which, return_eigenvectors=False)
    exact = torch.linalg.eigvalsh(_dense(pattern))
    assert value == pytest.approx(float(exact[-1 if which == "LA" else 0]), rel=1e-6)
    assert operator.products > 1
