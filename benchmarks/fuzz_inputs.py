"""Inputs that are wrong in every way somebody thought of, by kind: a function of a random generator each.

An input is the words of a command and the files that lie beside it. Nothing here trains for long: commands
are asked for a ``--plan``, or work on data of a few examples.
"""

from __future__ import annotations

import io
import pickle
import random
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, get_args, get_origin

import safetensors.torch
import torch

from algobias.levers.registry import LEVERS
from algobias.probes.registry import catalogue
from algobias.tasks.registry import TASKS as BUILT_IN
from fuzz_texts import (
    HEADER,
    NUMBERS,
    ODD,
    SPEC_KEYS,
    SPELLINGS,
    TASK_EDITS,
    TASK_LINES,
    TASKS,
    USUAL,
    tiny_task,
)


@dataclass
class Input:
    """One input.

    Attributes:
        words: The command after ``algobias``.
        files: Content of the files that lie in its folder.
        writes: Files it may write beside the store: those that it names itself.
        store: A folder that is copied to be its store, and then damaged.
        damage: What is done to that copy.
    """

    words: list[str]
    files: dict[str, bytes] = field(default_factory=dict)
    writes: tuple[str, ...] = ()
    store: Path | None = None
    damage: Callable[[Path], None] | None = None

    @property
    def json(self) -> bool:
        """Whether it asks for JSON: where the word is no value of an option before it."""
        bare = {f"--{name}" for names in OPTIONS.values() for name in names.split()}
        asked = self.words[-1] == "--json" and self.words[-2] not in bare and self.words[0] != "nothing"
        return asked and "--help" not in self.words


def odd(rng: random.Random) -> str:
    """A value that is seldom right."""
    return rng.choice(ODD)


def mutated(rng: random.Random, text: str, alphabet: str = "x0159-+.,:=e_@/ []\n\x1b\u00b2") -> str:
    """The text with one to three characters or pieces changed, lost, doubled or put in."""
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text) + 1)
        to = min(len(text), at + rng.randint(1, 4))
        how = rng.randrange(5)
        if how == 0:
            text = text[:at] + rng.choice(alphabet) + text[at:]
        elif how == 1:
            text = text[:at] + text[to:]
        elif how == 2:
            text = text[:at] + text[at:to] * 2 + text[to:]
        elif how == 3:
            text = text[:at] + odd(rng) + text[to:]
        else:
            text = text[:at] + text[at:to].swapcase()[::-1] + text[to:]
    return text


def damaged(rng: random.Random, data: bytes) -> bytes:
    """The bytes with some flipped, cut off, doubled or replaced."""
    how = rng.randrange(6)
    at = rng.randrange(len(data) + 1) if rng.random() < 0.5 else rng.randrange(min(len(data), 200) + 1)
    if how == 0:
        return data[:at]
    if how == 1:
        return data[:at] + rng.randbytes(rng.randint(1, 64)) + data[at + rng.randint(0, 64) :]
    if how == 2:
        return data[:at] + data
    if how == 3:
        return data[at:]
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 4, 40)) if data else 0):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def lever(rng: random.Random) -> str:
    """A lever spelled right, nearly right, or from the names and options there are with odd values."""
    how = rng.random()
    if how < 0.15:
        return rng.choice(SPELLINGS)
    if how < 0.55:
        return mutated(rng, rng.choice(SPELLINGS))
    name = rng.choice(sorted(LEVERS))
    fields = LEVERS[name].model_fields
    words = [likely(rng, fields[name_of].annotation)] if (name_of := LEVERS[name].positional) else []
    for key in rng.sample(sorted(fields), min(len(fields), rng.randint(0, 3))):
        if key != LEVERS[name].positional:
            words.append(f"{key}={likely(rng, fields[key].annotation)}")
    if rng.random() < 0.2:
        words.append(rng.choice((odd(rng), f"{odd(rng)}={odd(rng)}")))
    return name + (":" if words else "") + ",".join(words)


