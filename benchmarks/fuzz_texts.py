"""Words that the fuzzed inputs are made of: odd values, spellings, lines of a task file."""

from __future__ import annotations

ODD = (
    *(
        "",
        " ",
        "0",
        "1",
        "2",
        "-1",
        "0.5",
        "1e-3",
        "1e3",
        "1e309",
        "1e-320",
        "nan",
        "inf",
        "-inf",
        "x2",
        "x0",
    ),
    *("x-1", "x1e9", "x1e-9", "4,6,9", "4,4", "0x10", "1_000", "+3", "1.5", "1e5", "9" * 30, "9" * 5000),
    *("true", "false", "none", "None", "null", "auto", "all", "~", "cpu", "cuda", "cuda:7", "linear", "sqrt"),
    *("rule", "\u00b2", "\u0663", "\u00e9", "\U0001f600", "\u202e", "\x1b[2J", "a\nb", "a\tb", "\r", "\x00"),
    *(
        "[red]x[/]",
        "[/]",
        "[",
        "]",
        "{",
        "}",
        "'",
        '"',
        "\\",
        "%s",
        "{0}",
        "$HOME",
        "`id`",
        ";",
        "&",
        "*",
        "!!x",
    ),
    *("..", "../..", "/", "/dev/null", "/dev/zero", "~/x", ".", "last", "last:baseline:0", "0..1", "1..0"),
    *(
        "a" * 3000,
        "a:" * 500,
        "a," * 500,
        ",",
        ",,",
        "=",
        "==",
        ":",
        "::",
        "+",
        "++",
        "@",
        "-",
        "--",
        "--json",
    ),
    *("seed:3", "mine.py:task", "digits", "cheap", "train", "test", "first", "random", "sgd", "adam"),
)
"""Values that are seldom right anywhere."""

USUAL = ("0.1", "0.25", "0.5", "0.9", "1", "2", "4", "8", "16", "x2", "x0.5", "1e-3")
"""Numbers that are often right."""

NUMBERS = (
    *(
        "0",
        "1",
        "2",
        "3",
        "4",
        "8",
        "0.5",
        "0.25",
        "0.9",
        "0.999999",
        "1e-3",
        "1e-300",
        "1e300",
        "1e308",
        "100",
    ),
    *(
        "1000",
        "100000",
        "1000000",
        "2147483648",
        "1e18",
        "9007199254740993",
        "-1",
        "-0.0",
        "nan",
        "inf",
        "-1e308",
    ),
    *("x2", "x0.5", "x1e6", "0.1", "0.01", "1e-8", "16", "64", "800", "801", "90", "91.5", "5e-324", "1e17"),
)
"""Numbers, usual and extreme."""

SPELLINGS = (
    *(
        "batch:x16,lr=sqrt",
        "batch:64",
        "batch:x2",
        "lr:x0.5",
        "lr:0.4",
        "warmup:4",
        "clip:1",
        "budget:x0.125",
    ),
    *(
        "budget:epochs=2",
        "budget:updates=200",
        "budget:until=3e-3,max=2000",
        "optimizer:sgd,lr=0.5,momentum=0",
    ),
    *("optimizer:adamw,lr=1e-3", "data:0.5", "sam:0.1", "label_noise:0.1", "delay:8,lr=rule,momentum=0"),
    *("delay:8,momentum=shifted", "local_sgd:8,workers=4", "drop_compute:p=0.5", "ghost_norm:32", "ema:0.99"),
    *("lr:0.4+warmup:4+clip:1", "weight_decay:1e-3", "accumulate:4", "workers:4", "compress:topk,0.1"),
    *("schedule:cosine", "repeat:2", "initial_scale:0.5", "match_stability", "recalibrate", "layerwise:lars"),
    *("noise:0.1", "image_size:14", "shift:2", "engine:looped"),
)
"""Levers as people spell them."""

TASKS = (
    *("digits", "fashion_mnist", "fashion_mnist:train=1000,test=4000,pool=2,model=convbn", "gtsrb:reference"),
    *("multi30k:train=100", "shakespeare", "polarity", "spoken_digits", "cifar10:model=resnet18", "steering"),
)
"""Tasks as people spell them."""

