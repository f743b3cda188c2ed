"""Batches are weighed as the loss does it, whatever masks them, or the reading says that it is not known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from algobias.probes.measure import measure
from algobias.probes.passes.losses import gradient, mean_loss
from algobias.probes.passes.singles import per_example
from algobias.probes.passes.weighing import weighing
from algobias.probes.subject import Subject

TOKENS, CLASSES, LENGTH = 7, 6, 12


def token_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(TOKENS, 4), nn.Tanh(), nn.Linear(4, CLASSES)).double()


def flat_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, CLASSES)).double()


def padded(value: int, kept: tuple[int, ...], n: int = 8) -> list[tuple[Tensor, Tensor]]:
    """Batches of tokens; within each, all examples are equally long: only other batches show the weights."""
    torch.manual_seed(1)
    batches = []
    for k in kept:
        y = torch.randint(1, CLASSES, (n, LENGTH))
        y[:, k:] = value
        batches.append((torch.randint(1, TOKENS, (n, LENGTH)), y))
    return batches


def flat(labels: int = CLASSES) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    return [(torch.randn(n, 4).double(), torch.randint(1, labels, (n,))) for n in (8, 8, 8, 5)]


def unlabelled(value: int) -> list[tuple[Tensor, Tensor]]:
    """Only the last two batches have examples that do not count."""
    batches = flat()
    batches[2][1][3:] = value
    batches[3][1][:1] = value
    return batches


def ignoring(value: int, reduction: str = "mean") -> Any:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        out, y = model(batch[0]), batch[-1]
        return functional.cross_entropy(
            out.flatten(0, -2), y.flatten(), ignore_index=value, reduction=reduction
        )

    return loss


def causal(model: nn.Module, batch: Any) -> Tensor:
    out, y = model(batch[0])[:, :-1], batch[1][:, 1:]
    return functional.cross_entropy(out.flatten(0, 1), y.flatten(), ignore_index=0)


def masked_by_tensor(model: nn.Module, batch: Any) -> Tensor:
    each = functional.cross_entropy(model(batch["ids"]).mT, batch["targets"], reduction="none")
    return (each * batch["mask"]).sum() / batch["mask"].sum()


def with_mask() -> list[dict[str, Tensor]]:
    found = []
    for x, y in padded(3, (2, 12, 7)):
        mask = torch.zeros_like(x)
        mask[:, : {3: 7}.get(len(found), (2, 12, 7)[len(found)])] = 1
        found.append({"ids": x, "mask": mask, "targets": y})
    return found


def by_length(model: nn.Module, batch: Any) -> Tensor:
    inside = torch.arange(LENGTH) < batch[1][:, None]
    each = functional.cross_entropy(model(batch[0]).mT, batch[2], reduction="none")
    return each[inside].mean()


def with_lengths() -> list[tuple[Tensor, ...]]:
    lengths = ((2, 3, 2, 3, 2, 3, 2, 3), (12, 11) * 4)
    return [(x, torch.tensor(one), y) for (x, y), one in zip(padded(3, (12, 12)), lengths, strict=True)]


def sample_weights(model: nn.Module, batch: Any) -> Tensor:
    each = functional.cross_entropy(model(batch[0]), batch[2], reduction="none")
    return (each * batch[1]).sum() / batch[1].sum()


def with_weights() -> list[tuple[Tensor, ...]]:
    return [(x, torch.rand(len(x)).double() + place, y) for place, (x, y) in enumerate(flat())]


def mean_of_means(model: nn.Module, batch: Any) -> Tensor:
    kept = (batch[1] != 0) & (batch[1] != -100)
    each = functional.cross_entropy(model(batch[0]).mT, batch[1].clamp(min=0), reduction="none")
    return ((each * kept).sum(1) / kept.sum(1)).mean()


@dataclass(frozen=True)
class Case:
    name: str
    net: Callable[[], nn.Module]
    batches: Callable[[], list[Any]]
    loss: Any
    unit: str


CASES = [
    Case("label 0 ignored", token_net, lambda: padded(0, (1, 12)), ignoring(0), "tokens"),
    Case("label -1 ignored", token_net, lambda: padded(-1, (1, 12, 4)), ignoring(-1), "tokens"),
    Case("label -100 ignored", token_net, lambda: padded(-100, (1, 12)), ignoring(-100), "tokens"),
    Case("largest label ignored", token_net, lambda: padded(5, (2, 9)), ignoring(5), "tokens"),
    Case("batches of one", token_net, lambda: padded(0, (1, 12, 5), 1), ignoring(0), "tokens"),
    Case("uneven late", token_net, lambda: padded(0, (9, 9, 9, 9, 9, 9, 2)), ignoring(0), "tokens"),
    Case("label 0 counts", token_net, lambda: padded(0, (1, 12)), ignoring(-100), "tokens"),
    Case("causal, label 0 ignored", token_net, lambda: padded(0, (3, 12)), causal, "tokens"),
    Case("mean of means", token_net, lambda: padded(0, (1, 12)), mean_of_means, "tokens"),
    Case("mask in the batch", token_net, with_mask, masked_by_tensor, "mask"),
    Case("lengths in the batch", token_net, with_lengths, by_length, "mask"),
    Case("weights in the batch", flat_net, with_weights, sample_weights, "mask"),
    Case("classes, -1 ignored", flat_net, lambda: unlabelled(-1), ignoring(-1), "labels"),
    Case("classes, -100 ignored", flat_net, lambda: unlabelled(-100), ignoring(-100), "labels"),
    Case("classes", flat_net, flat, ignoring(-100), "examples"),
]


def together(batches: list[Any]) -> Any:
    if isinstance(batches[0], dict):
        return {key: torch.cat([one[key] for one in batches]) for key in batches[0]}
    return tuple(torch.cat(part) for part in zip(*batches, strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answer_is_that_of_one_big_batch(case: Case) -> None:
    model, batches = case.net(), case.batches()
    split, whole = Subject(model, batches, case.loss), Subject(model, [together(batches)], case.loss)
    found = weighing(split)
    assert (found.unit, found.reduction, found.warnings) == (case.unit, "mean", ())
    one = case.loss(model, together(batches))
    assert mean_loss(split) == pytest.approx(float(one.detach()), rel=1e-9)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(one, list(model.parameters()))])
    assert torch.allclose(gradient(split), expected, atol=1e-12)
    parts = list(per_example(split))
    weights, rows = torch.cat([p.weights for p in parts]), torch.cat([p.grads for p in parts])
    assert torch.allclose((weights[:, None] * rows).sum(0) / weights.sum(), expected, atol=1e-12)
    probes = ["gradient_norm", "top_eigenvalue:tolerance=1e-6", "gradient_variance", "fisher_trace"]
    for a, b in zip(*(measure(model, s.batches, case.loss, probes) for s in (split, whole)), strict=True):
        assert a.status == b.status == "ok"
        assert a.value == pytest.approx(b.value, rel=1e-5)
        assert a.warnings == b.warnings


@pytest.mark.parametrize("case", [c for c in CASES[:9] if "causal" not in c.name], ids=lambda case: case.name)
def test_masked_rows_have_no_margin(case: Case) -> None:
    """What does not count gets the label -100 before anything is read off the outputs."""
    model, batches = case.net(), case.batches()
    ignored = torch.tensor(weighing(Subject(model, batches, case.loss)).ignored)
    spelled = [(x, y.masked_fill(torch.isin(y, ignored), -100)) for x, y in batches]
    if case.name.startswith("label"):
        assert (spelled[0][1] == -100).sum() == (0 if "counts" in case.name else 8 * 11)
    probes = ["margin_raw", "effective_rank", "dormant_units"]
    plain = case.loss if case.loss is mean_of_means else ignoring(-100)
    found, expected = measure(model, batches, case.loss, probes), measure(model, spelled, plain, probes)
    for a, b in zip(found, expected, strict=True):
        assert a.value == pytest.approx(b.value, rel=1e-9)
        assert a.details == b.details


def test_class_weights_are_no_plain_mean_and_say_so() -> None:
    weight = torch.arange(1.0, CLASSES + 1).double()

    def loss(model: nn.Module, batch: Any) -> Tensor:
        return functional.cross_entropy(model(batch[0]), batch[1], weight=weight)

    reading = measure(flat_net(), flat(), loss, ["gradient_norm"])[0]
    assert any("class weights" in text for text in reading.warnings)


def test_a_mask_that_is_nowhere_to_be_seen_says_so() -> None:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        inside = batch[0] > 2  # what is not counted follows from the inputs alone
        each = functional.cross_entropy(model(batch[0]).mT, batch[1], reduction="none")
        return each[inside].mean()

    torch.manual_seed(1)
    low = [torch.randint(1, 4, (8, LENGTH)), torch.randint(2, TOKENS, (8, LENGTH))]
    batches = [(x, torch.randint(CLASSES, x.shape)) for x in low]
    reading = measure(token_net(), batches, loss, ["gradient_norm"])[0]
    assert any("pass weigh=" in text for text in reading.warnings)


def test_lengths_that_differ_between_batches_only_leave_it_open() -> None:
    torch.manual_seed(1)
    batches = [(torch.randint(TOKENS, (4, k)), torch.randint(CLASSES, (4, k))) for k in (3, 9)]
    reading = measure(token_net(), batches, ignoring(-100), ["gradient_norm"])[0]
    assert any(
        "whether batches count by tokens or by tokens but the first" in text for text in reading.warnings
    )
    told = measure(token_net(), batches, ignoring(-100), ["gradient_norm"], weigh=lambda b: b[1].numel())[0]
    assert told.warnings == ()
    assert told.value == pytest.approx(reading.value, rel=1e-9)


def test_a_net_that_says_the_same_of_every_example_is_not_doubted() -> None:
    model = flat_net()
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    found = weighing(Subject(model, flat(), ignoring(-100)))
    assert (found.unit, found.warnings) == ("examples", ())


def test_sums_are_told_from_means_with_batches_of_one_example() -> None:
    batches = [(x[:1], y[:1]) for x, y in flat()]
    subject = Subject(flat_net(), batches, ignoring(-100, "sum"))
    assert weighing(subject).reduction == "sum"
    x, y = together(batches)
    assert mean_loss(subject) == pytest.approx(
        float(functional.cross_entropy(subject.model(x), y).detach()), rel=1e-9
    )


def test_tokens_beyond_their_length_have_no_margin() -> None:
    model, batches = token_net(), with_lengths()
    spelled = []
    for x, lengths, y in batches:
        beyond = torch.arange(LENGTH) >= lengths[:, None]
        spelled.append((x, y.masked_fill(beyond, -100)))
    one = measure(model, batches, by_length, ["margin_raw"])[0]
    two = measure(model, spelled, ignoring(-100), ["margin_raw"])[0]
    assert one.value == pytest.approx(two.value, rel=1e-9)
    assert one.details == two.details


def test_labels_of_a_causal_loss_belong_to_the_outputs_before_them() -> None:
    model, batches = token_net(), padded(0, (3, 12))
    moved = [(x, torch.cat([y[:, 1:], torch.zeros_like(y[:, :1])], 1)) for x, y in batches]
    probes = ["margin_raw", "prediction_churn", "neural_collapse", "kernel_drift"]
    other = {name: p.detach() + 0.1 for name, p in model.named_parameters()}
    found = measure(model, batches, causal, probes, other=other, initial=other)
    expected = measure(model, moved, ignoring(0), probes, other=other, initial=other)
    for one, two in zip(found, expected, strict=True):
        assert one.status == two.status == "ok"
        assert one.value == pytest.approx(two.value, rel=1e-9)
        assert one.parts == pytest.approx(two.parts, rel=1e-9)


def test_of_examples_that_are_fitted_to_rounding_the_loss_is_still_a_mean() -> None:
    """A batch's loss of 5.4e-5 was off by 1.5e-8, a unit of rounding of its logits: readings were refused."""
    torch.manual_seed(0)
    x, y = torch.randn(200, 64), torch.randint(10, (200,))
    net = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 10))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    batches = [(x[:100], y[:100]), (x[100:], y[100:])]

    def loss(scale: float, error: float) -> Callable[[nn.Module, Any], Tensor]:
        """Logits times a number; a batch is off by a unit of rounding, single examples are not."""
        return lambda model, batch: (
            functional.cross_entropy(scale * model(batch[0]), batch[1]) + error * (len(batch[1]) > 1)
        )

    for scale in (1.0, 1.3):
        whole = float(loss(scale, 0.0)(net, batches[0]).detach())
        assert 5e-5 < whole < 1e-3
        for name in ("gradient_variance", "input_gradient_norm"):
            (fine,) = measure(net, batches, loss(scale, 1e-7), probes=name)
            assert fine.status == "ok", fine.reason
            (wrong,) = measure(net, batches, loss(scale, 1e-4), probes=name)
            assert wrong.status != "ok"