def likely(rng: random.Random, annotation: object) -> str:
    """A value that may be right for a field: one of its names, or a number; now and then an odd one."""
    names = [name for name in _literals(annotation) if isinstance(name, str)]
    how = rng.random()
    if how < 0.1:
        return odd(rng)
    return rng.choice(names) if names and how < 0.7 else rng.choice(USUAL if how < 0.55 else NUMBERS)


def _literals(annotation: object) -> list[object]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [name for inner in get_args(annotation) for name in _literals(inner)]


def levers(rng: random.Random) -> Input:
    """Spellings of changes, controls and base levers."""
    words = ["audit", "digits" if rng.random() < 0.92 else rng.choice(TASKS)]
    for option in rng.choice(
        (("--change",), ("--change", "--change"), ("--base", "--change"), ("--control",))
    ):
        text = lever(rng)
        if rng.random() < 0.2:
            text += "+" + lever(rng)
        words += [option, text]
    if "--change" not in words:
        words += ["--change", "lr:x0.5"]
    return Input(words + ["--plan", "--probes", "none"] + ["--json"] * (rng.random() < 0.5))


def tasks(rng: random.Random) -> Input:
    """Spellings of tasks: built in with options, and files."""
    how = rng.random()
    if how < 0.3:
        text = mutated(rng, rng.choice(TASKS))
    elif how < 0.7:
        entry = BUILT_IN[rng.choice(sorted(BUILT_IN))]
        keys = [*entry.options.model_fields, odd(rng)]
        pairs = [f"{rng.choice(keys)}={odd(rng)}" for _ in range(rng.randint(1, 3))]
        text = f"{entry.name}:" + ",".join(
            [*rng.sample(sorted(entry.presets), min(1, len(entry.presets))), *pairs]
        )
    else:
        text = rng.choice(("mine.py", "mine.py:", "mine.py:task", "./mine.py:task", "sub/mine.py:task"))
        text = mutated(rng, text) if rng.random() < 0.7 else text
    text += rng.choice(("", "", "", "@search", "@confirm", "@", "@search@confirm"))
    words = ["audit", text, "--change", "batch:x2", "--plan", "--probes", "none"]
    return Input(words, {"mine.py": tiny_task().encode(), "sub/other.py": b"task = 1\n"})


def specs(rng: random.Random) -> Input:
    """YAML files: keys and values of every kind, broken text, aliases, tags, nesting, bytes."""
    whole = rng.random() < 0.7
    keys = [key for key in sorted(SPEC_KEYS) if not whole or key not in ("task", "change", "aa", "extra")]
    lines = ["task: digits", "change: [batch:x2]"] if whole else []
    for key in rng.sample(keys, rng.randint(1, 5)):
        values = SPEC_KEYS[key]
        how = rng.random()
        value = rng.choice(values[:2] if how < 0.7 else values)
        if how > 0.9:
            value = rng.choice((odd(rng), f"[{odd(rng)}, {odd(rng)}]"))
        lines.append(f"{mutated(rng, key) if rng.random() < 0.1 else key}: {value}")
    text = "\n".join(lines) + "\n"
    if rng.random() < 0.25:
        text = mutated(rng, text, "&*!|>-?:{}[]#%@`'\"\n\t ,~")
    data = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        data = damaged(rng, data)
    if rng.random() < 0.02:
        data = rng.choice(
            (b"", b"[" * 10_000, b"a: " * 5_000, b"- " * 3_000, b"x" * 2**21, b"\xef\xbb\xbf", b"\0")
        )
    words = ["audit", "--spec", "spec.yaml", "--plan"]
    return Input(words if "probes" in text else [*words, "--probes", "none"], {"spec.yaml": data})


