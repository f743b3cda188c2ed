"""Examples that count differently: in a batch's gradient, in means over a set, in what is shown besides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from algobias.errors import BadInput
from algobias.levers.step import Key
from algobias.tasks.task import Task
from algobias.training.evaluation import EvaluationSet
from algobias.training.loop import train
from algobias.training.setup import Setup

PAD = -1


def token_loss(model: nn.Module, batch: Any) -> Tensor:
    words, tags = batch
    return cross_entropy(model(words).flatten(0, 1), tags.flatten(), ignore_index=PAD)


def token_metric(model: nn.Module, batch: Any) -> Tensor:
    words, tags = batch
    losses = cross_entropy(model(words).transpose(1, 2), tags, ignore_index=PAD, reduction="none")
    return -losses.sum(-1) / count(batch).clamp(min=1)


def count(batch: Any) -> Tensor:
    return (batch[1] != PAD).sum(-1).float()


def plain_loss(model: nn.Module, batch: Any) -> Tensor:
    return (model(batch[0]).flatten(1).sum(-1) - batch[1].float().sum(-1)).square().mean()


def tagger(norm: bool = False) -> nn.Module:
    layers: list[nn.Module] = [nn.Embedding(20, 8), nn.Tanh()]
    return nn.Sequential(*layers, *([nn.BatchNorm1d(6)] if norm else []), nn.Linear(8, 5))


def task(**changes: Any) -> Task:
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(0, 20, (60, 6), generator=generator)
    tags = torch.randint(0, 5, (60, 6), generator=generator)
    lengths = torch.randint(1, 7, (60, 1), generator=generator)
    tags[torch.arange(6)[None] >= lengths] = PAD
    given: dict[str, Any] = {
        "train": (words[:40], tags[:40]),
        "test": (words[40:], tags[40:]),
        "model": tagger,
        "loss": token_loss,
        "metric": token_metric,
        "recipe": {"lr": 0.1, "batch": 8, "updates": 5},
        "weight": count,
    }
    return Task("tags", **{**given, **changes})


def gradient(task: Task, weights: Tensor | None, rows: Tensor, engine: str) -> Tensor:
    """Gradient of the first run of two, examples ``rows``, with ``weights`` ([B])."""
    setup = Setup(task.recipe().edit(engine=engine), task, torch.device("cpu"))
    state = setup.initial((0, 1) if engine == "stacked" else (0,))
    if engine == "stacked":
        rows = rows.expand(2, -1)
        weights = None if weights is None else weights.expand(2, -1)
    batch = task.train.gather(rows, (0, 1))
    key = Key(0, 0, (0, 1) if engine == "stacked" else (0,), rows, weights)
    grads = setup.network.gradient(state, batch, key)[0]
    return grads[0] if engine == "stacked" else grads


@pytest.mark.parametrize("engine", ["stacked", "looped"])
@pytest.mark.parametrize("loss", [token_loss, plain_loss])
def test_weights_of_one_change_nothing(engine: str, loss: Any) -> None:
    it = task(loss=loss, weight=count if loss is token_loss else None)
    rows = torch.arange(8)
    torch.testing.assert_close(
        gradient(it, torch.ones(8), rows, engine), gradient(it, None, rows, engine), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("engine", ["stacked", "looped"])
@pytest.mark.parametrize("loss", [token_loss, plain_loss])
def test_an_example_left_out_is_a_smaller_batch(engine: str, loss: Any) -> None:
    it = task(loss=loss, weight=count if loss is token_loss else None)
    rows, weights = torch.arange(8), torch.tensor([1.0, 0, 1, 1, 0, 0, 1, 1]) * 8 / 5
    smaller = gradient(it, None, rows[weights > 0], engine)
    torch.testing.assert_close(gradient(it, weights, rows, engine), smaller, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_a_weighted_mean_of_single_gradients(engine: str) -> None:
    it, rows = task(loss=plain_loss, weight=None), torch.arange(8)
    weights = torch.tensor([0.5, 2, 0, 1, -1, 0.25, 3, 1])
    singles = torch.stack([gradient(it, None, row[None], engine) for row in rows])
    expected = (weights[:, None] * singles).sum(0) / 8
    torch.testing.assert_close(gradient(it, weights, rows, engine), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_all_examples_left_out(engine: str) -> None:
    assert not gradient(task(), torch.zeros(8), torch.arange(8), engine).any()


def test_batch_statistics_see_only_the_examples_kept() -> None:
    it = task(model=lambda: tagger(norm=True))
    setup = Setup(it.recipe(), it, torch.device("cpu"))
    assert not setup.network.stacked
    rows, weights = torch.arange(8), torch.tensor([1.0, 1, 0, 1, 1, 0, 1, 1]) * 8 / 6
    state = setup.initial((0,))
    _, after = setup.network.gradient(state, it.train.gather(rows), Key(0, 0, (0,), rows, weights))
    kept = rows[weights > 0]
    _, alone = setup.network.gradient(state, it.train.gather(kept), Key(0, 0, (0,), kept))
    for name, buffer in alone.buffers.items():
        torch.testing.assert_close(after.buffers[name], buffer)


@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_loss_and_metric_are_per_token_whatever_the_batches(engine: str) -> None:
    it = task()
    setup = Setup(it.recipe().edit(engine=engine), it, torch.device("cpu"))
    state = setup.initial((3,))
    words, tags = it.test.data  # type: ignore[attr-defined]
    model = it.build_model()
    views = state.layout.views(state.params.reshape(-1))
    losses = cross_entropy(
        torch.func.functional_call(model, views, (words,)).transpose(1, 2),
        tags,
        ignore_index=PAD,
        reduction="none",
    )
    expected = float(losses.sum() / (tags != PAD).sum())
    for cut in (20, 7, 3):
        parts = [torch.arange(20)[start : start + cut] for start in range(0, 20, cut)]
        sets = [EvaluationSet.of(it.test, part, it.weight) for part in parts]
        whole = EvaluationSet(
            tuple(row for each in sets for row in each.batches), 20, sum(each.total for each in sets)
        )
        assert float(setup.network.loss(state, whole)) == pytest.approx(expected, rel=1e-6)
        assert float(setup.network.metric(state, whole).mean()) == pytest.approx(-expected, rel=1e-6)


def test_left_out_examples_cost_no_gradients() -> None:
    it = task()
    setup = Setup(it.recipe(), it, torch.device("cpu"))
    assert setup.network.stacked
    rows = torch.arange(8).expand(2, -1)
    weights = torch.ones(2, 8)
    weights[1, :3] = 0
    setup.network.gradient(
        setup.initial((0, 1)), it.train.gather(rows, (0, 1)), Key(0, 0, (0, 1), rows, weights)
    )
    assert setup.network.gradients == 8
    assert torch.as_tensor(setup.network.left_out).tolist() == [0, 3]


@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_what_is_shown_besides_is_of_the_planned_end(engine: str) -> None:
    def largest(model: nn.Module, batches: Any) -> float:
        return max(float(model(words).max()) for words, _ in batches)

    def text(model: nn.Module) -> str:
        return f"{float(model(torch.zeros(1, 6, dtype=torch.long)).sum()):.4f} {float(torch.rand(())):.4f}"

    it = task(also={"largest": largest}, sample=text)
    recipe = it.recipe().edit(engine=engine)
    first, second = train(recipe, it, (0, 1))
    (again,) = train(recipe, it, (1,))
    assert second.also == again.also
    assert second.sample == again.sample != first.sample
    assert first.also["largest"] != second.also["largest"]
    longer = train(replace_updates(recipe, 9), it, (0,))[0]
    assert longer.also != first.also


def replace_updates(recipe: Any, updates: int) -> Any:
    return recipe.edit(budget__updates=updates)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"also": {"bad": lambda model, batches: "much"}}, r"also\['bad'\]"),
        ({"sample": lambda model: 3}, "sample"),
        ({"weight": lambda batch: torch.ones(3)}, "weight"),
        ({"weight": lambda batch: -count(batch)}, "weight"),
        ({"weight": lambda batch: 0 * count(batch)}, "weight"),
        ({"fit_examples": 0}, "fit_examples"),
        ({"weight": 3}, "weight"),
        ({"also": {"bleu": 3}}, r"also\['bleu'\]"),
    ],
)
def test_bad_answers_are_told(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput, match=field):
        train(task().recipe(), task(**changes), (0,))


def test_outcomes_keep_what_is_shown() -> None:
    from algobias.kept.outcomes import outcome_from, outcome_json

    (outcome,) = train(task().recipe(), task(also={"one": lambda m, b: 1.5}, sample=lambda m: "so"), (0,))
    back = outcome_from(outcome_json(outcome), None)
    assert (back.also, back.sample) == ({"one": 1.5}, "so")
    bare = outcome_json(replace(outcome, also={}, sample=None))
    assert "also" not in bare
    assert "sample" not in bare
