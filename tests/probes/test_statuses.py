"""What is wrong with a model, its data or its loss is told as a status, never as a number or a traceback."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from algobias.errors import BadInput
from algobias.probes.base import Card, Probe
from algobias.probes.guard import Altered, fingerprint
from algobias.probes.measure import measure, take
from algobias.probes.monitor import Monitor
from algobias.probes.reading import Interval, Reading, Twin, Unavailable
from algobias.probes.registry import parse_many
from algobias.probes.subject import Subject

CARD = Card("s", "norms", "f", "u", "i", "c", ("nobody, 2026",))


class Odd(Probe):
    """A probe with a defect of the test's choice."""

    name: ClassVar[str] = "odd"
    card: ClassVar[Card] = CARD

    def read(self, subject: Subject) -> Reading:
        """What the test has put into the memo."""
        found: Reading = subject.memo["do"](self, subject)
        return found


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def _data(count: int = 6) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    return [(torch.randn(count, 4), torch.randint(0, 3, (count,)))]


def _loss(model: nn.Module, batch: Any) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


def _only(model: nn.Module, batches: Any, loss: Any = _loss, **about: Any) -> Reading:
    return measure(model, batches, loss, ["weight_norm"], **about)[0]


def test_nothing_to_measure() -> None:
    assert "no batches" in str(_only(_net(), []).reason)
    frozen = _net().requires_grad_(False)
    assert "no trained parameter" in str(_only(frozen, _data()).reason)
    assert "does not depend on the trained parameters" in str(
        _only(_net(), _data(), lambda m, b: b[0].sum()).reason
    )


def test_a_loss_that_is_not_a_finite_scalar() -> None:
    for wrong in (lambda m, b: m(b[0]).sum(1), lambda m, b: 1.0):
        (found,) = take(Subject(_net(), _data(), wrong), parse_many("weight_norm"))
        assert "scalar" in str(found.reason)
    broken = _net()
    broken[0].weight.data[0, 0] = float("nan")
    found = _only(broken, _data())
    assert found.status == "unavailable"
    assert found.value is None
    assert "nan" in str(found.reason)


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda m, b: functional.cross_entropy(m(b[0]), b[1], reduction="none"), r"shape \(6,\).*reduction"),
        (lambda m, b: 1.0, "'float'.*a scalar tensor"),
        (nn.CrossEntropyLoss(), r"'CrossEntropyLoss'.*loss\(model, batch\).*criterion\(model"),
    ],
)
def test_a_loss_that_cannot_be_meant_is_one_error_and_not_a_row_of_statuses(loss: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        measure(_net(), _data(), loss)
    with pytest.raises(BadInput, match=says):
        Monitor(_net(), _data(), loss).step(1)


def test_swapped_arguments_are_told_what_goes_first() -> None:
    with pytest.raises(BadInput, match=r"'list' is not possible; allowed: an nn\.Module; measure"):
        measure(_data(), _net(), _loss, "cheap")  # type: ignore[arg-type]


def test_a_loss_that_raises_is_told_in_one_line() -> None:
    found = _only(_net(), _data(), lambda m, b: m(b[0][:, :2]).sum())
    assert found.status == "unavailable"
    assert "the loss cannot be computed" in str(found.reason)
    assert "\n" not in str(found.reason)


def test_randomness_in_the_forward_pass_is_noticed() -> None:
    noisy = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    assert "different losses" in str(_only(noisy, _data(), mode="train").reason)
    assert _only(noisy, _data()).status == "ok"


def test_mixed_types_are_told() -> None:
    net = _net()
    net[0].double()
    assert "several types" in str(_only(net, _data()).reason)


def test_patterns_of_parameters() -> None:
    net = _net()
    found = _only(net, _data(), parameters=("2.*",))
    assert set(found.parts) == {"2.weight", "2.bias"}
    with pytest.raises(BadInput, match=r"0\.weight"):
        _only(net, _data(), parameters=("3.*",))


def _give_up() -> Reading:
    raise Unavailable("no way; do this")


@pytest.mark.parametrize(
    ("do", "status", "reason"),
    [
        (lambda p, s: p.reading(float("inf"), no_interval="x"), "unavailable", "inf"),
        (lambda p, s: torch.linalg.cholesky(-torch.eye(2)), "unavailable", "cholesky"),
        (
            lambda p, s: (_ for _ in ()).throw(Unavailable("no way; do this")),
            "unavailable",
            "no way; do this",
        ),
        (lambda p, s: p.reading(1.0, status="not_converged", reason="slow"), "not_converged", "slow"),
    ],
)
def test_failures_of_a_probe_are_statuses(do: Any, status: str, reason: str) -> None:
    subject = Subject(_net(), _data(), _loss)
    subject.memo["do"] = do
    found = take(subject, [Odd(), *parse_many("weight_norm")])
    assert found[0].status == status
    assert reason in str(found[0].reason)
    assert found[1].status == "ok"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AssertionError("mine"), "AssertionError: mine"),
        (OSError("mine"), "OSError: mine"),
        (SystemExit(3), "SystemExit: 3"),
        (BadInput("mine", 1, "2"), "BadInput: mine: 1 is not possible; allowed: 2"),
        (type("Odd", (Exception,), {})("mine"), "Odd: mine"),
    ],
)
def test_whatever_a_probe_of_somebody_elses_raises_is_its_status(error: BaseException, reason: str) -> None:
    def fail(probe: Probe, subject: Subject) -> Reading:
        raise error

    subject = Subject(_net(), _data(), _loss)
    subject.memo["do"] = fail
    found = take(subject, [Odd(), *parse_many("weight_norm")])
    assert [one.status for one in found] == ["unavailable", "ok"]
    assert found[0].reason is not None
    assert found[0].reason.startswith("test_statuses.py:")
    assert found[0].reason.endswith(reason)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda p: p.reading(torch.tensor(1.0)),
            "is a Tensor, not a number or None",
        ),
        (lambda p: p.reading("1.0"), "is a str"),
        (lambda p: p.reading(True), "is a bool"),
        (lambda p: p.reading(1.0, details={"x": torch.tensor(1.0)}), "not plain"),
        (lambda p: p.reading(1.0, parts={"x": "one"}), "not plain"),
        (lambda p: p.reading(1.0, status="fine"), "status of reading is 'fine'"),
        (lambda p: p.reading(1.0, numerical=(0.5, 1.5)), "not plain"),
        (lambda p: p.reading(1.0, warnings=None), "not plain"),
    ],
)
def test_a_reading_that_is_not_plain_is_a_status(make: Any, says: str) -> None:
    subject = Subject(_net(), _data(), _loss)
    subject.memo["do"] = lambda probe, subject: make(probe)
    (found,) = take(subject, [Odd()])
    assert found.status == "unavailable"
    assert says in str(found.reason)
    json.dumps(found.to_json(), allow_nan=False)


