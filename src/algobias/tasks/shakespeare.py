"""``shakespeare``: text generation on the plays of the char-rnn collection (Karpathy 2015)."""

from __future__ import annotations

from pathlib import Path

from algobias.tasks.builtin import BuiltIn
from algobias.tasks.readers.files import find_files
from algobias.tasks.readers.lines import read_text
from algobias.tasks.readers.texts import FULL_OPTIONS, SMALL, TextOptions, text_task
from algobias.tasks.task import Task

FILE = "tinyshakespeare/input.txt"
SOURCE = "github.com/karpathy/char-rnn (data/tinyshakespeare/input.txt)"


def build(options: TextOptions, name: str, data_dir: Path | None) -> Task:
    """The first nine tenths of the text for training, the last for the test."""
    (path,) = find_files(data_dir, [FILE], "shakespeare", SOURCE)
    text = read_text(path, "shakespeare")
    cut = int(0.9 * len(text))
    return text_task(name, options, text[:cut], text[cut:])


ENTRY = BuiltIn(
    name="shakespeare",
    summary="text generation: the next character of Shakespeare's plays, 1.1 million characters",
    options=TextOptions,
    build=build,
    recipe=dict(SMALL),
    trivial="frequencies of the tokens (unigram)",
    files=(FILE,),
    source=SOURCE,
    presets={"reference": {}, "full": FULL_OPTIONS},
)
