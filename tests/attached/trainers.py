# ruff: noqa: E501
"""Shapes of real trainers, each small: as people write them, and with SAM edited in by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from attached.scripts import HEAD

EXAMPLES = Path(__file__).parents[2] / "examples"
NEEDS = {
    "transformers_trainer": ("transformers", "accelerate"),
    "lightning_trainer": ("lightning",),
    "accelerate_loop": ("accelerate",),
    "fastai_learner": ("fastai",),
}
"""Libraries that each example needs."""

SHORT = {"transformers_trainer": ("--steps", "8"), "fastai_learner": ("--epochs", "1")}
"""Options for a short training, where they are not the usual ones."""

NET = (
    HEAD
    + """
net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4))
normed = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4))


def climb(module, rho):
    \"\"\"To the perturbed weights; returns the way back.\"\"\"
    weights = [p for p in module.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in weights])
    kept = [p.detach().clone() for p in weights]
    for p in weights: p.data.add_(p.grad * (rho / norm))
    for p in weights: p.grad = None
    def back():
        for p, value in zip(weights, kept): p.data.copy_(value)
    return back


def noted(module):
    \"\"\"Random numbers and buffers as they are; returns the way back.\"\"\"
    state, buffers = torch.random.get_rng_state(), [b.clone() for b in module.buffers()]
    def back():
        torch.random.set_rng_state(state)
        for b, value in zip(module.buffers(), buffers): b.copy_(value)
    return back
"""
)

TRANSFORMERS = (
    NET
    + """
from transformers import Trainer, TrainingArguments

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net
    def forward(self, x, labels):
        logits = self.net(x)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}

rows = [{"x": x, "labels": int(y)} for x, y in zip(X, Y)]
arguments = TrainingArguments(
    "out", max_steps=6, per_device_train_batch_size=8, gradient_accumulation_steps=2, max_grad_norm=0.5,
    learning_rate=0.05, eval_strategy="steps", eval_steps=3, save_strategy="no", report_to=[], use_cpu=True,
    disable_tqdm=True, seed=0)
def accuracy(prediction):
    return {"accuracy": float((prediction.predictions.argmax(1) == prediction.label_ids).mean())}
MORE
trainer = TRAINER(Model(), arguments, train_dataset=rows[:64], eval_dataset=rows[64:], compute_metrics=accuracy)
trainer.train()
print("metric", trainer.evaluate()["eval_accuracy"])
say(net)
"""
)
TRANSFORMERS_SAM = """
class Sharp(Trainer):
    batches = []
    def training_step(self, model, inputs, *more):
        back = noted(model)
        state = torch.random.get_rng_state()
        self.batches.append((inputs, state))
        loss = super().training_step(model, inputs, *more)
        if len(self.batches) == 2:
            after = torch.random.get_rng_state()
            down = climb(model, 0.1)
            for inputs, state in self.batches:
                torch.random.set_rng_state(state)
                super().training_step(model, inputs, *more)
            down()
            torch.random.set_rng_state(after)
            self.batches.clear()
        return loss
"""

LIGHTNING = (
    NET
    + """
import lightning.pytorch as pl
from torch.utils.data import DataLoader, TensorDataset