def test_what_somebody_elses_probe_writes_to_the_model_is_put_back() -> None:
    def write(probe: Probe, subject: Subject) -> Reading:
        subject.model[0].weight.data.mul_(1.5)  # type: ignore[index,union-attr,operator]
        subject.model[2].bias.requires_grad_(False)  # type: ignore[index,union-attr]
        subject.shared("norm", lambda: float(subject.flat().norm()))
        raise ValueError("and more")

    model = _net()
    subject = Subject(model, _data(), _loss)
    before = fingerprint(model)
    subject.memo["do"] = write
    probes = [*parse_many("weight_norm"), Odd(), *parse_many("margin_raw,weight_norm")]
    first, odd, _, last = take(subject, probes)
    assert odd.status == "unavailable"
    assert "parameter 0.weight" in str(odd.reason)
    assert "put back" in str(odd.reason)
    assert last.value == first.value
    assert "norm" not in subject.memo
    assert fingerprint(model) == before


def test_what_cannot_be_put_back_is_told_with_the_probe() -> None:
    def replace_weight(probe: Probe, subject: Subject) -> Reading:
        subject.model[0].weight = nn.Parameter(torch.ones(5, 4))  # type: ignore[index,union-attr]
        return probe.reading(1.0, no_interval="x")

    subject = Subject(_net(), _data(), _loss)
    subject.memo["do"] = replace_weight
    with pytest.raises(BadInput, match=r"^probe odd: .*parameter 0\.weight.*leaves the network"):
        take(subject, [Odd()])


def test_a_probe_of_ours_that_writes_to_the_model_is_a_defect_and_no_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Odd, "__module__", "algobias.probes.odd")

    def write(probe: Probe, subject: Subject) -> Reading:
        subject.model[0].weight.data.mul_(1.001)  # type: ignore[index,union-attr,operator]
        return probe.reading(1.0, no_interval="x")

    subject = Subject(_net(), _data(), _loss)
    subject.memo["do"] = write
    with pytest.raises(Altered, match=r"^odd: .*parameter 0\.weight"):
        take(subject, [Odd()])


def test_a_reading_adds_up_its_errors_and_is_plain_data() -> None:
    one = Reading(
        "p",
        1.0,
        "u",
        numerical=Interval(0.9, 1.2, None, "always"),
        monte_carlo=Interval(0.5, 1.5, 0.95, "random"),
        twin=Twin("t", float("inf"), None, None, "scale"),
    )
    assert (one.low, one.high) == (pytest.approx(0.4), pytest.approx(1.7))
    assert one.to_json()["twin"]["value"] is None
    assert Reading("p", None, "u", "unavailable", "why").to_json()["status"] == "unavailable: why"


def test_names_of_probes() -> None:
    assert [p.name for p in parse_many("weight_norm, weight_norm")] == ["weight_norm"]
    with pytest.raises(BadInput, match="weight_norm"):
        parse_many("weigth_norm")
    with pytest.raises(BadInput, match="probes"):
        parse_many("")
    with pytest.raises(BadInput, match="cheap"):
        parse_many("cheep")