def tables(rng: random.Random) -> Input:
    """Tables of curves with odd cells, columns, bytes and terms."""
    columns = [*HEADER, *rng.sample(("train_metric", "planned", "length", "note"), rng.randint(0, 2))]

    def table() -> bytes:
        rows = [list(columns)]
        for seed in range(rng.choice((1, 3, 4, 5, 6))):
            for update in range(1, rng.choice((2, 4, 4, 4, 5))):
                cells = {"seed": seed, "update": 10 * update, "train_loss": 2.0**-update, "length": 1}
                cells |= {"test_metric": 90 + rng.gauss(0, 1), "train_metric": 95, "planned": 0, "note": ""}
                rows.append([str(cells[name]) for name in columns])
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
            row = rng.choice(rows[1:] if rng.random() < 0.9 and len(rows) > 1 else rows)
            row[rng.randrange(len(row))] = rng.choice((odd(rng), *rng.choices(NUMBERS, k=3)))
        if rng.random() < 0.1:
            rng.choice(rows).append(odd(rng))
        data = "\n".join(",".join(row) for row in rows).encode("utf-8", "surrogatepass")
        return damaged(rng, data) if rng.random() < 0.08 else data

    files = {"a.csv": table(), "b.csv": table()}
    if rng.random() < 0.2:
        text = "\n".join(
            f"{key}: {odd(rng)}" for key in rng.sample(("tolerance", "looks", "trivial", "metric"), 2)
        )
        files["compare.yaml"] = text.encode("utf-8", "surrogatepass")
    words = ["compare", "a.csv", rng.choice((*["b.csv"] * 20, "a.csv", "absent.csv", "."))]
    for option in ("--tolerance", "--looks", "--trivial", "--metric", "--fail-on"):
        if rng.random() < 0.08:
            words += [f"{option}={rng.choice((odd(rng), *rng.choices(NUMBERS, k=3)))}"]
    words += [
        flag for flag in ("--unpaired", "--decays", "--alters-data", "--alters-loss") if rng.random() < 0.08
    ]
    return Input(words + ["--json"] * (rng.random() < 0.5), files)


def task_files(rng: random.Random) -> Input:
    """A user's task file with one line replaced, an argument of the wrong kind, or broken text."""
    how = rng.random()
    if how < 0.6:
        text = tiny_task(rng.choice(TASK_EDITS))
    elif how < 0.85:
        old = rng.choice(sorted(TASK_LINES))
        text = tiny_task().replace(old, rng.choice(TASK_LINES[old]).replace("ODD", repr(odd(rng))))
    else:
        text = mutated(rng, tiny_task(), "()[]:,.= \n'\"#\\")
    data = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.05:
        data = damaged(rng, data)
    words = ["audit", "mine.py:task", "--change", rng.choice(("batch:x2", "lr:x0.5", "sam:0.1", "clip:1"))]
    # a few are really trained, for 12 updates: what only shows in training is met there
    words += ["--plan"] if rng.random() < 0.7 else ["--looks", "2", "--tolerance", "1", "--workers", "0"]
    return Input(words + ["--probes", "none"] + ["--json"] * (rng.random() < 0.5), {"mine.py": data})


def _state(rng: random.Random) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {"weight": torch.randn(2, 3), "bias": torch.randn(2)}
    how = rng.randrange(14)
    makers: list[Callable[[], torch.Tensor]] = [
        lambda: torch.full((2, 3), float("nan")),
        lambda: torch.full((2, 3), 3e38),
        lambda: torch.randn(3, 2),
        lambda: torch.randn(2, 3).double(),
        lambda: torch.randn(2, 3).to(torch.complex64),
        lambda: torch.ones(2, 3, dtype=torch.int64),
        lambda: torch.ones(2, 3, dtype=torch.bool),
        lambda: torch.randn(2, 3).to(torch.bfloat16),
        lambda: torch.randn(0, 3),
        lambda: torch.randn(()),
        lambda: torch.zeros(1).expand(2, 3),
    ]
    if how < len(makers):
        state["weight"] = makers[how]()
    elif how == 11:
        del state["bias"]
    elif how == 12:
        state[odd(rng)] = torch.zeros(3)
    return state