class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = normed
        self.automatic_optimization = AUTOMATIC
    def loss(self, batch):
        return F.cross_entropy(self.net(batch[0]), batch[1])
    def training_step(self, batch, batch_idx):
        STEP
    def validation_step(self, batch, batch_idx):
        self.log("val_acc", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
    MORE

trainer = pl.Trainer(
    accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False, OPTIONS)
trainer.fit(Module(), DataLoader(TensorDataset(X[:64], Y[:64]), 8, shuffle=True), DataLoader(TensorDataset(X[64:], Y[64:]), 32))
print("metric", float(trainer.callback_metrics["val_acc"]))
say(normed)
"""
)
AUTOMATIC = "accumulate_grad_batches=2, gradient_clip_val=0.5"
AUTOMATIC_STEP = "return self.loss(batch)"
AUTOMATIC_SAM_STEP = (
    "self.batches = [*getattr(self, 'batches', []), (batch, noted(self))]; return self.loss(batch)"
)
AUTOMATIC_SAM = """
    def on_before_optimizer_step(self, optimizer):
        after, down = noted(self), climb(self, 0.1)
        for batch, back in self.batches:
            back()
            (self.loss(batch) / 2).backward()
        down()
        after()
        self.batches = []
"""
MANUAL_STEP = """optimizer = self.optimizers()
        optimizer.zero_grad()
        MORE_STEP
        optimizer.step()"""
MANUAL_PLAIN = "self.manual_backward(self.loss(batch))"
MANUAL_SAM = """back = noted(self)
        self.manual_backward(self.loss(batch))
        after, down = noted(self), climb(self, 0.1)
        back()
        self.manual_backward(self.loss(batch))
        down()
        after()"""

ACCELERATE = (
    NET
    + """
from accelerate import Accelerator
from torch.utils.data import DataLoader, TensorDataset

accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
optimizer = torch.optim.AdamW(normed.parameters(), lr=0.05)
batches = DataLoader(TensorDataset(X[:64], Y[:64]), 8, shuffle=True)
model, optimizer, batches = accelerator.prepare(normed, optimizer, batches)
seen = []
for epoch in range(2):
    model.train()
    for inputs, targets in batches:
        with accelerator.accumulate(model):
            seen.append((inputs, targets, noted(model)))
            accelerator.backward(F.cross_entropy(model(inputs), targets))
            if accelerator.sync_gradients:
                SAM
                seen = []
                accelerator.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        print("metric", (model(X[64:]).argmax(1) == Y[64:]).float().mean().item())
say(normed)
"""
)
ACCELERATE_SAM = """after, down = noted(model), climb(model, 0.1)
                for inputs, targets, back in seen:
                    back()
                    accelerator.backward(F.cross_entropy(model(inputs), targets))
                down()
                after()"""

LBFGS = (
    NET
    + """
optimizer = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=4)
def closure():
    optimizer.zero_grad()
    loss = F.cross_entropy(net(X[:64]), Y[:64])
    loss.backward()
    return loss
for step in range(4):
    net.train()
    optimizer.step(closure)
    net.eval()
    with torch.no_grad():
        print("metric", (net(X[64:]).argmax(1) == Y[64:]).float().mean().item())
        print("loss", F.cross_entropy(net(X[:64]), Y[:64]).item())
say(net)
"""
)

COMPILED = (
    NET
    + """
model = torch.compile(net, backend="BACKEND")
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for step in range(6):
    model.train()
    rows = torch.randperm(64)[:16]
    optimizer.zero_grad()
    SAM
    optimizer.step()
    model.eval()
    with torch.no_grad():
        print("metric", (model(X[64:]).argmax(1) == Y[64:]).float().mean().item())
say(net)
"""
)
LOOP_STEP = "F.cross_entropy(model(X[rows]), Y[rows]).backward()"
LOOP_SAM = """back = noted(model)
    F.cross_entropy(model(X[rows]), Y[rows]).backward()
    after, down = noted(model), climb(model, 0.1)
    back()
    F.cross_entropy(model(X[rows]), Y[rows]).backward()
    down()
    after()"""

DISTRIBUTED = (
    NET
    + """
import os
import torch.distributed as dist

def print(*words):  # a line in one piece: ranks share the output
    sys.stdout.write(" ".join(map(str, words)) + "\\n")

