"""Passes over the data against plain PyTorch, over layer patterns and batch types."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.probes.patterns import PATTERNS, Pattern, cross_entropy
from torch import Tensor, nn
from torch.nn import functional

from algobias.probes.passes import singles
from algobias.probes.passes.calls import captured, logits_in, outputs
from algobias.probes.passes.losses import gradient, loss_at, mean_loss
from algobias.probes.passes.singles import per_example
from algobias.probes.passes.weighing import example, examples
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject

EVAL = [pattern for pattern in PATTERNS if not pattern.train_mode]


def _subject(pattern: Pattern, **about: Any) -> Subject:
    model, batches, loss = pattern.build()
    model.eval()
    return Subject(model, batches, loss, **about)


@pytest.mark.parametrize("pattern", EVAL, ids=lambda p: p.name)
def test_gradients_of_examples_are_those_of_backward_and_add_up(pattern: Pattern) -> None:
    subject = _subject(pattern)
    found = list(per_example(subject))
    grads = torch.cat([one.grads for one in found])
    weights = torch.cat([one.weights for one in found]).to(grads)
    singles = [example(batch, i) for batch in subject.batches for i in range(examples(batch))]
    for row, single in zip(grads, singles, strict=True):
        subject.model.zero_grad()
        subject.loss(subject.model, single).backward()
        expected = torch.cat(
            [
                (torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1)
                for p in subject.trained.values()
            ]
        )
        assert torch.allclose(row, expected, rtol=1e-3, atol=1e-6)
    together = (weights[:, None] * grads).sum(0) / weights.sum()
    assert torch.allclose(together, gradient(subject), rtol=1e-3, atol=1e-6)
    assert subject.meter.gradients == pytest.approx(2.0)


def test_chunks_do_not_change_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.cat([one.grads for one in per_example(_subject(PATTERNS[0]))])
    monkeypatch.setattr(singles, "CHUNK_NUMBERS", 2 * _subject(PATTERNS[0]).size)
    parts = list(per_example(_subject(PATTERNS[0])))
    assert {len(one.grads) for one in parts} == {1, 2}
    assert torch.allclose(torch.cat([one.grads for one in parts]), whole, atol=1e-7)


def test_without_vmap_one_by_one() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) if float(x.abs().sum()) >= 0 else x

    torch.manual_seed(0)
    batches = [(torch.randn(4, 5), torch.randint(0, 3, (4,)))]
    subject = Subject(Branching(), batches, cross_entropy)
    found = next(iter(per_example(subject)))
    assert torch.allclose(found.grads.mean(0), gradient(subject), atol=1e-6)
    assert subject.memo["per_example_mapped"] is False


def test_train_mode_batchnorm_has_no_gradients_of_examples() -> None:
    pattern = next(p for p in PATTERNS if p.train_mode)
    model, batches, loss = pattern.build()
    model.train()
    with pytest.raises(Unavailable, match="do not add up"):
        list(per_example(Subject(model, batches, loss)))


@pytest.mark.parametrize("pattern", EVAL, ids=lambda p: p.name)
def test_the_loss_at_other_weights_leaves_the_model_alone(pattern: Pattern) -> None:
    subject = _subject(pattern)
    here = mean_loss(subject)
    moved = {name: p.detach() + 0.1 for name, p in subject.trained.items()}
    assert mean_loss(subject, subject.views(subject.flat())) == pytest.approx(here, rel=1e-5)
    there = mean_loss(subject, moved)
    assert mean_loss(subject) == pytest.approx(here, rel=1e-6)
    with torch.no_grad():
        for p in subject.trained.values():
            p.add_(0.1)
    assert mean_loss(subject) == pytest.approx(there, rel=1e-5)


def test_tied_weights_are_moved_together() -> None:
    pattern = next(p for p in PATTERNS if p.name.startswith("tied"))
    subject = _subject(pattern)
    assert "head.weight" not in subject.names
    moved = {"embed.weight": torch.zeros_like(subject.model.embed.weight)}  # type: ignore[union-attr,arg-type]
    value = float(loss_at(subject, moved, next(iter(subject.batches))))
    assert value == pytest.approx(torch.log(torch.tensor(3.0)).item(), rel=1e-5)


def test_outputs_of_examples_and_of_unmasked_tokens() -> None:
    by_name = {pattern.name: pattern for pattern in PATTERNS}
    subject = _subject(by_name["attention, embedding, masked tokens"])
    found = list(outputs(subject))
    labels = torch.cat([batch[1].flatten() for batch in subject.batches])
    assert sum(len(one.logits) for one in found) == int((labels != -100).sum())
    assert all(one.labels is not None and bool((one.labels >= 0).all()) for one in found)
    total = sum(functional.cross_entropy(one.logits, one.labels, reduction="sum") for one in found)
    assert float(total) / int((labels != -100).sum()) == pytest.approx(mean_loss(subject), rel=1e-5)
    told = list(outputs(_subject(by_name["dict batches, output object"])))
    assert [one.logits.shape for one in told] == [(7, 3), (2, 3)]
    assert told[0].labels is not None
    assert told[0].inputs is not None
    assert next(iter(outputs(_subject(by_name["regression Softplus"])))).labels is None


def test_a_loss_that_calls_the_model_twice_or_not_at_all_is_told() -> None:
    torch.manual_seed(0)
    model, batch = nn.Linear(5, 3), (torch.randn(4, 5), torch.randint(0, 3, (4,)))

    def twice(net: nn.Module, b: Any) -> Tensor:
        return cross_entropy(net, b) + net(b[0]).square().mean()

    def around(net: nn.Module, b: Any) -> Tensor:
        return functional.cross_entropy(functional.linear(b[0], net.weight, net.bias), b[1])  # type: ignore[arg-type]

    for loss, count in ((twice, 2), (around, 0)):
        with pytest.raises(Unavailable, match=f"not {count} times"):
            list(outputs(Subject(model, [batch], loss)))


def test_what_is_captured_can_be_replaced() -> None:
    model, x = nn.Linear(2, 1), torch.ones(3, 2)
    with captured(model, change=lambda t: 2 * t, replace=lambda out: out + 1) as call:
        result = model(x)
    assert torch.equal(call.inputs[0], 2 * x)
    assert torch.allclose(result, model(2 * x) + 1)
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    assert logits_in({"a": torch.arange(2), "b": x}) is x
    with pytest.raises(Unavailable, match="no tensor"):
        logits_in("text")


def test_streams_of_random_numbers_do_not_collide() -> None:
    subject = _subject(PATTERNS[0])
    draws = [
        torch.rand(4, generator=Subject(subject.model, [], subject.loss, seed=s).generator(purpose))
        for s, purpose in ((0, "noise_top"), (0, "noise_bottom"), (1, "noise_top"))
    ]
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(draws[0], torch.rand(4, generator=subject.generator("noise_top")))