def _pickled(rng: random.Random, state: dict[str, torch.Tensor]) -> bytes:
    """A ``.pt``: of ``torch.save``, of weights inside of something, of what is no weights, or a trap."""
    nested: object = 1
    for _ in range(200):
        nested = [nested]
    things: list[object] = [
        state,
        {"state_dict": state},
        {"model": {"state_dict": state}},
        {"model": 3},
        [1, 2],
        {(1, 2): torch.zeros(2)},
        {"weight": "text"},
        {"weight": torch.zeros(1).expand(10**6, 10**6), "bias": torch.zeros(2)},
        {"weight": torch.zeros(2, 3).to_sparse(), "bias": torch.zeros(2)},
        {"deep": nested},
        torch.nn.Linear(3, 2),
        state["weight"],
    ]
    buffer = io.BytesIO()
    torch.save(rng.choice(things), buffer)
    data = buffer.getvalue()
    if rng.random() < 0.1:
        with zipfile.ZipFile(io.BytesIO(data)) as stored, io.BytesIO() as again:
            with zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as packed:
                for name in stored.namelist():
                    packed.writestr(name, stored.read(name))
            return again.getvalue()
    if rng.random() < 0.1:
        return pickle.dumps(rng.choice(([1], {"weight": 2}, print)))
    return data


def checkpoints(rng: random.Random) -> Input:
    """Files of weights: of other shapes and types, damaged, nested, packed, or no such files at all."""
    if rng.random() < 0.5:
        name, state = "w.safetensors", _state(rng)
        own = {key: tensor.contiguous().clone() for key, tensor in state.items()}
        data = safetensors.torch.save(own, metadata={"kind": odd(rng)} if rng.random() < 0.2 else None)
    else:
        name, data = "w.pt", _pickled(rng, _state(rng))
    if rng.random() < 0.4:
        data = damaged(rng, data)
    if rng.random() < 0.05:
        data = rng.choice(
            (b"", b"\xff" * 8, b"\0" * 100, (2**62).to_bytes(8, "little") + b"{}", rng.randbytes(500))
        )
    words = ["measure", "mine.py:task", "--checkpoint", name]
    if rng.random() < 0.3:
        words += rng.choice((["--initial", name], ["--initial", f"seed:{odd(rng)}"], ["--other", name]))
    words += [
        "--probes",
        rng.choice(("weight_norm", "gradient_norm", "margin_raw", "trace", "dormant_units")),
    ]
    return Input(words + ["--json"] * (rng.random() < 0.5), {name: data, "mine.py": tiny_task().encode()})


def stores(rng: random.Random, good: Path) -> Input:
    """Stores of which a file is damaged, lost, replaced, or a cell of the database overwritten."""

    def damage(folder: Path) -> None:
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
        for _ in range(rng.choice((1, 1, 2))):
            how = rng.random()
            path = rng.choice(files)
            if how < 0.4:
                _overwrite(rng, folder / "store.sqlite")
            elif how < 0.5:
                path.unlink(missing_ok=True)
            elif how < 0.55:
                path.unlink(missing_ok=True)
                path.mkdir(exist_ok=True)
            elif path.is_file():
                path.write_bytes(damaged(rng, path.read_bytes()))

    plan = ["--plan"]
    commands = [
        ["studies"],
        ["studies", "rm", rng.choice(("last", "0", "", odd(rng)))],
        ["report", rng.choice(("last", odd(rng)))],
        ["report", "--csv", "tables"],
        ["control", *plan],
        ["explain", *plan],
        [
            "measure",
            "--run",
            rng.choice(("last:baseline:0", "last:variant:1:last", f"last:baseline:{odd(rng)}")),
        ],
        [
            "audit",
            "mine.py:task",
            "--change",
            "batch:x2",
            "--looks",
            "2",
            "--tolerance",
            "1",
            "--workers",
            "0",
        ],
    ]
    words = rng.choice(commands)
    words += ["--probes", "weight_norm"] if words[0] == "measure" else []
    words += ["--probes", "none"] if words[0] == "audit" else []
    words += ["--json"] * (rng.random() < 0.5)
    return Input(words, {"mine.py": tiny_task().encode()}, ("tables",), good, damage)


