# ruff: noqa: E501
"""Each injected lever does what the same edit of the script by hand does, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from algobias.attached.events import Counters
from attached.scripts import HEAD, run

LOOP = (
    HEAD
    + """
from algobias import DelayedGradients, EMA, SAM, clip_by_norm  # what the edits by hand are made of
net = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4))
optimizer = torch.optim.{optimizer}
{before}
for step in range(8):
    net.train()
    rows = torch.randperm(96)[:32]
    optimizer.zero_grad()
    {training}
    {after}
    net.eval()
    with torch.no_grad():
        {evaluation}
say(net)
"""
)

SGD = "SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)"
ADAM = "AdamW(net.parameters(), lr=0.01, weight_decay=0.1)"
TRAIN = "F.cross_entropy(net(X[rows]), Y[rows]).backward(); optimizer.step()"
SHOW = "print(net(X).square().sum().item())"


def loop(
    optimizer: str = SGD, before: str = "", training: str = TRAIN, after: str = "", evaluation: str = SHOW
) -> str:
    return LOOP.format(
        optimizer=optimizer, before=before, training=training, after=after, evaluation=evaluation
    )


SAM_BY_HAND = """state = torch.random.get_rng_state()
    F.cross_entropy(net(X[rows]), Y[rows]).backward()
    buffers = [b.clone() for b in net.buffers()]
    with sam.perturbed():
        torch.random.set_rng_state(state); F.cross_entropy(net(X[rows]), Y[rows]).backward()
    for b, kept in zip(net.buffers(), buffers): b.copy_(kept)
    optimizer.step()"""

EDITS = {
    "lr:x2": loop(SGD.replace("0.1,", "0.2,")),
    "lr:0.05": loop(SGD.replace("0.1,", "0.05,")),
    "weight_decay:x2": loop(SGD.replace("0.01", "0.02")),
    "weight_decay:0.5": loop(SGD.replace("0.01", "0.5")),
    "warmup:4": loop(
        training="optimizer.param_groups[0]['lr'] = 0.1 * ((step + 1) / 4) if step < 3 else 0.1; " + TRAIN
    ),
    "clip:0.5": loop(training=TRAIN.replace("optimizer", "clip_by_norm(net.parameters(), 0.5); optimizer")),
    "lr:x2+clip:0.5": loop(
        SGD.replace("0.1,", "0.2,"),
        training=TRAIN.replace("optimizer", "clip_by_norm(net.parameters(), 0.5); optimizer"),
    ),
    "accumulate:2": loop(
        before="clear, optimizer.zero_grad = optimizer.zero_grad, lambda: None",
        training="if step % 2 == 0: clear()\n"
        "    (F.cross_entropy(net(X[rows]), Y[rows]) / 2).backward()\n"
        "    if step % 2: optimizer.step()",
    ),
    "delay:2": loop(
        before="delayed = DelayedGradients(optimizer, 2)",
        training="with delayed.stale(): F.cross_entropy(net(X[rows]), Y[rows]).backward()\n    delayed.step()",
    ),
    "ema:0.6": loop(
        before="ema = EMA(net, 0.6)",
        after="ema.update()",
        evaluation="with ema.applied(): print(net(X).square().sum().item())",
    ),
    "sam:0.1": loop(before="sam = SAM(net, optimizer, 0.1)", training=SAM_BY_HAND),
}

COUNTS = {"warmup:4": 3, "accumulate:2": 4, "delay:2": 7}


@pytest.mark.parametrize("lever", EDITS)
def test_a_lever_is_the_edit_by_hand(tmp_path: Path, lever: str) -> None:
    by_hand = run(tmp_path / "hand", EDITS[lever], attach=False)
    injected = run(tmp_path / "injected", loop(), levers=(lever,))
    assert by_hand.code == 0, by_hand.err
    assert injected.refused() == {}
    assert injected.out == by_hand.out, injected.err
    for part in lever.split("+"):
        assert injected.applied()[part] == COUNTS.get(lever, 8)


def test_the_plain_run_is_none_of_them(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain", loop(), attach=False).out
    edits = [
        run(tmp_path / str(n), EDITS[lever], attach=False).out
        for n, lever in enumerate(("clip:0.5", "ema:0.6"))
    ]
    assert plain not in edits


def test_accumulation_counts_real_steps(tmp_path: Path) -> None:
    ran = run(tmp_path, loop(), levers=("accumulate:2",))
    assert ran.end.updates == 4
    assert ran.events.of(Counters)[-1].skipped == 0


@pytest.mark.parametrize(
    ("lever", "source", "why"),
    [
        ("clip:1", loop(training=TRAIN.replace("optimizer", "nn.utils.clip_grad_norm_(net.parameters(), 1); optimizer")), "the script clips by itself"),
        ("accumulate:2", loop(training=TRAIN.replace("optimizer", "nn.utils.clip_grad_norm_(net.parameters(), 1); optimizer")), "accumulation with the script's clip"),
        ("accumulate:2", loop(before="schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)", after="schedule.step()"), "a learning rate that changes at every step"),
        ("sam:0.1", loop(training="z = net(X[rows]); w = F.cross_entropy(z, Y[rows]).item() * 0.7; (w * F.cross_entropy(z, Y[rows])).backward(); optimizer.step()"), "a value escapes before backward"),
        ("sam:0.1", loop("LBFGS(net.parameters(), lr=0.1)", training="optimizer.step(lambda: F.cross_entropy(net(X[rows]), Y[rows]))"), "takes one gradient a step"),
        ("weight_decay:0.1", loop("Rprop(net.parameters())"), "no weight_decay"),
        ("nothing:1", loop(), "did you mean"),
        ("sam:-1", loop(), "at least 0"),
        ("sam:1,rho=2", loop(), "each option once"),
        ("sam", loop(), "a number"),
        ("lr:x0", loop(), "a multiple"),
        ("clip:nan", loop(), "a number"),
        ("sam:0.1+delay:2", loop(), "one of sam and delay"),
    ],
)  # fmt: skip
def test_what_cannot_be_injected_is_refused_and_the_run_goes_on(
    tmp_path: Path, lever: str, source: str, why: str
) -> None:
    ran = run(tmp_path, source, levers=(lever,))
    assert ran.code == 0, ran.err
    assert why in ran.refused().get(lever, "") or why == "did you mean", ran.refused()
    assert lever in ran.refused()
