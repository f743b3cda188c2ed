"""Checks of a probe: a number or an honest reason on several kinds of network, and nothing altered."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable

import torch
from torch import Tensor, nn

from algobias.errors import BadInput
from algobias.probes.base import Probe
from algobias.probes.guard import Altered, fingerprint
from algobias.probes.measure import LEAVES, take
from algobias.probes.reading import Reading
from algobias.probes.subject import Subject, Training
from algobias.spelling import parse_options
from algobias.testing.expect import expect

ProbeCheck = Callable[[type[Probe]], None]


def check_probe(cls: type[Probe]) -> None:
    """Make every check of a probe. Cost: a few readings on networks of some hundred parameters.

    Raises:
        AssertionError: A check fails; the message says what was expected.
    """
    for check in PROBE_CHECKS:
        check(cls)


def card_is_complete(cls: type[Probe]) -> None:
    """The card has summary, formula, unit, invariances, cost, needs what there is, and cites with years."""
    card = cls.card
    for field in ("summary", "formula", "unit", "invariances", "cost", "references"):
        expect(getattr(card, field), f"card.{field} is not empty")
    years = [any(char.isdigit() for char in reference) for reference in card.references]
    expect(all(years), "every reference of the card has its year")
    fields = Subject.__dataclass_fields__
    expect(set(card.needs) <= set(fields), f"card.needs names fields of a Subject: {', '.join(fields)}")
    needs = (card.needs and card.preset == "cheap") and card.needs != ("initial",)
    expect(not needs, "a cheap probe needs nothing but the initial weights")
    expect((cls.read.__doc__ or "").strip(), "read has a docstring")


def spelling_goes_both_ways(cls: type[Probe]) -> None:
    """Every example of the card, and the bare name, parse to what their spelling parses to."""
    for text in (cls.name, *cls.card.examples):
        probe = parse_options(cls, text.removeprefix(cls.name).removeprefix(":"))
        options = probe.spelling().removeprefix(cls.source or cls.name).removeprefix(":")
        expect(parse_options(cls, options) == probe, f"{text}: its spelling parses to the same probe")


def gives_a_number_or_a_reason(cls: type[Probe]) -> None:
    """On a small network of each kind: a finite number with an interval or why there is none, or a reason."""
    for kind in NETWORKS:
        reading = _read(cls, kind)
        if reading.status == "ok":
            finite = reading.value is not None and math.isfinite(reading.value)
            expect(finite, f"{kind}: a status of ok has a finite value")
            bounded = reading.low is not None and reading.high is not None
            expect(bounded or reading.no_interval, f"{kind}: an interval, or no_interval says why not")
            if bounded:
                inside = float(reading.low or 0) <= float(reading.value or 0) <= float(reading.high or 0)
                expect(inside, f"{kind}: the value lies in its interval")
        else:
            expect(reading.reason, f"{kind}: a reading without a number has a reason")
            unforeseen = re.search(r"(^|: )\w+(Error|Exit|Exception)(:|$)", str(reading.reason))
            expect(not unforeseen, f"{kind}: a reason in words; the probe raised {reading.reason}")
        expect(
            reading.unit and reading.definition and reading.reference, f"{kind}: the card's words are in it"
        )
        json.dumps(reading.to_json(), allow_nan=False)


def alters_nothing(cls: type[Probe]) -> None:
    """Weights, buffers, modes and gradients of the model are as they were."""
    for kind in NETWORKS:
        subject = _subject(kind)
        before = fingerprint(subject.model)
        _taken(cls, subject, kind)
        expect(fingerprint(subject.model) == before, f"{kind}: the model is left as it was")


def repeats_itself(cls: type[Probe]) -> None:
    """The same seed gives the same value."""
    values = [_read(cls, "relu").value for _ in range(2)]
    expect(values[0] == values[1], f"the same value twice for one seed; {values[0]} and {values[1]}")


PROBE_CHECKS: tuple[ProbeCheck, ...] = (
    card_is_complete,
    spelling_goes_both_ways,
    gives_a_number_or_a_reason,
    alters_nothing,
    repeats_itself,
)


def _relu() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


def _batch_norm() -> nn.Module:
    layers = (nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(27, 3))


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.lstm(x.reshape(-1, 4, 4))[0][:, -1])
        return out


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "relu": _relu,
    "batch norm": _batch_norm,
    "recurrent": _Recurrent,
}
"""Small networks with 16 inputs and 3 classes."""


def _cross_entropy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def _subject(kind: str) -> Subject:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = NETWORKS[kind]().train()
        x = torch.randn(24, 16)
        y = torch.arange(24) % 3
        state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        elsewhere = {
            name: tensor + 0.1 * torch.randn_like(tensor) if tensor.is_floating_point() else tensor
            for name, tensor in state.items()
        }
    return Subject(
        model,
        [(x[:12], y[:12]), (x[12:], y[12:])],
        _cross_entropy,
        mode="eval",
        training=Training(lr=0.1, momentum=0.9, batch=4, examples=24),
        initial=elsewhere,
        history=[(1, elsewhere), (10, state)],
        updates=20,
        other=elsewhere,
        replicas=(state, elsewhere),
        seed=3,
    )


def _read(cls: type[Probe], kind: str) -> Reading:
    return _taken(cls, _subject(kind), kind)


def _taken(cls: type[Probe], subject: Subject, kind: str) -> Reading:
    try:
        (reading,) = take(subject, [parse_options(cls, "")])
    except (Altered, BadInput) as error:
        raise AssertionError(f"{kind}: the model is left as it was; {error}") from error
    expect(LEAVES not in str(reading.reason), f"{kind}: the model is left as it was; {reading.reason}")
    return reading
