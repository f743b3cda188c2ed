"""Batches are weighed as the loss weighs its examples, whatever the batch type."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.probes.patterns import PATTERNS, Attention, token_loss
from torch import Tensor, nn
from torch.nn import functional

from algobias.probes.passes.losses import gradient, mean_loss
from algobias.probes.passes.weighing import weighing
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject


def _tokens(masked: float) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    batches = []
    for n in (6, 1):
        labels = torch.randint(0, 3, (n, 5))
        labels[torch.rand(n, 5) < masked] = -100
        labels[:, 2] = 0
        batches.append((torch.randint(0, 7, (n, 5)), labels))
    return batches


def _together(batches: list[Any]) -> Any:
    return tuple(torch.cat([batch[place] for batch in batches]) for place in range(len(batches[0])))


def _loss(loss: Any, model: nn.Module, batch: Any) -> float:
    return float(loss(model, batch).detach())


def test_masked_tokens_count_one_by_one() -> None:
    torch.manual_seed(0)
    model, batches = Attention(), _tokens(0.6)
    subject = Subject(model, batches, token_loss)
    assert weighing(subject).unit == "tokens"
    assert weighing(subject).doubt is None
    assert mean_loss(subject) == pytest.approx(_loss(token_loss, model, _together(batches)), rel=1e-6)


def test_a_causal_loss_that_shifts_its_labels() -> None:
    torch.manual_seed(0)
    model, batches = Attention(), _tokens(0.5)

    def shifted(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        logits = net(batch[0])[:, :-1]
        return functional.cross_entropy(logits.flatten(0, 1), batch[1][:, 1:].flatten(), ignore_index=-100)

    assert mean_loss(Subject(model, batches, shifted)) == pytest.approx(
        _loss(shifted, model, _together(batches)), rel=1e-6
    )


def test_mean_over_examples_of_token_means() -> None:
    torch.manual_seed(0)
    model, batches = Attention(), _tokens(0.5)

    def by_example(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        each = functional.cross_entropy(net(batch[0]).mT, batch[1], ignore_index=-100, reduction="none")
        return (each.sum(1) / (batch[1] != -100).sum(1)).mean()

    found = weighing(Subject(model, batches, by_example))
    assert (found.unit, found.reduction) == ("examples", "mean")


@pytest.mark.parametrize("pattern", [p for p in PATTERNS if not p.train_mode], ids=lambda p: p.name)
def test_uneven_batches_give_what_one_big_batch_gives(pattern: Any) -> None:
    model, batches, loss = pattern.build()
    model.eval()
    if isinstance(batches[0], dict):
        whole = {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}
    else:
        whole = _together(batches)
    split, one = Subject(model, batches, loss), Subject(model, [whole], loss)
    assert mean_loss(split) == pytest.approx(mean_loss(one), rel=1e-5)
    assert torch.allclose(gradient(split), gradient(one), rtol=1e-3, atol=1e-6)
    wrong = sum(_loss(loss, model, batch) for batch in batches) / len(batches)
    assert wrong != pytest.approx(mean_loss(one), rel=1e-5)


def test_a_loss_that_compares_examples_is_doubted() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    batches = [(torch.randn(n, 3), torch.randn(n, 1)) for n in (6, 2)]

    def spread(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        out = net(batch[0])
        return (out - out.mean()).square().mean() + (out - batch[1]).square().mean()

    assert "examples that depend on each other" in (weighing(Subject(model, batches, spread)).doubt or "")


def test_weights_given_are_used_and_checked() -> None:
    torch.manual_seed(0)
    model, batches = Attention(), _tokens(0.5)
    right = Subject(model, batches, token_loss, weigh=lambda batch: float((batch[1] != -100).sum()))
    assert weighing(right).doubt is None
    assert mean_loss(right) == pytest.approx(_loss(token_loss, model, _together(batches)), rel=1e-6)
    wrong = Subject(model, batches, token_loss, weigh=lambda batch: float(len(batch[0])))
    assert weighing(wrong).doubt is not None


def test_no_batches_and_only_masked_tokens_are_told() -> None:
    model = Attention()
    with pytest.raises(Unavailable, match="no batches"):
        mean_loss(Subject(model, [], token_loss))
    masked = [(torch.zeros(2, 3, dtype=torch.long), torch.full((2, 3), -100))]
    with pytest.raises(Unavailable, match="masked"):
        mean_loss(Subject(model, masked, token_loss))
