"""Presets of built-in tasks: a bare first word, values that the user's own override, one spelling."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from algobias.errors import BadInput
from algobias.tasks.builtin import BuiltIn, Options
from algobias.tasks.registry import parse_options, spelling


class Some(Options):
    """``train``: examples. ``model``: a name."""

    train: int | None = None
    model: str = "small"


def never(options: Any, name: str, data_dir: Any) -> Any:
    raise AssertionError("not built here")


PLAIN = BuiltIn("plain", "", Some, never, {}, "")
ENTRY = BuiltIn(
    "some", "", Some, never, {}, "", presets={"reference": {"train": 100}, "full": {"model": "large"}}
)


@pytest.mark.parametrize(
    ("text", "train", "model", "preset", "spelled"),
    [
        ("", None, "small", "default", "some"),
        ("reference", 100, "small", "reference", "some:reference"),
        (" reference , model=large", 100, "large", "reference", "some:reference,model=large"),
        ("reference,train=100", 100, "small", "reference", "some:reference"),
        ("full,train=7", 7, "large", "full", "some:full,train=7"),
        ("full,model=small", None, "small", "full", "some:full,model=small"),
        ("train=7", 7, "small", "default", "some:train=7"),
    ],
)
def test_a_preset_sets_what_the_user_does_not(
    text: str, train: int | None, model: str, preset: str, spelled: str
) -> None:
    options = parse_options(ENTRY, text)
    assert (options.train, options.model, options.preset) == (train, model, preset)  # type: ignore[attr-defined]
    assert spelling(ENTRY, options) == spelled
    again = spelled.partition(":")[2]
    assert parse_options(ENTRY, again) == options


@pytest.mark.parametrize(
    ("entry", "text", "told"),
    [
        (ENTRY, "referense", "reference"),
        (ENTRY, "train", "train=value"),
        (ENTRY, "train=3,full", "full"),
        (ENTRY, "preset=full", "preset"),
        (PLAIN, "full", "full"),
    ],
)
def test_a_mistaken_preset_is_told(entry: BuiltIn, text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        parse_options(entry, text)


def test_weight_decay_of_matrices_only() -> None:
    from algobias.levers.step import Layout, State
    from algobias.levers.update.optimizer import build_transform
    from algobias.recipe_fields import OptimizerSpec

    layout = Layout(("weight", "bias"), (torch.Size([2, 2]), torch.Size([2])), (0, 4, 6))
    state, still = State(torch.ones(6), {}, layout), torch.zeros(6)
    for name in ("sgd", "adamw"):
        spec = OptimizerSpec(name=name, lr=0.1, weight_decay=0.5, decay="matrices")
        transform = build_transform(spec, lambda update: 0.1)
        after, _ = transform.update(still, transform.init(state), state)
        assert after.params.tolist() == pytest.approx([0.95] * 4 + [1.0] * 2)
    parameters = [torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))]
    groups = [
        {"params": parameters[:1], "weight_decay": 0.5},
        {"params": parameters[1:], "weight_decay": 0.0},
    ]
    peer = torch.optim.Adam(groups, lr=0.1)
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 0.25)
    peer.step()
    spec = OptimizerSpec(name="adam", lr=0.1, weight_decay=0.5, decay="matrices")
    transform = build_transform(spec, lambda update: 0.1)
    after, _ = transform.update(torch.full((6,), 0.25), transform.init(state), state)
    torch.testing.assert_close(after.params, torch.cat([p.detach().reshape(-1) for p in parameters]))


def test_the_usual_decay_leaves_addresses_as_they_were() -> None:
    from algobias.recipe_fields import OptimizerSpec

    assert "decay" not in OptimizerSpec(lr=0.1).model_dump(mode="json")
    assert OptimizerSpec(lr=0.1, decay="matrices").model_dump(mode="json")["decay"] == "matrices"
