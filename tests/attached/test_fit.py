# ruff: noqa: E501
"""The training loss on examples that all runs share."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from algobias.attached.capture.recorder import Recorder
from algobias.attached.events import TrainLoss
from algobias.attached.fit.kept import FitSet, KeptPass, read_fit_set
from algobias.attached.fit.loss import mean_and_error
from algobias.attached.orders import FitOrders
from algobias.commands.numbers.inside import Told, error_of
from algobias.errors import BadInput
from attached.scripts import HEAD, Ran, run

LOOP = (
    HEAD
    + """
batch, accumulation, order = (int(text) for text in sys.argv[1:4])
net = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
first = torch.randperm(96)[:64]          # what a run with the first order trains on first
for epoch in range(2):
    net.train()
    shuffled = torch.randperm(96, generator=torch.Generator().manual_seed(order)) if order or epoch else first
    for place, rows in enumerate(shuffled.split(batch)):
        with torch.autocast("cpu", enabled=sys.argv[4:] == ["autocast"]):
            loss = F.cross_entropy(net(X[rows]), Y[rows].long())
        if accumulation > 1:
            loss = loss / accumulation
        loss.backward()
        if (place + 1) % accumulation == 0:
            optimizer.step(); optimizer.zero_grad()
    net.eval()
    with torch.no_grad(), torch.autocast("cpu", enabled=sys.argv[4:] == ["autocast"]):
        print("loss", F.cross_entropy(net(X[first]), Y[first]).item())
say(net)
"""
)


def losses(ran: Ran) -> list[TrainLoss]:
    assert ran.code == 0, ran.err
    return list(ran.events.of(TrainLoss))


def printed(ran: Ran) -> list[float]:
    return [float(line.split()[1]) for line in ran.out.splitlines() if line.startswith("loss")]


def test_runs_that_differ_in_batch_order_and_accumulation_share_the_examples(tmp_path: Path) -> None:
    keep = str(tmp_path / "fit.pt")
    first = run(tmp_path / "a", LOOP, "16", "1", "0", fit=FitOrders(keep, None, 64), replay=True)
    other = run(tmp_path / "b", LOOP, "32", "1", "5", fit=FitOrders(None, keep, 64), replay=True)
    more = run(tmp_path / "c", LOOP, "16", "2", "6", fit=FitOrders(None, keep, 64), replay=True)
    hashes = set()
    for ran in (first, other, more):
        assert [loss.value for loss in losses(ran)] == pytest.approx(printed(ran), rel=1e-6)
        for loss in losses(ran):
            assert (loss.examples, loss.se, loss.exact) == (64, None, True)
            hashes.add(loss.fit_set)
    assert len(hashes) == 1
    assert read_fit_set(Path(keep)).fingerprint in hashes


def test_all_losses_of_a_step_count_also_where_a_single_one_has_examples_enough(tmp_path: Path) -> None:
    two = """
        z = net(X[rows])
        F.cross_entropy(z, Y[rows]).backward(retain_graph=True); (3 * z.square().mean()).backward()
        optimizer.step(); optimizer.zero_grad()
    net.eval()
    with torch.no_grad():
        z = net(X[first[:batch]]); print("loss", (F.cross_entropy(z, Y[first[:batch]]) + 3 * z.square().mean()).item())
