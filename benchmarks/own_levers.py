# ruff: noqa: E501
"""Levers injected into other people's scripts, against the script's own option or an edit by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from own_checkouts import GPT, MNIST, PICTURES, TRANSFORMER
from own_runs import Ran, launch, orders_in
from own_sources import Edits, Source

GPT_DELAY: Edits = (
    (
        "# training loop\n",
        "from by_hand import Stale\nstale = Stale(model.parameters(), 2)\n# training loop\n",
    ),
    (
        "    for micro_step in range(gradient_accumulation_steps):\n        if ddp:",
        "    stale.enter()\n    for micro_step in range(gradient_accumulation_steps):\n        if ddp:",
    ),
    ("    # clip the gradient\n", "    stale.leave()\n    # clip the gradient\n"),
)
GPT_CLIP: Edits = (
    ("# training loop\n", "from by_hand import shorten\n# training loop\n"),
    ("    # step the optimizer and scaler", "    shorten(model.parameters(), 0.2)\n    # step the optimizer and scaler"),
)  # fmt: skip
GPT_EMA: Edits = (
    ("# training loop\n", "from by_hand import Average\naverage = Average(model.parameters(), 0.9)\n# training loop\n"),
    ("        losses = estimate_loss()\n", "        with average.in_place():\n            losses = estimate_loss()\n"),
    ("    scaler.update()\n", "    scaler.update()\n    average.update()\n"),
)  # fmt: skip

_IMPORTS = "import torch.optim as optim\n"
_MADE = "    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)\n"


def _import(name: str) -> tuple[str, str]:
    return _IMPORTS, f"{_IMPORTS}from by_hand import {name}\n"


MNIST_DECAY: Edits = (("lr=args.lr)", "lr=args.lr, weight_decay=0.01)"),)
MNIST_CLIP: Edits = (
    _import("shorten"),
    ("        optimizer.step()\n", "        shorten(model.parameters(), 0.2)\n        optimizer.step()\n"),
)
MNIST_ACCUMULATE: Edits = (
    ("        optimizer.zero_grad()\n", "        if batch_idx % 2 == 0: optimizer.zero_grad()\n"),
    ("        loss.backward()\n", "        (loss / 2).backward()\n"),
    ("        optimizer.step()\n", "        if batch_idx % 2: optimizer.step()\n"),
)
MNIST_DELAY: Edits = (
    _import("Stale"),
    (_MADE, f"    model.stale = Stale(model.parameters(), 2)\n{_MADE}"),
    ("        output = model(data)\n        loss =", "        model.stale.enter()\n        output = model(data)\n        loss ="),
    ("        loss.backward()\n", "        loss.backward()\n        model.stale.leave()\n"),
)  # fmt: skip
MNIST_EMA: Edits = (
    _import("Average"),
    (_MADE, f"    model.average = Average(model.parameters(), 0.9)\n{_MADE}"),
    ("        optimizer.step()\n", "        optimizer.step()\n        model.average.update()\n"),
    (
        "        test(model, device, test_loader)\n",
        "        with model.average.in_place(): test(model, device, test_loader)\n",
    ),
)


@dataclass(frozen=True)
class Case:
    """A lever in a script, and what it must equal.

    Attributes:
        source: The script.
        lever: As spelled.
        own: The script's own options that do the same; none: an edit does.
        edits: The edit by hand.
        options: Options of all runs, the plain one among them.
        evaluated: Begin of the lines that the script prints of evaluations, where these are what changes.
    """

    source: Source
    lever: str
    own: tuple[str, ...] = ()
    edits: Edits = ()
    options: tuple[str, ...] = ()
    evaluated: str | None = None


@dataclass
class LeverRow:
    """What was seen of a case.

    Attributes:
        script: Its name.
        commit: Of the checkout.
        lever: As spelled.
        against: The script's own option, or ``edit by hand``.
        equal: The injected run is that one: weights to the last bit, printed evaluations to the last digit.
        acts: It is not the plain run.
        applied: How often the lever acted.
        refused: Why it was refused; None: it was not.
    """

    script: str
    commit: str
    lever: str
    against: str
    equal: bool = False
    acts: bool = False
    applied: int = 0
    refused: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)


CASES = (
    Case(GPT, "lr:x2", ("--learning_rate=2e-3", "--min_lr=2e-4")),
    Case(GPT, "weight_decay:x2", ("--weight_decay=2e-1",)),
    Case(GPT, "clip:0.2", edits=GPT_CLIP, options=("--grad_clip=0.0",)),
    Case(
        GPT,
        "accumulate:2",
        ("--gradient_accumulation_steps=2", "--max_iters=9", "--eval_interval=4"),
        options=(
            *("--gradient_accumulation_steps=1", "--max_iters=19", "--eval_interval=8"),
            *("--grad_clip=0.0", "--decay_lr=False"),
        ),
    ),
    Case(GPT, "delay:2", edits=GPT_DELAY),
    Case(GPT, "ema:0.9", edits=GPT_EMA, evaluated="step "),
    Case(MNIST, "lr:x2", ("--lr", "2.0")),
    Case(MNIST, "weight_decay:0.01", edits=MNIST_DECAY),
    Case(MNIST, "clip:0.2", edits=MNIST_CLIP),
    Case(MNIST, "accumulate:2", edits=MNIST_ACCUMULATE),
    Case(MNIST, "delay:2", edits=MNIST_DELAY),
    Case(MNIST, "ema:0.9", edits=MNIST_EMA, evaluated="Test set"),
    Case(TRANSFORMER, "lr:x2", ("--lr", "0.002")),
    Case(PICTURES, "weight_decay:x2", ("--weight-decay", "0.2"), options=("--weight-decay", "0.1")),
)


def name_of(case: Case) -> str:
    """The name of a case."""
    return f"{case.lever} in {case.source.name}"


def lever_row(case: Case, sources: Path, folder: Path) -> LeverRow:
    """Look at a case: plain, injected, and done in the script's own way.

    Raises:
        RuntimeError: A run did not end well, or something is missing.
    """
    missing = case.source.missing(sources)
    if missing is not None:
        raise RuntimeError(missing)
    against = " ".join(case.own) if case.own else "edit by hand"
    row = LeverRow(case.source.name, case.source.commit(sources), case.lever, against)
    place = case.source.prepared(sources, folder / "work")
    edited = case.source.edited_copy(place, folder / "edited", case.edits) if case.edits else place

    def ran(kind: str, cwd: Path, more: tuple[str, ...] = (), **orders: object) -> Ran:
        words = case.source.words(folder / kind / "out", (*case.options, *more))
        given = orders_in(folder / kind, seed=0, metrics=False, **orders)
        return launch(words, folder / kind, cwd, given)

    plain = ran("plain", place)
    injected = ran("injected", place, levers=(case.lever,))
    by_hand = ran("hand", edited, case.own)
    row.refused = injected.refused.get(case.lever)
    row.applied = injected.applied.get(case.lever, 0)
    if case.evaluated is None:
        row.equal = injected.weights == by_hand.weights
        row.acts = injected.weights != plain.weights
    else:  # evaluations alone are of other weights
        lines = [_lines(run, case.evaluated) for run in (injected, by_hand, plain)]
        row.equal = lines[0] == lines[1] and injected.weights == by_hand.weights == plain.weights
        row.acts = lines[0] != lines[2]
    row.seconds = {"plain": plain.seconds, "injected": injected.seconds, "hand": by_hand.seconds}
    return row


def _lines(ran: Ran, begin: str) -> list[str]:
    return [line for line in ran.out.splitlines() if line.startswith(begin)]
