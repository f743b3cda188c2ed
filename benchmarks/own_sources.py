"""Scripts of somebody else's: where they lie in a checkout, their data, how they are run for a while."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SHARED = Path(os.environ.get("ALGOBIAS_DATA", Path.home() / ".cache" / "algobias" / "test-data"))
"""Public data sets: tinyshakespeare, wikitext-2."""


@dataclass(frozen=True)
class Source:
    """A script in a checkout.

    Attributes:
        name: What it is called in results.
        checkout: Folder of the checkout.
        expected: The commit that was looked at before.
        script: The script, from the folder it is run in.
        inside: The folder it is run in, inside of the checkout.
        options: Its options; ``{out}`` is a folder of the run's own.
        needs: Packages it needs besides torch.
        data: Files it needs below :data:`SHARED`.
        prepare: Lays its data out in a copy of the folder.
        edited: Texts of the script and what SAM by hand makes of them; none: that is not tried.
    """

    name: str
    checkout: str
    expected: str
    script: str
    options: tuple[str, ...]
    inside: str = "."
    needs: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    prepare: Callable[[Path], None] | None = None
    edited: tuple[tuple[str, str], ...] = ()

    def missing(self, sources: Path) -> str | None:
        """Say what is not there, or None."""
        if not (sources / self.checkout / self.inside / self.script).is_file():
            return f"no checkout {self.checkout}, looked at before as of {self.expected}"
        absent = [need for need in self.needs if importlib.util.find_spec(need) is None]
        if absent:
            return f"{' and '.join(absent)} not installed"
        absent = [name for name in self.data if not (SHARED / name).exists()]
        return f"no data {', '.join(absent)} below ALGOBIAS_DATA" if absent else None

    def commit(self, sources: Path) -> str:
        """The commit of the checkout."""
        words = ["git", "-C", str(sources / self.checkout), "rev-parse", "--short", "HEAD"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.stdout.strip() or "unknown"

    def prepared(self, sources: Path, folder: Path) -> Path:
        """A copy of the folder it is run in, with its data."""
        shutil.copytree(sources / self.checkout / self.inside, folder, ignore=shutil.ignore_patterns(".git"))
        if self.prepare is not None:
            self.prepare(folder)
        return folder

    def words(self, out: Path) -> list[str]:
        """The command."""
        return [sys.executable, self.script, *(option.replace("{out}", str(out)) for option in self.options)]

    def edited_copy(self, place: Path, folder: Path) -> Path:
        """A copy of a prepared folder with SAM written into the script.

        Raises:
            RuntimeError: The script does not have the lines that are replaced.
        """
        shutil.copytree(place, folder)
        path = folder / self.script
        text = path.read_text(encoding="utf-8")
        for old, new in self.edited:
            if text.count(old) != 1:
                raise RuntimeError(f"{self.script} has {text.count(old)} times, not once: {old.strip()[:60]}")
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
        return folder


def _characters(folder: Path) -> None:
    """Number the characters of tinyshakespeare, as nanoGPT's own script for them does."""
    import pickle

    import numpy as np

    text = (SHARED / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    characters = sorted(set(text))
    numbers = {character: number for number, character in enumerate(characters)}
    every = np.array([numbers[character] for character in text], dtype=np.uint16)
    place = folder / "data" / "shakespeare_char"
    place.mkdir(parents=True, exist_ok=True)
    every[: int(0.9 * len(every))].tofile(place / "train.bin")
    every[int(0.9 * len(every)) :].tofile(place / "val.bin")
    meta = {"vocab_size": len(characters), "itos": dict(enumerate(characters)), "stoi": numbers}
    (place / "meta.pkl").write_bytes(pickle.dumps(meta))


def _words(folder: Path) -> None:
    """Lay out a part of wikitext-2 where the word language model looks for it."""
    place = folder / "data" / "wikitext-2"
    place.mkdir(parents=True, exist_ok=True)
    for part, source in (("train", "valid"), ("valid", "test"), ("test", "test")):
        lines = (
            (SHARED / "wikitext-2" / f"{source}.txt").read_text(encoding="utf-8").splitlines(keepends=True)
        )
        (place / f"{part}.txt").write_text("".join(lines[:60]), encoding="utf-8")


def _digits(folder: Path) -> None:
    """Lay out MNIST beside the folder, where torchvision looks for it."""
    shutil.copytree(SHARED / "MNIST", folder.parent / "data" / "MNIST", dirs_exist_ok=True)


def _pictures(folder: Path) -> None:
    """Draw a few pictures of noise in two classes, in folders as timm reads them."""
    import numpy as np
    from PIL import Image

    drawn = np.random.default_rng(0)
    for part in ("train", "validation"):
        for kind in ("a", "b"):
            place = folder / "pictures" / part / kind
            place.mkdir(parents=True)
            for number in range(16):
                Image.fromarray(drawn.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
                    place / f"{number}.png"
                )


_NANOGPT = (
    (
        "    for micro_step in range(gradient_accumulation_steps):\n        if ddp:",
        "    passes = []\n    for micro_step in range(gradient_accumulation_steps):\n        if ddp:",
    ),
    (
        "        with ctx:\n            logits, loss = model(X, Y)\n            loss = loss / gradient",
        "        passes.append((X, Y, torch.random.get_rng_state()))\n"
        "        with ctx:\n            logits, loss = model(X, Y)\n            loss = loss / gradient",
    ),
    (
        "    # clip the gradient\n",
        "    kept = [(p, p.detach().clone()) for p in model.parameters() if p.grad is not None]\n"
        "    norm = torch.nn.utils.get_total_norm([p.grad for p, _ in kept])\n"
        "    for p, _ in kept:\n"
        "        p.data.add_(p.grad * (0.05 / norm)); p.grad = None\n"
        "    state = torch.random.get_rng_state()\n"
        "    for x, y, before in passes:\n"
        "        torch.random.set_rng_state(before)\n"
        "        with ctx:\n            again = model(x, y)[1] / gradient_accumulation_steps\n"
        "        scaler.scale(again).backward()\n"
        "    torch.random.set_rng_state(state)\n"
        "    for p, value in kept: p.data.copy_(value)\n"
        "    # clip the gradient\n",
    ),
)

SOURCES = (
    Source(
        name="nanoGPT (accumulation 2, clip, dropout)",
        checkout="nanoGPT",
        expected="3adf61e",
        script="train.py",
        options=(
            *("config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--out_dir={out}"),
            *("--max_iters=12", "--eval_interval=6", "--eval_iters=2", "--batch_size=4", "--block_size=32"),
            *(
                "--n_layer=2",
                "--n_head=2",
                "--n_embd=32",
                "--gradient_accumulation_steps=2",
                "--warmup_iters=4",
            ),
        ),
        data=("tinyshakespeare",),
        prepare=_characters,
        edited=_NANOGPT,
    ),
    Source(
        name="examples: Transformer language model",
        checkout="examples",
        expected="77f55b9",
        inside="word_language_model",
        script="main.py",
        options=(
            *("--model", "Transformer", "--epochs", "1", "--emsize", "16", "--nhid", "16", "--nlayers", "1"),
            *("--nhead", "2", "--batch_size", "4", "--bptt", "16", "--save", "{out}.pt"),
        ),
        data=("wikitext-2",),
        prepare=_words,
    ),
    Source(
        name="examples: mnist",
        checkout="examples",
        expected="77f55b9",
        inside="mnist",
        script="main.py",
        options=("--epochs", "1", "--dry-run", "--no-accel"),
        needs=("torchvision",),
        data=("MNIST",),
        prepare=_digits,
    ),
    Source(
        name="timm train.py (BatchNorm, mixup, accumulation 2, clip)",
        checkout="pytorch-image-models",
        expected="aa4b585",
        script="train.py",
        options=(
            *("--data-dir", "pictures", "--model", "resnet10t", "--num-classes", "2", "--img-size", "32"),
            *("--batch-size", "4", "--epochs", "2", "--grad-accum-steps", "2", "--clip-grad", "1.0"),
            *("--mixup", "0.2", "--device", "cpu", "--workers", "0", "--output", "{out}", "--no-prefetcher"),
        ),
        needs=("torchvision", "PIL"),
        prepare=_pictures,
    ),
)