say(net)
"""
    source = LOOP.split("        with torch.autocast")[0] + two
    ran = run(tmp_path, source, "16", "1", "0", fit=FitOrders(None, None, 8), replay=True)
    assert [loss.value for loss in losses(ran)] == pytest.approx(printed(ran), rel=1e-5)
    assert losses(ran)[0].examples == 32, "both passes of the first step"


def test_the_loss_under_injected_accumulation_is_that_of_the_script(tmp_path: Path) -> None:
    orders = FitOrders(None, None, 64)
    ran = run(tmp_path, LOOP, "16", "1", "0", fit=orders, replay=True, levers=("accumulate:2",))
    assert ran.refused() == {}
    assert [loss.value for loss in losses(ran)] == pytest.approx(printed(ran), rel=1e-6)
    assert losses(ran)[0].examples == 64


def test_taking_the_loss_changes_nothing(tmp_path: Path) -> None:
    for more in ([], ["autocast"]):
        plain = run(tmp_path / "plain", LOOP, "16", "2", "0", *more, attach=False)
        orders = FitOrders(str(tmp_path / "fit.pt"), None, 64)
        inside = run(tmp_path / "inside", LOOP, "16", "2", "0", *more, fit=orders, replay=True)
        assert losses(inside)
        assert inside.out == plain.out


def test_runs_of_another_structure_use_their_own_examples_with_an_error(tmp_path: Path) -> None:
    keep = str(tmp_path / "fit.pt")
    run(tmp_path / "a", LOOP, "16", "1", "0", fit=FitOrders(keep, None, 64), replay=True)
    deeper = LOOP.replace(
        "F.cross_entropy(net(X[rows]), Y[rows].long())", "F.nll_loss(net(X[rows]).log_softmax(1), Y[rows])"
    )
    longer = deeper.replace("range(2)", "range(20)")
    ran = run(tmp_path / "b", longer, "16", "1", "0", fit=FitOrders(None, keep, 64), replay=True)
    assert "another structure" in ran.refused()["capture"]
    last = losses(ran)[-1]
    assert not last.exact
    assert last.se is not None
    assert last.se > 0
    assert (last.shared, last.batches) == (64, 50), (
        "stands in for the shared ones: passes until it was given up"
    )
    points = Told(ran.events).timed_losses()
    assert [(point.update, point.value) for point in points] == [(at.update, at.value) for at in losses(ran)]
    assert points[-1].error == error_of(last)


def test_a_run_that_ends_before_it_gives_the_shared_examples_up_has_a_last_loss_on_its_own(
    tmp_path: Path,
) -> None:
    keep = str(tmp_path / "fit.pt")
    run(tmp_path / "a", LOOP, "16", "1", "0", fit=FitOrders(keep, None, 64), replay=True)
    other = LOOP.replace("Y[rows].long())", "Y[rows].long(), reduction='none').mean()")
    ran = run(tmp_path / "b", other, "16", "1", "0", fit=FitOrders(None, keep, 64), replay=True)
    assert "another structure" in ran.refused()["capture"]
    (last,) = losses(ran)
    assert (last.exact, last.shared, last.batches, last.examples) == (False, 64, 10, 160)


def test_an_error_counts_both_samples_and_few_batches() -> None:
    def loss(batches: int | None, **changed: object) -> TrainLoss:
        given = {"se": 0.1, "examples": 300, "shared": 100, "exact": False, **changed}
        return TrainLoss(7, 1.0, fit_set="f", batches=batches, **given)  # type: ignore[arg-type]

    assert error_of(loss(10**6)) == pytest.approx(0.1 * 2, rel=1e-3)
    assert error_of(loss(2)) == pytest.approx(0.2 * 12.7062 / 1.96, rel=1e-3), "t table, 1 degree of freedom"
    for without in (loss(1), loss(None), loss(9, se=None), loss(9, shared=None), loss(9, exact=True)):
        assert error_of(without) is None


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("gradients = torch.autograd.grad(F.cross_entropy(net(X), Y), list(net.parameters()))", "No backward seen"),
        (
            "g = torch.Generator().manual_seed(3)\nclass M(nn.Module):\n"
            "    def forward(self, x): return net(x * (torch.rand(x.shape, generator=g) > 0.2))\n"
            "F.cross_entropy(M()(X), Y).backward(); print(torch.rand(1, generator=g).item())",
            "replay is not equal: a private generator, or state in forward",
        ),
        (
            "import threading\n"
            "t = threading.Thread(target=lambda: F.cross_entropy(net(X), Y).backward()); t.start(); t.join()",
            "the loss has no seen history",
        ),
        (
            "x = net[0](X); y = x + 0; net[1].inplace = True; z = net(X); z.data.add_(0); z.detach().mul_(2)\n"
            "F.cross_entropy(z, Y).backward()",
            "an input was changed in place",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_replayed_is_refused_in_plain_words(tmp_path: Path, source: str, why: str) -> None:
    whole = (
        HEAD + "net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))\n" + source + "\nsay(net)"
    )
    plain = run(tmp_path / "plain", whole, attach=False)
    inside = run(tmp_path / "inside", whole, fit=FitOrders(None, None, 64), replay=True)
    assert inside.out == plain.out, inside.err
    assert inside.refused() == {"replay": why}


def test_weights_that_are_filled_keep_no_random_numbers() -> None:
    recorder = Recorder()
    recorder.start()
    try:
        net = torch.nn.Linear(3, 2)
        out = net.weight * 2
    finally:
        recorder.stop()
    assert len(recorder._made) == 1, "the product alone"
    assert out in recorder._made


def test_the_mean_and_its_error_have_closed_forms() -> None:
    mean, error = mean_and_error([1.0, 3.0], [1, 1])
    assert (mean, error) == (2.0, pytest.approx(1.0))  # sd sqrt(2), over sqrt(2)
    mean, error = mean_and_error([1.0, 5.0], [3, 1])
    assert mean == 2.0
    assert error == pytest.approx(math.sqrt(2 * ((0.75 * 1) ** 2 + (0.25 * 3) ** 2)))
    assert mean_and_error([4.0], [7]) == (4.0, None)


def test_a_fit_set_is_read_as_it_was_written(tmp_path: Path) -> None:
    kept = KeptPass("f", (torch.arange(6.0).view(3, 2),), (("plain", 0.5), ("size", [3, 2])), True)
    fit_set = FitSet((kept,), 2)
    fit_set.write(tmp_path / "fit.pt")
    again = read_fit_set(tmp_path / "fit.pt")
    assert again.fingerprint == fit_set.fingerprint
    assert again.passes[0].constants == kept.constants
    assert (again.examples, again.per_step) == (3, 2)
    other = FitSet((KeptPass("f", (torch.ones(3, 2),), kept.constants, True),), 2)
    assert other.fingerprint != fit_set.fingerprint


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_a_file_that_is_no_fit_set_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "fit.pt"
    if content is None:
        torch.save({"schema": 1, "passes": [{}], "per_step": 1}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=r"fit\.use"):
        read_fit_set(path)
