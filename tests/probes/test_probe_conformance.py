"""Every probe of the registry on every layer pattern: a number or an honest reason, and nothing altered."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest
import torch
from tests.probes.patterns import PATTERNS, Pattern

from algobias.probes.base import PRESETS
from algobias.probes.guard import fingerprint
from algobias.probes.measure import take
from algobias.probes.registry import PROBES, catalogue, parse, parse_many, preset
from algobias.probes.subject import Subject, Training


def _subject(pattern: Pattern, **about: Any) -> Subject:
    model, batches, loss = pattern.build()
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    weights |= {name: b.detach().clone() for name, b in model.named_buffers()}
    torch.manual_seed(1)
    elsewhere = {n: t + 0.1 * torch.randn_like(t) if t.is_floating_point() else t for n, t in weights.items()}
    model.train()
    return Subject(
        model,
        batches,
        loss,
        mode="train" if pattern.train_mode else "eval",
        training=Training(lr=0.1, momentum=0.9, batch=4, examples=sum(len_of(b) for b in batches)),
        initial=elsewhere,
        history=[(1, elsewhere), (10, weights)],
        updates=20,
        other=elsewhere,
        replicas=(weights, elsewhere),
        **about,
    )


def len_of(batch: Any) -> int:
    return len(batch["labels"] if isinstance(batch, dict) else batch[0])


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda p: p.name)
def test_every_probe_gives_a_number_or_a_reason_and_alters_nothing(pattern: Pattern) -> None:
    subject = _subject(pattern)
    before = fingerprint(subject.model)
    readings = take(subject, [parse(name) for name in PROBES])
    assert fingerprint(subject.model) == before
    assert [one.probe for one in readings] == list(PROBES)
    for one in readings:
        if one.status == "ok":
            assert one.value is not None
            assert math.isfinite(one.value)
            assert one.reason is None
            has_interval = one.low is not None and one.high is not None
            assert has_interval or one.no_interval, one.probe
            assert not has_interval or one.low <= one.value <= one.high, one.probe  # type: ignore[operator]
        else:
            assert one.reason, one.probe
        assert one.unit
        assert one.definition
        assert one.reference
        assert min(one.cost.forwards, one.cost.gradients, one.cost.products, one.cost.seconds) >= 0
        json.dumps(one.to_json(), allow_nan=False)
    # What a probe does not foresee ends in the name of an exception: that is a defect of the probe.
    unforeseen = [one.reason for one in readings if one.reason and one.reason.split(":")[0].endswith("Error")]
    assert not unforeseen


@pytest.mark.parametrize("name", PROBES)
def test_card_is_complete(name: str) -> None:
    card = PROBES[name].card
    for field in ("summary", "formula", "unit", "invariances", "cost"):
        assert getattr(card, field), field
    assert card.references
    assert all(any(c.isdigit() for c in one) for one in card.references), "a reference names its year"
    assert set(card.needs) <= set(Subject.__dataclass_fields__)
    assert not (card.needs and card.preset == "cheap") or card.needs == ("initial",)
    assert parse(parse(name).spelling()) == parse(name)
    for text in card.examples:
        assert parse(parse(text).spelling()) == parse(text)
    assert (PROBES[name].read.__doc__ or "").strip()


def test_presets_grow_and_the_cheap_one_is_what_the_contract_names() -> None:
    sizes = [{probe.name for probe in preset(name)} for name in PRESETS]
    assert all(small <= large for small, large in itertools.pairwise(sizes))
    assert sizes[0] == {
        "top_eigenvalue",
        "trace",
        "gradient_variance",
        "weight_norm",
        "distance_from_init",
        "margin_frobenius",
        "margin_raw",
        "margin_input",
        "input_gradient_norm",
    }


def test_the_catalogue_is_plain_data_with_at_least_thirty_formulas() -> None:
    items = catalogue()
    json.dumps(items, allow_nan=False)
    assert len({item["formula"] for item in items}) == len(items) >= 30


def test_the_same_seed_gives_the_same_readings() -> None:
    one, two = (take(_subject(PATTERNS[0], seed=3), parse_many("standard")) for _ in range(2))
    assert [r.value for r in one] == [r.value for r in two]


@pytest.mark.parametrize(
    "pattern", [p for p in PATTERNS if p.name in ("conv max-pool", "LSTM")], ids=lambda p: p.name
)
def test_double_precision_models_are_measured_in_double_precision(pattern: Pattern) -> None:
    model, batches, loss = pattern.build()
    wide = [(x.double(), y) for x, y in batches]
    single = take(Subject(model, batches, loss), parse_many("cheap"))
    double = take(Subject(model.double(), wide, loss), parse_many("cheap"))
    for a, b in zip(single, double, strict=True):
        assert a.status == b.status, a.probe
        if a.value is not None:
            assert b.value == pytest.approx(a.value, rel=2e-2), a.probe
