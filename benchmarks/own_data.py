"""Data of other people's scripts, laid out small, where the scripts look for them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np

SHARED = Path(os.environ.get("ALGOBIAS_DATA", Path.home() / ".cache" / "algobias" / "test-data"))
"""Public data sets: tinyshakespeare, wikitext-2, MNIST."""

TRAINED, TESTED = 640, 200
"""Digits of each part: ten batches of 64."""


def characters(folder: Path) -> None:
    """Number the characters of tinyshakespeare, as nanoGPT's own script for them does."""
    text = (SHARED / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    known = sorted(set(text))
    numbers = {character: number for number, character in enumerate(known)}
    every = np.array([numbers[character] for character in text], dtype=np.uint16)
    place = folder / "data" / "shakespeare_char"
    place.mkdir(parents=True, exist_ok=True)
    every[: int(0.9 * len(every))].tofile(place / "train.bin")
    every[int(0.9 * len(every)) :].tofile(place / "val.bin")
    meta = {"vocab_size": len(known), "itos": dict(enumerate(known)), "stoi": numbers}
    (place / "meta.pkl").write_bytes(pickle.dumps(meta))


def words(folder: Path) -> None:
    """Lay out a part of wikitext-2 where the word language model looks for it."""
    place = folder / "data" / "wikitext-2"
    place.mkdir(parents=True, exist_ok=True)
    for part, source in (("train", "valid"), ("valid", "test"), ("test", "test")):
        text = (SHARED / "wikitext-2" / f"{source}.txt").read_text(encoding="utf-8")
        lines = text.splitlines(keepends=True)
        (place / f"{part}.txt").write_text("".join(lines[:60]), encoding="utf-8")


def digits(folder: Path) -> None:
    """Lay out the first digits of MNIST beside the folder, where torchvision looks for them."""
    place = folder.parent / "data" / "MNIST" / "raw"
    place.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", TRAINED), ("t10k", TESTED)):
        for kind, head, size in (("images-idx3", 16, 28 * 28), ("labels-idx1", 8, 1)):
            name = f"{part}-{kind}-ubyte"
            with open(SHARED / "MNIST" / "raw" / name, "rb") as file:
                begin = file.read(head)
                rest = file.read(count * size)
            # The second number of the head is the count of examples.
            (place / name).write_bytes(begin[:4] + count.to_bytes(4, "big") + begin[8:] + rest)


def pictures(folder: Path) -> None:
    """Draw a few pictures of noise in two classes, in folders as timm reads them."""
    from PIL import Image

    drawn = np.random.default_rng(0)
    for part in ("train", "validation"):
        for kind in ("a", "b"):
            place = folder / "pictures" / part / kind
            place.mkdir(parents=True)
            for number in range(20):
                noise = drawn.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(noise).save(place / f"{number}.png")
