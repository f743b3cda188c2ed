# ruff: noqa: E501
"""What must be refused, in which words: small scripts, each left as it is."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from algobias.attached.orders import FitOrders
from algobias.commands.question import CommandQuestion
from algobias.errors import BadInput
from algobias.kept.store import Store
from algobias.studies.command.run import run_command
from attached.scripts import HEAD, Ran, run

NET = "net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))\n"
SGD = "optimizer = torch.optim.SGD(net.parameters(), 0.1)\n"


def _steps(training: str, before: str = "", after: str = "") -> str:
    inside = "".join(f"    {line}\n" for line in training.splitlines())
    return f"{HEAD}{NET}{SGD}{before}\nfor step in range(4):\n    optimizer.zero_grad()\n{inside}{after}\nsay(net)\n"


PASS = "F.cross_entropy(net(X), Y).backward()\noptimizer.step()"


@dataclass(frozen=True)
class Refusal:
    """Something that cannot be done right.

    Attributes:
        words: In which it must be refused, at least.
        name: What the script does.
        script: The script.
        lever: Asked of it; None: the training loss.
    """

    words: str
    name: str
    script: str
    lever: str | None = None


@dataclass
class RefusalRow:
    """What was seen.

    Attributes:
        words: In which it must be refused.
        script: What the script does.
        asked: The lever, ``replay`` for the training loss, or ``study``.
        said: In which words it was refused; None: it was not.
        left_alone: The script printed what it prints without anything inside, its weights among it.
    """

    words: str
    script: str
    asked: str
    said: str | None
    left_alone: bool | None


NO_BACKWARD = "No backward seen"
NO_HISTORY = "the loss has no seen history"
CHANGED = "an input was changed in place"
UNEQUAL = "replay is not equal: a private generator, or state in forward"
RELOADED = "the test metric comes from a reloaded model"
COARSE = "the metric's grid is coarser than the tolerance"

GRAD = """for p, g in zip(net.parameters(), torch.autograd.grad(F.cross_entropy(net(X), Y), list(net.parameters()))):
    p.grad = g
optimizer.step()"""
FUNC = """given = {name: p.detach() for name, p in net.named_parameters()}
taken = torch.func.grad(lambda w: F.cross_entropy(torch.func.functional_call(net, w, (X,)), Y))(given)
for name, p in net.named_parameters(): p.grad = taken[name]
optimizer.step()"""
SCRIPTED = """@torch.jit.script
def loss(x: torch.Tensor, y: torch.Tensor):
    return torch.nn.functional.cross_entropy(x, y)
"""
THREAD = """t = threading.Thread(target=lambda: F.cross_entropy(net(X), Y).backward())
t.start(); t.join()
optimizer.step()"""
IN_PLACE = """z = net(X)
z.detach().mul_(2)
F.cross_entropy(z, Y).backward()
optimizer.step()"""
PRIVATE = """F.cross_entropy(M()(X), Y).backward()
optimizer.step()"""
GENERATOR = """g = torch.Generator().manual_seed(3)
class M(nn.Module):
    def forward(self, x): return net(x * (torch.rand(x.shape, generator=g) > 0.2))
"""
STATE = """seen = [0]
class M(nn.Module):
    def forward(self, x):
        seen[0] += 1
        return net(x) / seen[0]
"""
ESCAPE = """z = net(X)
weight = F.cross_entropy(z, Y).item() * 0.7
(weight * F.cross_entropy(z, Y)).backward()
optimizer.step()"""
CLIPPED = PASS.replace("optimizer", "nn.utils.clip_grad_norm_(net.parameters(), 0.5)\noptimizer")
READ_AGAIN = """import io
kept = io.BytesIO(); torch.save(net, kept); kept.seek(0)
read = torch.load(kept, weights_only=False).eval()
with torch.no_grad(): read(X)
"""
BY_HAND = CLIPPED.replace("optimizer.step()", "for p in net.parameters(): p.data.add_(p.grad, alpha=-0.1)")

REFUSALS = (
    Refusal(NO_BACKWARD, "torch.autograd.grad", _steps(GRAD)),
    Refusal(NO_BACKWARD, "torch.autograd.grad", _steps(GRAD), "sam:0.05"),
    Refusal(NO_BACKWARD, "torch.func.grad", _steps(FUNC)),
    Refusal(NO_HISTORY, "a scripted loss", _steps(PASS.replace("F.cross_entropy", "loss"), SCRIPTED)),
    Refusal(NO_HISTORY, "training in a thread", _steps(THREAD, "import threading")),
    Refusal(CHANGED, "logits doubled in place", _steps(IN_PLACE)),
    Refusal(CHANGED, "logits doubled in place", _steps(IN_PLACE), "sam:0.05"),
    Refusal(UNEQUAL, "a private generator", _steps(PRIVATE, GENERATOR)),
    Refusal(UNEQUAL, "a private generator", _steps(PRIVATE, GENERATOR), "sam:0.05"),
    Refusal(UNEQUAL, "a counter in forward", _steps(PRIVATE, STATE), "sam:0.05"),
    Refusal("accumulation with the script's clip", "clips", _steps(CLIPPED), "accumulate:2"),
    Refusal("gradient controls need torch.optim", "updates by hand, clips", f"{HEAD}{NET}" + _steps(BY_HAND).split(SGD)[1].replace("optimizer.zero_grad()", "net.zero_grad()"), "sam:0.05"),
    Refusal("a value escapes before backward", "a loss weighed by its own value", _steps(ESCAPE), "sam:0.05"),
    Refusal(RELOADED, "evaluates what it has read from a file", _steps(PASS, after=READ_AGAIN), "ema:0.9"),
)  # fmt: skip


def refusal_row(refusal: Refusal, folder: Path) -> RefusalRow:
    """Ask for what cannot be done right."""
    plain = run(folder / "plain", refusal.script, attach=False)
    if refusal.lever is None:
        asked = run(folder / "asked", refusal.script, fit=FitOrders(examples=64), replay=True)
    else:
        asked = run(folder / "asked", refusal.script, levers=(refusal.lever,))
    _well(plain)
    _well(asked)
    what = refusal.lever or "replay"
    said, alike = asked.refused().get(what), asked.out == plain.out
    return RefusalRow(refusal.words, refusal.name, what, said, alike)


def _well(ran: Ran) -> None:
    if ran.code:
        raise RuntimeError("; ".join(ran.err.strip().splitlines()[-3:]))


COARSE_SCRIPT = """
import random, sys
drawn = random.Random(int(sys.argv[1]))  # other options are nobody's
for update in (1, 2, 4, 8):
    print(f"update {update} loss {1 / update} accuracy {round(60 + 4 * update + drawn.gauss(0, 1))}")
"""


def coarse_row(folder: Path) -> RefusalRow:
    """Ask for a tolerance that is finer than the metric."""
    folder.mkdir(parents=True)
    script = folder / "script.py"
    script.write_text(COARSE_SCRIPT, encoding="utf-8")
    question = CommandQuestion(
        command=(sys.executable, str(script), "{seed}"),
        args=("--more=1",),
        metric=r"stdout:update (?P<update>\d+) .* accuracy (\S+)",
        train_loss=r"stdout:update (?P<update>\d+) loss (\S+)",
        tolerance=0.4,
        fit=0,
        preflight=0,
        cwd=str(folder),
    )
    said = None
    with Store(folder / "store") as store:
        try:
            run_command(question, store)
        except BadInput as error:
            said = str(error)
    return RefusalRow(COARSE, "prints whole per cent, tolerance 0.4", "study", said, None)