SPEC_KEYS = {
    "task": ("digits", "fashion_mnist:train=100", "mine.py:task", "[digits]", "{a: 1}", "digits:"),
    "base": ("[]", "budget:updates=20", "[lr:x0.5, clip:1]", "3", "[[lr:x0.5]]", "null"),
    "change": ("batch:x2", "[batch:x2]", "[]", "{batch: x2}", "[1, 2]", "[null]", "[batch:x2, batch:x4]"),
    "control": ("sam:0.1", "[lr:0.4+warmup:4]", "[]", "[x]", "&a [*a]", "[sam:0.1, sam:0.1]"),
    "aa": ("true", "false", "yes", "1", "maybe", "[true]"),
    "seed": ("0", "3", "-1", "1.5", "1e3", "true", "0o17", "2024-01-01", "1:30"),
    "looks": ("4", "[4, 6]", "4,6,9", "[2, 2]", "[]", "[true]", "99999", "{a: 1}", "2 "),
    "tolerance": ("0.4", "0", "-1", ".inf", ".nan", "true", "1e-300", "'0.4'", "[1]"),
    "levels": ("[0.1, 0.01]", "0.1", "[0]", "[.nan]", "[true]", "'0.1'", "[1e-400]"),
    "device": ("cpu", "cuda", "cpu:3", "meta", "1", "[cpu]"),
    "engine": ("auto", "looped", "stacked", "processes", "fast", "1"),
    "probes": ("none", "cheap", "[weight_norm]", "weight_norm:a=1", "[none, cheap]", "1", "[]"),
    "extra": ("1", "{}", "&x [*x, *x]"),
}
"""Keys of a spec with values, right and wrong."""

HEADER = ("seed", "update", "train_loss", "test_metric")

_TASK = """import torch
from algobias import Task

torch.manual_seed(0)
x = torch.randn(40, 3)
y = (x[:, 0] > 0).long()


def model():
    return torch.nn.Linear(3, 2)


def loss(model, batch):
    return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])


def metric(model, batch):
    return 100.0 * (model(batch[0]).argmax(-1) == batch[1])


data = (x, y)
recipe = dict(lr=0.1, batch=8, updates=12)
more = {}
EDIT
task = Task("mine", data, (x, y), model, loss, metric, recipe, **more)
"""

TASK_LINES = {
    "return torch.nn.Linear(3, 2)": (
        "return None",
        "return torch.nn.Linear(4, 2)",
        "return torch.nn.ReLU()",
        "return torch.nn.LazyLinear(2)",
        "return torch.nn.Linear(3, 2).double()",
        "return torch.nn.Linear(3, 2).requires_grad_(False)",
        "raise SystemExit",
        "return ODD",
    ),
    "return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])": (
        "return 0.0",
        "return torch.zeros(())",
        "return model(batch[0])",
        "return model(batch[0]).mean().item()",
        "return model(batch[0]).mean() * float('nan')",
        "return model(batch[0]).mean().log()",
        "raise ODD",
        "return batch[ODD]",
        "import sys; sys.exit(0)",
        "return torch.nn.functional.cross_entropy(model(batch[0]), 2 * batch[1])",
    ),
    "return 100.0 * (model(batch[0]).argmax(-1) == batch[1])": (
        "return 1.0",
        "return None",
        "return torch.zeros(3)",
        "return torch.full((len(batch[0]),), float('nan'))",
        "return torch.zeros(len(batch[0]), dtype=torch.complex64)",
        "return torch.zeros(len(batch[0]), dtype=torch.bool)",
        "return (model(batch[0]).argmax(-1) == batch[1]).tolist()",
        "raise KeyError(ODD)",
    ),
    "data = (x, y)": (
        "data = [x, y]",
        "data = x",
        "data = {'x': x, 'y': y}",
        "data = (x, y[:3])",
        "data = (x.numpy(), y.numpy())",
        "data = list(zip(x, y))",
        "data = ODD",
        "data = (x[:0], y[:0])",
        "data = (x.to(torch.complex64), y)",
        "data = (x * float('nan'), y)",
        "data = (x, 0 * y)",
        "data = (x, y.float())",
        "data = [(x[0], y[0])] * 20 + [(x[0] * float('inf'), y[0])] * 20",
        "data = (x.to_sparse(), y)",
        "data = None",
    ),
    "recipe = dict(lr=0.1, batch=8, updates=12)": (
        "recipe = {}",
        "recipe = dict(lr=ODD, batch=8, updates=12)",
        "recipe = dict(lr=0.1, batch=ODD, updates=12)",
        "recipe = dict(lr=0.1, batch=8, updates=ODD)",
        "recipe = dict(lr=0.1, batch=8, epochs=True)",
        "recipe = dict(lr=True, batch=8, updates=12)",
        "recipe = dict(lr=0.1, batch=True, updates=12)",
        "recipe = dict(lr=1e308, batch=8, updates=12)",
        "recipe = dict(lr=0.1, batch=10**400, updates=12)",
        "recipe = dict(lr=0.1, batch=8, updates=12, optimizer=ODD)",
        "recipe = dict(lr=0.1, batch=8, updates=12, schedule=ODD)",
        "recipe = dict(lr=0.1, batch=8, until=0.1)",
        "recipe = 3",
        "recipe = [1]",
        "recipe = {1: 2}",
    ),
    "more = {}": (
        "more = dict(trivial=ODD)",
        "more = dict(habit=ODD)",
        "more = dict(classes=ODD)",
        "more = dict(classes=1)",
        "more = dict(corpus=True)",
        "more = dict(corpus=ODD)",
        "more = dict(collate=ODD)",
        "more = dict(collate=lambda items: items)",
        "more = dict(metric_name=ODD)",
        "more = dict(weight=lambda batch: torch.ones(3))",
        "more = dict(weight=lambda batch: -torch.ones(len(batch[0])))",
        "more = dict(also={ODD: lambda model, batches: ODD})",
        "more = dict(also={1: lambda model, batches: 1})",
        "more = dict(sample=lambda model: 3)",
        "more = dict(validation=ODD)",
        "more = dict(revision=ODD)",
        "more = dict(fit_examples=ODD)",
        "more = dict(nothing=1)",
    ),
}
"""Lines of the task file, with what they may be replaced by."""