def _overwrite(rng: random.Random, path: Path) -> None:
    """Put something else into one cell of the database."""
    if not path.is_file():
        return
    with sqlite3.connect(path) as database:
        try:
            names = "SELECT name FROM sqlite_master WHERE type = 'table'"
            table = rng.choice(sorted(row[0] for row in database.execute(names)))
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            column = rng.choice(columns)
            rows = [row[0] for row in database.execute(f"SELECT {column} FROM {table}")]
            old = rng.choice(rows) if rows else ""
            values: list[object] = [
                None,
                7,
                odd(rng),
                b"\xff\0",
                "{}",
                "[]",
                "null",
                '{"result": 3}',
                "../../outside",
            ]
            if isinstance(old, str):
                values += [mutated(rng, old) for _ in range(4)]
            elif isinstance(old, bytes):
                values += [damaged(rng, old) for _ in range(4)]
            database.execute(f"UPDATE {table} SET {column} = ?", (rng.choice(values),))
        except (sqlite3.Error, UnicodeError, IndexError, OverflowError):
            pass


OPTIONS = {
    "audit": "tolerance looks levels seed engine device max-time fail-on store data workers control probes",
    "control": "candidate only forbid fix keep most trials rungs looks seed device max-time store workers",
    "explain": "at doses force only most seeds max-time store workers",
    "measure": "run initial other base examples on updates seed device store",
    "report": "csv store",
    "studies": "store",
    "lab": "set out seed",
}
"""Options of each command that takes values."""


@cache
def _probe_names() -> tuple[str, ...]:
    return tuple(str(entry["name"]) for entry in catalogue())


def options(rng: random.Random, good: Path) -> Input:
    """Every command with options and values that are seldom right; nothing is trained."""
    audit = ["audit", "digits", "--change", "batch:x2", "--plan"]
    given = {command: names.split() for command, names in OPTIONS.items()}
    begin = {
        "audit": audit,
        "control": ["control", rng.choice(("last", odd(rng))), "--plan"],
        "explain": ["explain", rng.choice(("last", odd(rng))), "--plan"],
        "measure": [
            "measure",
            *rng.choice((["--run", "last:variant:1"], ["digits", "--checkpoint", odd(rng)])),
        ],
        "report": ["report", rng.choice(("last", odd(rng)))],
        "studies": ["studies"],
        "lab": ["lab", mutated(rng, rng.choice(("delay", "kernel_rich:alpha=0.1")))],
    }
    command = rng.choice((*given, "audit", "catalogue"))
    if command == "catalogue":
        return Input([rng.choice(("levers", "tasks", "probes", "lab", "nothing", "--help")), odd(rng)])
    words = list(begin[command])
    for option in rng.sample(given[command], min(len(given[command]), rng.randint(1, 2))):
        value = rng.choice((odd(rng), *rng.choices(NUMBERS, k=2)))
        if option in ("candidate", "only", "force", "fix", "base", "control"):
            value = lever(rng)
        if option == "probes":
            value = mutated(rng, rng.choice(_probe_names()))
        words += [f"--{option}={value}"] if rng.random() < 0.9 else [f"--{option}"]
    if command == "audit" and not any(word.startswith("--probes") for word in words):
        words += ["--probes", "none"]
    if rng.random() < 0.1:
        words.insert(rng.randrange(1, len(words) + 1), odd(rng))
    files = {"mine.py": tiny_task().encode()}
    return Input(words + ["--json"] * (rng.random() < 0.3), files, ("*",), good)


KINDS: dict[str, tuple[Callable[..., Input], int]] = {
    "levers": (levers, 3000),
    "tasks": (tasks, 1000),
    "specs": (specs, 1500),
    "tables": (tables, 1500),
    "task_files": (task_files, 800),
    "checkpoints": (checkpoints, 700),
    "stores": (stores, 500),
    "options": (options, 1000),
}
"""Each kind of input, and how many of the 10,000 are of it."""


def prepare(given: Input, folder: Path) -> None:
    """Lay the files of an input into an empty folder."""
    for name, data in given.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    if given.store is not None:
        shutil.copytree(given.store, folder / ".algobias")
        if given.damage is not None:
            given.damage(folder / ".algobias")
