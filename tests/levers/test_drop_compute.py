"""Dropped examples: which, how the rest is scaled, and what the model of compute times says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from algobias.errors import BadInput
from algobias.levers.parallel.drop_compute import in_time, step_time
from algobias.levers.registry import parse
from algobias.recipe import Recipe
from algobias.tasks.registry import load_task
from algobias.training.loop import train
from algobias.training.setup import Setup

DIGITS = load_task("digits")


def made(*levers: str, **changes: Any) -> Recipe:
    recipe = DIGITS.recipe().edit(budget={"updates": 20}, batch=32, **changes)
    for text in levers:
        recipe = parse(text).apply(recipe)
    return recipe


def weights(lever: str, updates: int = 50, batch: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and indices of many updates of one seed."""
    setup = Setup(made(lever).edit(batch=batch), DIGITS, torch.device("cpu"))
    keys = [setup.sampler(update, (0,))[1] for update in range(updates)]
    found = [(key.weights[0], key.index[0]) for key in keys if key.weights is not None]
    return torch.stack([one for one, _ in found]), torch.stack([index for _, index in found])


def test_kept_examples_make_up_for_those_dropped() -> None:
    found, _ = weights("drop_compute:p=0.5")
    assert ((found == 0).float().mean() - 0.5).abs() < 5 * 0.5 / np.sqrt(found.numel())
    torch.testing.assert_close(found.sum(-1), torch.full((50,), 32.0))
    planned, _ = weights("drop_compute:p=0.5,scale=planned")
    assert torch.equal(planned, (found > 0).float())


def test_workers_count_by_their_realised_batch_or_all_alike() -> None:
    """The mean of workers' own means is another number than the mean over what all have kept."""
    value = torch.arange(32.0) ** 2
    apart, _ = weights("drop_compute:p=0.7,scale=worker,workers=8")
    together, _ = weights("drop_compute:p=0.7")
    assert torch.equal(apart > 0, together > 0)
    for one, all_alike in zip(apart, together, strict=True):
        kept = all_alike > 0
        own = [value[4 * w : 4 * w + 4][kept[4 * w : 4 * w + 4]] for w in range(8)]
        means = [float(part.mean()) for part in own if len(part)]
        assert float((one * value).mean()) == pytest.approx(np.mean(means), rel=1e-5)
        assert float((all_alike * value).mean()) == pytest.approx(float(value[kept].mean()), rel=1e-5)
    assert ((apart > 0).reshape(50, 8, 4).sum(-1) == 0).any(), "no worker dropped everything"
    with pytest.raises(BadInput, match=r"drop_compute\.workers"):
        made("drop_compute:p=0.5,scale=worker,workers=5")


def test_what_is_dropped_does_not_depend_on_the_batch() -> None:
    dropped = []
    for batch in (16, 32):
        found, index = weights("drop_compute:p=0.3", 800 // batch, batch)
        dropped.append(set(index[found == 0].tolist()))
    assert dropped[0] == dropped[1]
    assert 180 < len(dropped[0]) < 300


def test_by_content_only_the_inky_ones_go() -> None:
    found, index = weights("drop_compute:by=ink,quantile=0.6,p=0.95", 25)
    ink = DIGITS.train.data[0].sum(1)  # type: ignore[attr-defined]
    inky = ink[index] > torch.quantile(ink, 0.6)
    assert (found[~inky] > 0).all()
    assert (found[inky] == 0).float().mean() == pytest.approx(0.95, abs=0.05)


@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_training_with_weights_is_training_on_what_is_kept(engine: str) -> None:
    """One update, against the gradient of the kept examples alone."""
    setup = Setup(made("drop_compute:p=0.5", engine=engine), DIGITS, torch.device("cpu"))
    state = setup.initial((0, 1) if engine == "stacked" else (0,))
    batch, key = setup.sampler(0, (0, 1) if engine == "stacked" else (0,))
    grads, _ = setup.grad(state, batch, key)
    x, y, w = (t[0] if engine == "stacked" else t for t in (*batch, key.weights))
    net = setup.network._build(0)
    kept = w > 0
    nn.functional.cross_entropy(net(x[kept]), y[kept]).backward()
    wanted = torch.cat([p.grad.reshape(-1) for p in net.parameters()])  # type: ignore[union-attr]
    torch.testing.assert_close(grads[0] if engine == "stacked" else grads, wanted, rtol=1e-4, atol=1e-6)


def test_workers_stop_when_their_time_is_up() -> None:
    times = np.array([[0.3, 0.3, 0.3, 0.3], [0.9, 0.2, 0.2, 0.2], [2.0, 0.1, 0.1, 0.1]])
    assert in_time(times, 0.65).tolist() == [
        [True] * 2 + [False] * 2,
        [True] + [False] * 3,
        [True] + [False] * 3,
    ]
    assert in_time(times, np.inf).all()
    whole, cut = step_time(times[None], 0.65)
    assert (whole, cut) == (pytest.approx(2.3), pytest.approx(2.0))


def test_the_model_of_compute_times_drops_whole_micro_batches() -> None:
    found, index = weights("drop_compute:0.9,sigma=1", 200)
    kept = (found > 0).reshape(200, 4, 4, 2)
    assert torch.equal(kept[..., 0], kept[..., 1])  # 32 examples, 4 workers, 4 micro-batches of 2
    assert kept[:, :, 0].all()
    later = kept[..., 0].float().mean((0, 1))
    assert (later[:-1] >= later[1:]).all()
    share = parse("drop_compute:0.9,sigma=1").gradients_per_example()
    assert later.mean().item() == pytest.approx(share, abs=0.03)
    assert (weights("drop_compute:100,sigma=1")[0] == 1).all()
    slow, index = weights("drop_compute:1,sigma=0,by=ink", 400)
    ink = DIGITS.train.data[0].sum(1)[index]  # type: ignore[attr-defined]
    assert ink[slow == 0].mean() > ink[slow > 0].mean() + 0.3  # slow means long


def test_nothing_dropped_is_nothing_changed_bit_for_bit() -> None:
    for text in ("drop_compute:p=0", "drop_compute:1e9"):
        for one, two in zip(train(made(), DIGITS, (0, 1)), train(made(text), DIGITS, (0, 1)), strict=True):
            near = 0 if "p=" in text else 1e-6
            np.testing.assert_allclose(two.curve.train_loss, one.curve.train_loss, rtol=near)
            assert one.cost.gradients == two.cost.gradients


def test_cost_counts_what_is_kept_seed_by_seed() -> None:
    costs = [one.cost.gradients for one in train(made("drop_compute:p=0.5"), DIGITS, (0, 1, 2))]
    assert len(set(costs)) == 3
    assert train(made("drop_compute:p=0.5"), DIGITS, (1,))[0].cost.gradients == costs[1]
    assert all(abs(cost - 320) < 100 for cost in costs)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("drop_compute:", "drop_compute"),
        ("drop_compute:0.9,p=0.5", "drop_compute"),
        ("drop_compute:0.9,workers=5", "workers"),
        ("drop_compute:by=length,p=0.5", "length"),
        ("drop_compute:p=1.5", "p"),
    ],
)
def test_impossible_settings_are_told(text: str, field: str) -> None:
    with pytest.raises(BadInput, match=field):
        Setup(made(text), DIGITS, torch.device("cpu"))