TASK_EDITS = (
    "pass",
    "raise RuntimeError('mine')",
    "raise SystemExit(0)",
    "raise EOFError",
    "import sys; sys.exit('mine')",
    "import nothing_of_this_name",
    "print('noise')",
    "import os; os.write(1, b'noise')",
    "import warnings; warnings.warn('noise')",
    "model = torch.nn.Linear(3, 2)",
    "loss = 3",
    "metric = None",
    "x[17, 1] = float('nan')",
    "y = y[:39]",
    "y[3] = 7",
    "y = -y; data = (x, y)",
    "def loss(model, batch): raise ValueError('[red]mine[/]' * 50)",
    "def loss(model, batch): raise type('Odd', (BaseException,), {})('mine')",
    "def loss(model, batch): return loss(model, batch)",
    "def loss(model, batch): return model(batch[0]).square().mean()[()]",
    "def model(): raise MemoryError",
    "def model(): return torch.nn.Sequential()",
    "def model(): return torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))",
    "def model(): return torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(3, 2))",
    "data = torch.utils.data.TensorDataset(x, y)",
    "data = torch.utils.data.Subset(torch.utils.data.TensorDataset(x, y), range(20))",
    "data = range(10)",
    "data = 'text'",
    "data = iter([1])",
    *(
        f"class Items:\n    def __len__(self): {length}\n    def __getitem__(self, i): {item}\ndata = Items()"
        for length, item in (
            ("return 40", "return x[i], 1 // (i - 30)"),
            ("return -1", "return x[i], y[i]"),
            ("return 'many'", "return x[i], y[i]"),
            ("raise OSError", "return 1"),
            ("return 40", "raise SystemExit"),
            ("return 40", "return x[:i], y[i]"),
            ("return 40", "return x[i] / (0.0 if i == 33 else 1.0), y[i]"),
            ("return 10**15", "return x[i % 40], y[i % 40]"),
        )
    ),
    "recipe['nothing'] = 1",
    "recipe['lr'] = float('nan')",
    "def task(): return 3",
    "task = 3; Task = lambda *a, **k: 3",
    "Task = lambda *a, **k: 1 / 0",
    "globals().clear()",
    "(" * 500,
    "x = " + "(" * 150 + ")" * 150,
    "x = " + "-" * 5000 + "1",
    "\x00",
    "if True:\nraise",
)
"""Lines put into the task file before the task is made."""


def tiny_task(edit: str = "") -> str:
    """A task file of 40 examples and 12 updates, with some lines put in."""
    return _TASK.replace("EDIT", edit)
