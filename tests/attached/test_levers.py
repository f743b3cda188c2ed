# ruff: noqa: E501
"""Each injected lever does what the same edit of the script by hand does, to the last bit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from torch import nn

from algobias.attached.events import Counters
from algobias.attached.levers.registry import read
from algobias.errors import BadInput
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

SENT_BY_HAND = """F.cross_entropy(net(X[rows]), Y[rows]).backward()
    total = left + torch.cat([p.grad.reshape(-1) for p in net.parameters()])
    {sent}
    left = {left}
    for p, piece in zip(net.parameters(), sent.split(sizes)): p.grad = piece.view_as(p)
    optimizer.step()"""

FLAT = "sizes = [p.numel() for p in net.parameters()]; left = torch.zeros(sum(sizes))"

LARGEST = "sent = torch.zeros_like(total); kept = total.abs().topk(round(0.1 * len(total))).indices; sent[kept] = total[kept]"

FACTORS = """
from algobias.components.compressors import low_rank
from algobias.seeding.streams import generator
stream, Q = generator(0, "powersgd", 0), {}
for k, p in enumerate(net.parameters()):
    if p.dim() > 1: Q[k] = torch.from_numpy(stream.standard_normal((p.shape[1], 2))).float()
"""

LOW_RANK = """pieces = list(total.split(sizes))
    for k, p in enumerate(net.parameters()):
        if k in Q: M, Q[k] = low_rank(pieces[k].view(1, *p.shape), Q[k]); pieces[k] = M.reshape(-1)
    sent = torch.cat(pieces)"""

WEIGHED = """z = torch.from_numpy(generator(0, "gradient_noise", step).standard_normal(32)).float()
    ((1 + math.sqrt(32 * (1 / 8 - 1 / 32)) * z) * F.cross_entropy(net(X[rows]), Y[rows], reduction="none")).mean().backward()
    optimizer.step()"""

DEVIATIONS = """before = torch.random.get_rng_state(); F.cross_entropy(net(X[rows]), Y[rows]).backward()
    after, buffers, own = torch.random.get_rng_state(), [b.clone() for b in net.buffers()], [p.grad for p in net.parameters()]
    chunks = []
    for part in rows.chunk(4):
        for p in net.parameters(): p.grad = None
        torch.random.set_rng_state(before); F.cross_entropy(net(X[part]), Y[part]).backward()
        chunks.append([p.grad for p in net.parameters()])
    torch.random.set_rng_state(after)
    for b, kept in zip(net.buffers(), buffers): b.copy_(kept)
    z = torch.from_numpy(generator(0, "gradient_noise", step).standard_normal(4))
    factors = math.sqrt((1 / 8 - 1 / 32) * 32 / 4) / math.sqrt(3) * z
    for p, g, each in zip(net.parameters(), own, zip(*chunks)):
        m = torch.stack(each); along = factors.view(-1, *(1 for _ in g.shape)).float()
        p.grad = g + ((m - m.mean(0)) * along).sum(0)
    optimizer.step()"""

STREAMS = "import math; from algobias.seeding.streams import generator"

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
    "ghost_norm:8": loop(before="import algobias; algobias.ghost_batch_norm(net, 8)"),
    "compress:sign": loop(
        before="import algobias; optimizer = algobias.ErrorFeedback(optimizer, 'sign')",
    ),
    "compress:topk,fraction=0.1": loop(
        before=FLAT, training=SENT_BY_HAND.format(sent=LARGEST, left="total - sent")
    ),
    "compress:topk,fraction=0.1,feedback=false": loop(
        before=FLAT, training=SENT_BY_HAND.format(sent=LARGEST, left="0 * total")
    ),
    "compress:powersgd": loop(
        before=FLAT + FACTORS, training=SENT_BY_HAND.format(sent=LOW_RANK, left="total - sent")
    ),
    "gradient_noise:8": loop(before=STREAMS, training=WEIGHED),
    "gradient_noise:8,kind=additive,chunks=4": loop(before=STREAMS, training=DEVIATIONS),
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


def test_settings_that_are_neutral_change_nothing_and_do_not_count(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain", loop(), attach=False).out
    for number, lever in enumerate(("compress:none", "ghost_norm:0", "gradient_noise:32", "sam:0,every=2")):
        ran = run(tmp_path / str(number), loop(), levers=(lever,))
        assert ran.out == plain, lever
        assert ran.refused() == {}
        assert ran.applied()[lever] == (4 if lever.startswith("sam") else 0)


def test_the_noise_of_passes_that_are_accumulated_is_that_of_their_batch(tmp_path: Path) -> None:
    """Two passes of 16 whose losses are halved are a batch of 32; also where the losses are sums over it."""
    head = loop().replace("nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2),", "nn.ReLU(),")
    whole = head.replace(TRAIN, "(F.cross_entropy(net(X[rows]), Y[rows]){}).backward(); optimizer.step()")
    halves = "[(F.cross_entropy(net(X[part]), Y[part]) / 2).backward() for part in rows.chunk(2)]; optimizer.step()"
    sums = "(F.cross_entropy(net(X[rows]), Y[rows], reduction='sum') / 32).backward(); optimizer.step()"
    weighed = "gradient_noise:8"
    one = run(tmp_path / "a", whole.format(""), levers=(weighed,))
    for name, training in (("b", halves), ("c", sums)):
        two = run(tmp_path / name, head.replace(TRAIN, training), levers=(weighed,))
        assert two.refused() == {}
        assert values(two.out) == pytest.approx(values(one.out), rel=1e-3)
    parted = "gradient_noise:8,kind=additive,chunks=4"
    mean, added = (
        run(tmp_path / name, source, levers=(parted,))
        for name, source in (("d", whole.format("")), ("e", head.replace(TRAIN, sums)))
    )
    assert added.refused() == {}
    assert values(added.out) == pytest.approx(values(mean.out), rel=1e-3)
    assert values(mean.out) != pytest.approx(values(one.out), rel=1e-3)


def test_ghosts_of_a_layer_with_a_forward_of_its_own_keep_what_it_adds_and_its_names(tmp_path: Path) -> None:
    own = "class Act(nn.BatchNorm1d):\n    def forward(self, x): return super().forward(x).relu()\n"
    source = (
        loop()
        .replace("net = nn.Seq", own + "net = nn.Seq")
        .replace("nn.BatchNorm1d(16), nn.ReLU()", "Act(16)")
    )
    by_hand = run(
        tmp_path / "hand",
        source.replace("for step", "import algobias; algobias.ghost_batch_norm(net, 8)\nfor step"),
        attach=False,
    )
    named = source + "torch.save(net, 'net.pt'); print(list(net.state_dict())[2])"
    injected = run(tmp_path / "injected", named, levers=("ghost_norm:8",))
    assert injected.out.splitlines() == [*by_hand.out.splitlines(), "1.weight"], injected.err
    assert b"algobias" not in (tmp_path / "injected" / "net.pt").read_bytes()


def test_layers_of_several_processes_have_no_ghosts() -> None:
    (lever,) = read("ghost_norm:8")
    told: list[str] = []
    lever.refuse = told.append  # type: ignore[method-assign]
    lever.training_call(nn.Sequential(nn.Linear(3, 3), nn.SyncBatchNorm(3)))
    assert told == ["SyncBatchNorm's statistics are of all processes, which those of a chunk cannot be"]


def values(out: str) -> list[float]:
    """What a loop has printed at its evaluations."""
    return [float(line) for line in out.splitlines() if not line.startswith("weights")]


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
        ("sam:0.1+gradient_noise:8", loop(), "one of sam and gradient_noise"),
        ("gradient_noise:8", loop(training=TRAIN.replace(").backward", ").add(0.1 * net[0].weight.square().sum()).backward")), "no mean of torch's own"),
        ("gradient_noise:8", loop(training=TRAIN.replace("Y[rows])", "Y[rows], weight=torch.arange(1., 5.))")), "not the plain mean of its examples"),
        ("gradient_noise:8", loop(training=TRAIN.replace("net(X[rows])", "net(X[rows])[:8]").replace("Y[rows]", "Y[rows][:8]")), "8 rows for a batch of 32"),
        ("ghost_norm:8", loop().replace("nn.BatchNorm1d(16), ", ""), "no BatchNorm layer was trained"),
        ("compress:topk,workers=4", loop(), "average their gradients before"),
        ("compress:sign", loop(before="emb = nn.Embedding(96, 4, sparse=True); optimizer = torch.optim.SGD([*net.parameters(), *emb.parameters()], lr=0.1)", training="F.cross_entropy(net(X[rows]) + emb(rows), Y[rows]).backward(); optimizer.step()"), "gradients are sparse"),
        ("gradient_noise:8,kind=additive", loop(training=TRAIN.replace("net(X[rows])", "net(X[rows]).view(32, 4)")), "a part of the batch cannot be passed alone"),
        ("compress", loop(), "sign or topk or powersgd or none"),
        ("compress:sgin", loop(), "sign or topk"),
        ("compress:topk,fraction=0", loop(), "at most 1"),
        ("compress:sign", loop("LBFGS(net.parameters(), lr=0.1)", training="optimizer.step(lambda: F.cross_entropy(net(X[rows]), Y[rows]))"), "takes one gradient a step"),
    ],
)  # fmt: skip
def test_what_cannot_be_injected_is_refused_and_the_run_goes_on(
    tmp_path: Path, lever: str, source: str, why: str
) -> None:
    ran = run(tmp_path, source, levers=(lever,))
    assert ran.code == 0, ran.err
    assert why in ran.refused().get(lever, "") or why == "did you mean", ran.refused()
    assert lever in ran.refused()


@pytest.mark.parametrize(
    "spelling",
    ["delay:1_0.50", "delay:-01", "sam:-1.50", "clip:0.00", "ema:1.0", "lr:x0.0", "sam:0.1,after=2.50"],
)
def test_a_number_is_refused_as_it_was_typed(spelling: str) -> None:
    typed = spelling.split(":")[-1].split("=")[-1]
    with pytest.raises(BadInput, match=rf"\D{re.escape(typed)}\D"):
        read(spelling)