def train(rank):
    torch.manual_seed(10 + rank)
    model = nn.parallel.DistributedDataParallel(normed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step in range(6):
        model.train()
        rows = torch.randperm(64)[:16]
        optimizer.zero_grad()
        SAM
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        model.eval()
        with torch.no_grad():
            right = (model(X[64:]).argmax(1) == Y[64:]).float().mean().item()
        if rank == 0: print("metric", right)
    say(normed)
    sys.stdout.flush()
    return model  # held until the process ends: taking it apart may wait for the other rank for ever
BEGIN
"""
)
FORKED = """
place = os.path.abspath("meeting")
children = []
for rank in range(2):
    child = os.fork()
    if child == 0:
        import multiprocessing.util
        os.environ["RANK"] = str(rank)
        dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
        model = train(rank)
        multiprocessing.util._run_finalizers()
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
"""
TORCHRUN = """
dist.init_process_group("gloo")
model = train(dist.get_rank())
"""


@dataclass(frozen=True)
class Shape:
    """How a trainer trains.

    Attributes:
        plain: The script.
        sharp: The same with SAM of radius .1 by hand; None: it cannot be, or what a rank does is its own.
        updates: Updates that it makes.
        needs: Libraries it needs.
        metric: Name of the metric that its logger is handed; None: it prints it alone.
        refusal: Why gradients cannot be taken a second time; None: they can.
    """

    plain: str
    sharp: str | None
    updates: int
    needs: tuple[str, ...] = ()
    metric: str | None = None
    refusal: str | None = None


def _lightning(automatic: bool, step: str, more: str = "") -> str:
    return (
        LIGHTNING.replace("AUTOMATIC", str(automatic))
        .replace("STEP", step)
        .replace("    MORE\n", more)
        .replace("OPTIONS", AUTOMATIC if automatic else "")
    )


def indented(text: str) -> str:
    """Lines after the first, one level further in."""
    return text.replace("\n", "\n    ")


SHAPES = {
    "transformers Trainer (accumulation 2, clip)": Shape(
        TRANSFORMERS.replace("MORE\n", "").replace("TRAINER", "Trainer"),
        TRANSFORMERS.replace("MORE\n", TRANSFORMERS_SAM).replace("TRAINER", "Sharp"),
        6,
        ("transformers", "accelerate"),
        "eval_accuracy",
    ),
    "Lightning, automatic (accumulation 2, clip, BatchNorm)": Shape(
        _lightning(True, AUTOMATIC_STEP),
        _lightning(True, AUTOMATIC_SAM_STEP, AUTOMATIC_SAM),
        8,
        ("lightning",),
        "val_acc",
    ),
    "Lightning, manual (BatchNorm)": Shape(
        _lightning(False, MANUAL_STEP.replace("MORE_STEP", MANUAL_PLAIN)),
        _lightning(False, MANUAL_STEP.replace("MORE_STEP", MANUAL_SAM)),
        16,
        ("lightning",),
        "val_acc",
    ),
    "accelerate (accumulation 2, clip, BatchNorm)": Shape(
        ACCELERATE.replace("SAM\n", "pass\n"), ACCELERATE.replace("SAM\n", ACCELERATE_SAM + "\n"), 8, ("accelerate",)
    ),
    "LBFGS": Shape(LBFGS, None, 4, refusal="gradient controls need an optimizer that takes one gradient a step"),
    "DDP, gloo, 2 ranks": Shape(
        DISTRIBUTED.replace("SAM", LOOP_STEP).replace("BEGIN", FORKED),
        DISTRIBUTED.replace("SAM", indented(LOOP_SAM)).replace("BEGIN", FORKED),
        6,
    ),
}  # fmt: skip

SLOW_SHAPES = {
    f"torch.compile, {backend}": Shape(
        COMPILED.replace("BACKEND", backend).replace("SAM", LOOP_STEP),
        COMPILED.replace("BACKEND", backend).replace("SAM", LOOP_SAM),
        6,
    )
    for backend in ("eager", "aot_eager")
} | {
    "DDP, gloo, 2 ranks under torchrun": Shape(
        DISTRIBUTED.replace("SAM", LOOP_STEP).replace("BEGIN", TORCHRUN),
        DISTRIBUTED.replace("SAM", indented(LOOP_SAM)).replace("BEGIN", TORCHRUN),
        6,
    )
}
