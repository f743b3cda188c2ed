"""Callbacks of other people's trainers: the curve is that of the training, and the examples run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from algobias.attached.events import Metric, Refused, TrainLoss
from algobias.attached.journal import Notes
from algobias.errors import BadInput
from algobias.integrations.curve import Curve
from algobias.integrations.watch import Watch
from attached.scripts import HEAD, run
from attached.trainers import EXAMPLES, NEEDS


def lines(name: str) -> list[str]:
    return (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", NEEDS)
def test_an_example_has_at_most_five_lines_of_ours(name: str) -> None:
    ours = [line for line in lines(name) if line.endswith("# algobias")]
    assert 2 <= len(ours) <= 5
    others = "\n".join(line for line in lines(name) if line not in ours)
    assert "algobias" not in others
    assert "watch" not in others.replace("cbs=watch", "")


LOOP = (
    HEAD
    + """
from algobias.integrations.watch import Watch

def trained(watch, seed):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    if watch: watch.begin()
    for step in range(6):
        net.train()
        optimizer.zero_grad()
        F.cross_entropy(net(X), Y).backward()
        optimizer.step()
        if step % 2:
            net.eval()
            with torch.no_grad():
                loss = F.cross_entropy(net(X), Y).item()
                accuracy = (net(X).argmax(1) == Y).float().mean().item()
            if watch: watch.tell({"acc": accuracy})
            print("row", seed, step + 1, loss, accuracy)
    if watch: watch.end()
    say(net)

"""
)


def test_trainings_one_after_the_other_have_curves_of_their_own(tmp_path: Path) -> None:
    plain = run(tmp_path, LOOP + "trained(None, 1); trained(None, 2)", attach=False)
    watched = run(
        tmp_path,
        LOOP
        + "for seed in (1, 2):\n"
        + "    watch = Watch('acc', fit_set='fit.pt', examples=96, log=f'seed={seed}.csv')\n"
        + "    trained(watch, seed)\n"
        + "    assert watch.refused == {}, watch.refused\n",
        attach=False,
    )
    assert watched.code == 0, watched.err
    assert watched.out == plain.out
    for seed in (1, 2):
        rows = [line.split()[2:] for line in plain.out.splitlines() if line.startswith(f"row {seed}")]
        table = (tmp_path / f"seed={seed}.csv").read_text().splitlines()
        assert table == ["seed,update,train_loss,test_metric", *(f"{seed},{','.join(row)}" for row in rows)]


def test_levers_act_in_the_training_that_asks_for_them_alone(tmp_path: Path) -> None:
    ran = run(
        tmp_path,
        LOOP
        + "trained(Watch('acc'), 1)\nwatch = Watch('acc', levers='lr:x2')\n"
        + "trained(watch, 1)\nprint(watch.applied)\n"
        + "trained(Watch('acc'), 1)\n",
        attach=False,
    )
    assert ran.code == 0, ran.err
    first, doubled, last = (line for line in ran.out.splitlines() if line.startswith("weights"))
    assert first == last != doubled
    assert "{'lr:x2': 6}" in ran.out


def test_probes_are_read_at_each_evaluation_and_change_nothing(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain", LOOP + "trained(None, 1)", attach=False)
    norm = (
        "net = next(iter(watch._run.trained.roots()))\n"
        "print(sum(p.detach().double().square().sum() for p in net.parameters()).sqrt().item())\n"
        "print([(reading['update'], reading['value']) for reading in watch.readings])\n"
    )
    source = LOOP + "watch = Watch('acc', examples=96, probes='weight_norm')\ntrained(watch, 1)\n" + norm
    ran = run(tmp_path / "read", source, attach=False)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(plain.out)
    expected, told = ran.out.splitlines()[-2:]
    readings = json.loads(told.replace("(", "[").replace(")", "]"))
    assert [update for update, _ in readings] == [2, 4, 6]
    assert readings[-1][1] == pytest.approx(float(expected), rel=1e-6)


def test_under_orders_the_metric_is_reported_and_nothing_else_done(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain", LOOP + "trained(None, 1)", attach=False)
    source = LOOP + "trained(Watch('acc', log='curve.csv', levers='lr:x2'), 1)"
    ran = run(tmp_path / "ordered", source, replay=True)
    assert ran.code == 0, ran.err
    assert ran.out == plain.out
    told = [(event.name, event.update) for event in ran.events.of(Metric) if event.source == "report"]
    assert told == [("test_metric", 2), ("test_metric", 4), ("test_metric", 6)]
    assert not (tmp_path / "ordered" / "curve.csv").exists()


def test_a_metric_without_an_evaluation_that_was_seen_has_a_loss_all_the_same(tmp_path: Path) -> None:
    source = LOOP.replace("with torch.no_grad():", "if True:") + (
        "watch = Watch('acc', examples=96)\ntrained(watch, 1)\nprint(watch.curve.train_loss)"
    )
    ran = run(tmp_path, source, attach=False)
    assert ran.code == 0, ran.err
    printed = [float(line.split()[3]) for line in ran.out.splitlines() if line.startswith("row")]
    assert str(tuple(printed)) == ran.out.splitlines()[-1]


def test_a_curve_joins_equal_updates() -> None:
    events = [
        Metric(0, "test_metric", 0.0, "report"),
        TrainLoss(2, 0.5, None, 96, "x", True),
        Metric(2, "test_metric", 0.7, "report"),
        Metric(2, "eval_loss", 9.0, "transformers"),
        Metric(3, "test_metric", 0.8, "report"),
        Metric(3, "test_metric", 0.9, "report"),
        Refused(3, "capture", "why"),
    ]
    curve = Curve.of(events, 4)
    assert curve.columns() == {"update": [2, 3], "train_loss": [0.5, None], "test_metric": [0.7, 0.9]}
    assert len(curve) == 2


def test_notes_are_handed_on() -> None:
    inner = Notes()
    outer = Notes(inner)
    outer.write(Refused(1, "replay", "why"))
    assert inner.events == outer.events == [Refused(1, "replay", "why")]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"metric": ""}, "the name of the test metric"),
        ({"metric": "acc", "examples": 0}, "at least 1"),
        ({"metric": "acc", "levers": "sma:0.1"}, "did you mean 'sam'"),
        ({"metric": "acc", "probes": "weight_nrm"}, "did you mean 'weight_norm'"),
    ],
)
def test_what_cannot_be_watched_is_refused_before_training(options: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Watch(**options)  # type: ignore[arg-type]


def test_a_metric_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    ran = run(tmp_path, LOOP + "trained(Watch('accuracy'), 1)", attach=False)
    assert ran.code == 1
    assert "metric: 'accuracy' is not possible; allowed: acc" in ran.err or "did you mean 'acc'" in ran.err


def test_no_integration_is_imported_unless_asked_for(tmp_path: Path) -> None:
    code = (
        "import sys, algobias, algobias.attached.arm, algobias.api\n"
        "others = ('transformers', 'lightning', 'accelerate', 'fastai', 'mlflow', 'wandb', 'trackio')\n"
        "print([name for name in sys.modules if 'integrations' in name or name in others])"
    )
    assert run(tmp_path, code).out == "[]\n"
