"""``wikitext2``: text generation on articles of Wikipedia (Merity et al. 2016)."""

from __future__ import annotations

from pathlib import Path

from algobias.tasks.builtin import BuiltIn
from algobias.tasks.readers.files import find_files
from algobias.tasks.readers.lines import read_text
from algobias.tasks.readers.texts import FULL_OPTIONS, SMALL, TextOptions, text_task
from algobias.tasks.task import Task

FILES = ("wikitext-2/train.txt", "wikitext-2/valid.txt", "wikitext-2/test.txt")
SOURCE = (
    "the WikiText-2 word-level archive (wiki.train.tokens and so on, renamed train.txt, valid.txt, test.txt)"
)


def build(options: TextOptions, name: str, data_dir: Path | None) -> Task:
    """The official three parts."""
    paths = find_files(data_dir, list(FILES), "wikitext2", SOURCE)
    train, validation, test = (read_text(path, "wikitext2") for path in paths)
    return text_task(name, options, train, test, validation=validation)


ENTRY = BuiltIn(
    name="wikitext2",
    summary="text generation: the next byte pair (or character) of Wikipedia articles, 2 million words",
    options=TextOptions,
    build=build,
    recipe=dict(SMALL),
    trivial="frequencies of the tokens (unigram)",
    files=FILES,
    source=SOURCE,
    presets={"full": {**FULL_OPTIONS, "level": "bpe", "vocabulary": 8192}},
)
