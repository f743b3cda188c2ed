"""``books``: text generation on four novels in the public domain."""

from __future__ import annotations

from pathlib import Path

from algobias.errors import BadInput
from algobias.tasks.builtin import BuiltIn
from algobias.tasks.readers.files import find_files
from algobias.tasks.readers.lines import read_text
from algobias.tasks.readers.texts import FULL_OPTIONS, SMALL, TextOptions, text_task
from algobias.tasks.task import Task

FILES = tuple(
    f"books/{book}.md"
    for book in ("war_and_peace", "les_miserables", "count_of_monte_cristo", "crime_and_punishment")
)
SOURCE = "github.com/mlschmitt/classic-books-markdown (any four plain texts under these names will do)"
SHORTEST = 10_000


def build(options: TextOptions, name: str, data_dir: Path | None) -> Task:
    """Of every book the first 90 % for training, then 5 % for validation and 5 % for the test."""
    paths = find_files(data_dir, list(FILES), "books", SOURCE)
    texts = [read_text(path, "books") for path in paths]
    for path, text in zip(paths, texts, strict=True):
        if len(text) < SHORTEST:
            raise BadInput("data of books", f"{len(text)} characters in {path}", f"at least {SHORTEST}")
    parts = [
        "\n".join(text[int(low * len(text)) : int(high * len(text))] for text in texts)
        for low, high in ((0.0, 0.9), (0.9, 0.95), (0.95, 1.0))
    ]
    return text_task(name, options, parts[0], parts[2], validation=parts[1])


ENTRY = BuiltIn(
    name="books",
    summary="text generation: the next character (or byte pair) of four novels, 10 million characters",
    options=TextOptions,
    build=build,
    recipe=dict(SMALL),
    trivial="frequencies of the tokens (unigram)",
    files=FILES,
    source=SOURCE,
    presets={"full": {**FULL_OPTIONS, "level": "bpe", "vocabulary": 4096}},
)
