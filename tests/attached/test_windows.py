"""A lever that acts from one update to another is the edit by hand that does so, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from algobias.attached.levers.registry import read
from algobias.errors import BadInput
from attached.scripts import run
from attached.test_levers import SAM_BY_HAND, TRAIN, loop

FUNCTIONS = """
def plain(rows):
    {plain}
def treated(rows):
    {treated}
{before}
"""


def switched(treated: str, when: str, before: str = "") -> str:
    functions = FUNCTIONS.format(plain=TRAIN, treated=treated, before=before)
    return loop(before=functions, training=f"(treated if {when} else plain)(rows)")


EDITS = {
    "sam:0.1,after=2,until=5": switched(SAM_BY_HAND, "2 <= step < 5", "sam = SAM(net, optimizer, 0.1)"),
    "delay:2,after=3": loop(
        before="delayed = None",
        training="delayed = DelayedGradients(optimizer, 2) if step == 3 else delayed\n"
        "    with delayed.stale() if delayed else torch.enable_grad():\n"
        "        F.cross_entropy(net(X[rows]), Y[rows]).backward()\n"
        "    (delayed or optimizer).step()",
    ),
    "ema:0.6,until=5": loop(
        before="ema = EMA(net, 0.6)",
        after="ema.update()",
        evaluation="with ema.applied() if step < 4 else torch.no_grad(): print(net(X).square().sum().item())",
    ),
    "accumulate:2,until=2": loop(
        before="clear, optimizer.zero_grad = optimizer.zero_grad, lambda: None",
        training="if step % 2 == 0 or step >= 4: clear()\n"
        "    (F.cross_entropy(net(X[rows]), Y[rows]) / (2 if step < 4 else 1)).backward()\n"
        "    if step % 2 or step >= 4: optimizer.step()",
    ),
}


@pytest.mark.parametrize("lever", EDITS)
def test_a_lever_within_a_window_is_the_edit_by_hand(tmp_path: Path, lever: str) -> None:
    by_hand = run(tmp_path / "hand", EDITS[lever], attach=False)
    injected = run(tmp_path / "injected", loop(), levers=(lever,))
    assert by_hand.code == 0, by_hand.err
    assert injected.refused() == {}
    assert injected.out == by_hand.out, injected.err
    assert 0 < injected.applied()[lever] < 8


def test_after_the_last_update_nothing_is_injected(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain", loop(), attach=False)
    never = run(tmp_path / "never", loop(), levers=("sam:0.1,after=8",))
    assert never.out == plain.out
    assert never.applied()["sam:0.1,after=8"] == 0


@pytest.mark.parametrize(
    ("lever", "told"),
    [
        ("sam:0.1,until=0", "at least 1"),
        ("sam:0.1,after=5,until=5", "sam.until: '5' .* more than after=5"),
        ("sam:0.1,after=-1", "at least 0"),
        ("sam:0.1,untill=5", "did you mean 'until'"),
        ("warmup:0.05", "warmup.length: '0.05' .* a number of updates: what share of the run"),
        ("warmup:2.5", "a whole number of at least 0"),
    ],
)
def test_a_window_that_is_none_is_told(lever: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        read(lever)


@pytest.mark.parametrize(
    ("lever", "share"),
    [
        ("lr:x4", "lr:x2"),
        ("lr:0.4", None),
        ("weight_decay:x0.25", "weight_decay:x0.5"),
        ("sam:0.1,every=2", "sam:0.05,every=2"),
        ("ema:0.99", "ema:0.9"),
        ("accumulate:16", "accumulate:4"),
        ("delay:4", "delay:2"),
        ("warmup:40", "warmup:20"),
        ("compress:topk,fraction=0.01", "compress:topk,fraction=0.1"),
        ("compress:topk,fraction=0.04,feedback=false", "compress:topk,fraction=0.2,feedback=false"),
        ("compress:sign", None),
        ("ghost_norm:32", None),
        ("gradient_noise:16", None),
        ("clip:1", None),
    ],
)
def test_half_of_a_lever(lever: str, share: str | None) -> None:
    (part,) = read(lever)
    assert part.share(0.5) == share
    if share is not None:
        (whole,), (nothing,) = (read(str(part.share(size))) for size in (1.0, 0.0))
        assert whole.spelling == lever
        assert nothing.changes_nothing
