"""The lever of numerical precision in training: nulls, randomness, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from algobias.errors import BadInput
from algobias.levers.model.precision import Precision
from algobias.levers.registry import parse, parse_many
from algobias.quantised.layers import Rounding
from algobias.quantised.presets import PRESETS
from algobias.recipe import Recipe
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.testing.runs import Watcher, goes_on_exactly, same_curve
from algobias.training import train
from algobias.training.setup import Setup


@pytest.fixture(scope="module")
def task() -> Task:
    torch.set_num_threads(1)
    return load_task("digits")


@pytest.fixture
def short(task: Task) -> Recipe:
    return task.recipe().edit(budget={"updates": 12})


def applied(text: str, recipe: Recipe) -> Recipe:
    for lever in parse_many(text):
        recipe = lever.apply(recipe)
    return recipe


@pytest.mark.parametrize("engine", ["stacked", "looped"])
@pytest.mark.parametrize("others", ["", "sam:0.1", "workers:4", "accumulate:2", "local_sgd:3,workers=2"])
@pytest.mark.parametrize("format", ["w8a8g8", "mxfp4"])
def test_strength_zero_is_the_plain_network_to_the_bit(task, short, engine, others, format) -> None:
    recipe = applied(others, short.edit(engine=engine)) if others else short.edit(engine=engine)
    rounded = parse(f"precision:{format},p=0,high=none").apply(recipe)
    for one, other in zip(train(recipe, task, [0, 1]), train(rounded, task, [0, 1]), strict=True):
        assert same_curve(one, other)


def test_with_every_layer_high_it_is_the_plain_network(task, short) -> None:
    rounded = parse("precision:int4,high=0:2:4").apply(short)
    assert same_curve(train(short, task, [0])[0], train(rounded, task, [0])[0])


@pytest.mark.parametrize("format", [name for name in PRESETS if name != "float32"])
def test_every_set_of_operands_changes_the_training_and_a_stopped_run_goes_on(task, short, format) -> None:
    recipe = parse(f"precision:{format},high=none").apply(short)
    assert not same_curve(train(short, task, [0])[0], train(recipe, task, [0])[0])
    assert goes_on_exactly(recipe, task)


@pytest.mark.parametrize("others", ["", "workers:4", "accumulate:2", "workers:2+accumulate:2"])
def test_stacked_and_looped_runs_draw_the_same_numbers(task, short, others) -> None:
    text = "precision:grad-int4,wg=int4-sr,dg=int4-sr,high=none" + ("+" + others if others else "")
    recipe = applied(text, short.edit(budget={"updates": 1}))
    found = []
    for engine in ("stacked", "looped"):
        setup = Setup(recipe.edit(engine=engine), task, torch.device("cpu"))
        seeds = (3, 5) if engine == "stacked" else (3,)
        batch, key = setup.sampler(0, seeds)
        state = setup.initial(seeds)
        grads, after = setup.grad(state, batch, key)
        assert after.buffers.keys() == state.buffers.keys()
        found.append(grads[0] if engine == "stacked" else grads)
    # a number that is rounded to the other side moves an entry by a tenth of the largest
    assert float((found[0] - found[1]).abs().max() / found[1].abs().max()) < 1e-3


@pytest.mark.parametrize("others", ["workers:2", "accumulate:2"])
def test_every_pass_draws_its_own_numbers(task, short, others) -> None:
    """With twice the same half of a batch, equal numbers would give the gradient of one half."""
    text = "precision:grad-int4,wg=int4-sr,high=none"
    one = Setup(applied(text, short.edit(batch=8, engine="looped")), task, torch.device("cpu"))
    two = Setup(applied(f"{others}+{text}", short.edit(engine="looped")), task, torch.device("cpu"))
    batch, key = one.sampler(0, (0,))
    state = one.initial((0,))
    single, _ = one.grad(state, batch, key)
    doubled = tuple(torch.cat([part, part]) for part in batch)
    twice, _ = two.grad(state, doubled, key.__class__(0, 0, (0,), torch.cat([key.index, key.index])))
    assert not torch.allclose(single, twice, rtol=1e-3)


def test_it_is_placed_before_what_takes_several_gradients(short) -> None:
    recipe = applied("sam:0.1+accumulate:2+precision:grad-luq", short)
    assert [part.name for part in recipe.parts] == ["precision", "sam", "accumulate"]


def test_layers_are_chosen_by_place_and_by_name() -> None:
    def net() -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(8, 4), nn.Linear(4, 2)
        )

    def rounded(text: str) -> set[str]:
        lever = parse(text)
        assert isinstance(lever, Precision)
        model = lever.model(net())
        return {name for name, module in model.named_modules() if isinstance(module, Rounding)}

    assert rounded("precision:int8") == {"1", "3"}
    assert rounded("precision:int8,high=none") == {"0", "1", "3", "4"}
    assert rounded("precision:int8,high=3:4") == {"0", "1"}
    assert rounded("precision:int8,high=none,layers=[01]") == {"0", "1"}
    with pytest.raises(BadInput, match="high"):
        rounded("precision:int8,high=head")
    assert rounded("precision:int8,high=*") == set()


def test_what_cannot_be_read_is_refused_with_the_nearest_name() -> None:
    for text, near in (("precision:grad-in4", "grad-int4"), ("precision:int8,wg=int44", "int4")):
        with pytest.raises(BadInput) as error:
            parse(text)
        assert error.value.nearest == near or near in str(error.value)
    for text in ("precision:int8,p=2", "precision:int8,smp=0", "precision:grad-int4,scale=row"):
        with pytest.raises(BadInput):
            parse(text)


def test_a_network_without_layers_to_round_is_refused() -> None:
    with pytest.raises(BadInput, match="fused recurrent layer"):
        parse("precision:int8").model(nn.LSTM(3, 3))  # type: ignore[attr-defined]


def test_half_of_it_has_half_the_strength(short) -> None:
    assert parse("precision:grad-int4,p=0.8").share(0.5, short).spelling() == "precision:grad-int4,p=0.4"


@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_bits_are_a_mean_over_multiplications(task, short, engine) -> None:
    """By hand, of a multilayer perceptron: three products a layer, of the first layer two."""
    model = Setup(short, task, torch.device("cpu")).network.template
    each = [m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear)]

    def cost(text: str = ""):
        return train(applied(text, short.edit(engine=engine)) if text else short, task, [0])[0].cost

    total = 3 * sum(each) - each[0]
    assert cost().bits == 32
    assert cost().flops == pytest.approx(2 * total * 12 * 16)
    # input and weight of INT8 forward; backward one of the two operands is the one of the forward product
    backward = sum(each) - each[0]
    expected = (8 * sum(each) + 20 * backward + 20 * sum(each)) / total
    assert cost("precision:int8,high=none").bits == pytest.approx(expected)
    kept = 3 * each[-1]  # the last layer is high
    expected = (32 * (sum(each[:-1]) + kept) + 18 * (2 * sum(each[:-1]) - each[0])) / total
    assert cost("precision:grad-int4").bits == pytest.approx(expected)
    twice = cost("precision:grad-int4,wg=int4-sr,smp=2,high=none")
    assert twice.flops == pytest.approx(2 * (total + sum(each)) * 12 * 16)
    expected = (32 * sum(each) + 18 * (backward + 2 * sum(each))) / (total + sum(each))
    assert twice.bits == pytest.approx(expected)
    assert cost("precision:grad-int4,p=0").bits == 32


def test_requantise_edits_what_is_named_and_leaves_the_rest(short) -> None:
    low = parse("precision:grad-int4,high=none,smp=2").apply(short)
    edited = parse("requantise:wg=luq,dg=float32").apply(low)
    (part,) = edited.parts
    assert (part.name, part.options["wg"], part.options["dg"]) == ("precision", "e3m0-sr", "float32")
    assert (part.options["smp"], part.options["high"]) == (2, "none")
    whole = parse("precision:grad-luq,high=none,smp=2").apply(short)
    assert parse("requantise:format=grad-luq").apply(low) == whole
    assert parse("requantise:wg=luq").apply(short) == short
    assert parse("requantise").apply(low) == low
    with pytest.raises(BadInput, match="int44"):
        parse("requantise:wg=int44")


def test_requantise_stays_where_the_precision_was(short) -> None:
    recipe = applied("precision:grad-int4+sam:0.1+requantise:wg=luq", short)
    assert [part.name for part in recipe.parts] == ["precision", "sam"]


@pytest.mark.parametrize("text", ["sparsity:2:4+precision:mxfp8", "precision:mxfp8+sparsity:2:4"])
@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_sparse_weights_are_rounded_too(task, short, text, engine) -> None:
    recipe = short.edit(engine=engine)
    both = train(applied(text, recipe), task, [0])[0]
    for one in text.split("+"):
        assert not same_curve(both, train(applied(one, recipe), task, [0])[0])
    neutral = "+".join(f"{one},p=0" if one.startswith("precision") else one for one in text.split("+"))
    assert same_curve(
        train(applied(neutral, recipe), task, [0])[0], train(applied("sparsity:2:4", recipe), task, [0])[0]
    )
    assert goes_on_exactly(applied(text, recipe), task)


@pytest.mark.parametrize("engine", ["stacked", "looped"])
@pytest.mark.parametrize("others", ["workers:4", "accumulate:2", "sam:0.1"])
def test_bits_do_not_depend_on_how_the_work_is_shared_out(task, short, engine, others) -> None:
    text = "precision:w8a8g8,high=none,fx=int4"
    alone = train(applied(text, short.edit(engine=engine)), task, [0])[0].cost.bits
    shared = train(applied(f"{text}+{others}", short.edit(engine=engine)), task, [0])[0].cost.bits
    assert shared == pytest.approx(alone)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("precision:int8,rht=weigth", "did you mean 'weight'?"),
        ("precision:int8,fx=int17", "precision.fx: 'int17'"),
        ("precision:int8,acc=m99e4", "precision.acc: 'm99e4'"),
        ("requantise:wg=int17", "requantise.wg: 'int17'"),
        ("requantise:acc=x", "requantise.acc: 'x'"),
    ],
)
def test_a_wrong_option_has_its_field_and_all_that_is_allowed(text: str, words: str) -> None:
    with pytest.raises(BadInput) as error:
        parse(text)
    assert words in str(error.value)
    assert error.value.allowed.count(",") >= 1


@pytest.mark.parametrize("others", ["", "+ema:0.9", "+sparsity:2:4", "+sam:0.1"])
def test_what_is_kept_between_updates_is_on_the_grid(task, short, others) -> None:
    adam = parse("optimizer:adam,lr=0.003").apply(short)
    text = "precision:float32,moment1=e4m3,moment2=e5m2,weights=bfloat16"
    recipe = applied(f"{others[1:]}+{text}" if others else text, adam)
    assert recipe.parts[0].name == "precision"
    watcher = Watcher()
    train(recipe, task, [0], observers=[watcher])
    weights = watcher.weights[0] if others != "+ema:0.9" else {}
    assert all(torch.equal(w, w.bfloat16().float()) for name, w in weights.items() if name.endswith("weight"))
    kept = watcher.snapshots[0].tensors
    moments = [
        t for name, t in sorted(kept.items()) if name.startswith("memory") and t.shape == kept["params"].shape
    ]
    first, square = (tensor[: 128 * 64] for tensor in moments[:2])  # of the first layer's weight
    for moment, top, dtype in ((first, 448, torch.float8_e4m3fn), (square, 57344, torch.float8_e5m2)):
        levels = moment / (moment.abs().max() / top)
        near = levels.to(dtype).float()
        torch.testing.assert_close(levels, near, rtol=1e-5, atol=1e-6)
    assert goes_on_exactly(recipe, task)


def test_what_draws_cannot_be_kept(task, short) -> None:
    with pytest.raises(BadInput, match="without random numbers"):
        Setup(parse("precision:float32,weights=bfloat16-sr").apply(short), task, torch.device("cpu"))


@pytest.mark.parametrize("changed", [{"update": 1}, {"seeds": (1,)}, {"turn": 1}, {"worker": 1}])
def test_numbers_follow_seed_update_pass_and_worker(task, short, changed) -> None:
    """At the same weights and examples: a rounding that never changes would be a bias."""
    recipe = parse("precision:grad-luq,high=none").apply(short.edit(engine="looped"))
    setup = Setup(recipe, task, torch.device("cpu"))
    batch, key = setup.sampler(0, (0,))
    state = setup.initial((0,))
    first, again, other = (
        setup.grad(state, batch, one)[0] for one in (key, replace(key), replace(key, **changed))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
