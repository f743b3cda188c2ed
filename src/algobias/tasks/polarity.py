"""``polarity``: sentences from film reviews, positive or negative (Pang and Lee 2005)."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.tasks.builtin import BuiltIn, Options
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.readers.files import find_files
from algobias.tasks.readers.lines import read_lines
from algobias.tasks.task import Task

if TYPE_CHECKING:
    pass

FILES = ("sentence_polarity/rt-polarity.pos", "sentence_polarity/rt-polarity.neg")
SOURCE = "www.cs.cornell.edu/people/pabo/movie-review-data (sentence polarity dataset v1.0)"
TRAIN = 8000
LONGEST = 40
WORDS: dict[str, Any] = {
    "optimizer": "adam", "lr": 3e-3, "batch": 32, "schedule": "cosine", "warmup": 0.05, "updates": 800,
}  # fmt: skip
FULL: dict[str, Any] = {**WORDS, "lr": 1e-3, "batch": 128, "updates": 4000}


class PolarityOptions(Options):
    """``words``: size of the vocabulary. ``width``: of the embedding. ``init``: factor on all initial
    weights.

    ``train``: the first so many of the training sentences. ``model``: ``sum`` of word embeddings, or a
    classifier of the library transformers, ``hf:bert``.
    """

    words: int = Field(default=5000, ge=2)
    width: int = Field(default=32, gt=0)
    init: float = Field(default=0.1, gt=0)
    train: int = Field(default=TRAIN, ge=2, le=TRAIN)
    model: str = Field(default="sum", pattern=r"^(sum|hf:.+)$")


def build(options: PolarityOptions, name: str, data_dir: Path | None) -> Task:
    """Positive sentences first, then negative ones, in a fixed random order; 8,000 for training.

    The most frequent words of the training sentences are the vocabulary; others are dropped, then the first
    40 kept.
    """
    from algobias.models.hf import hf_model
    from algobias.models.sum_of_words import SumOfWords

    paths = find_files(data_dir, list(FILES), "polarity", SOURCE)
    groups = [read_lines(path, "polarity", encoding="latin-1") for path in paths]
    sentences = [line.split(" ") for group in groups for line in group]
    labels = torch.cat([torch.full((len(group),), 1 - k) for k, group in enumerate(groups)])
    if len(sentences) <= TRAIN:
        raise BadInput("data of polarity", f"{len(sentences)} sentences", f"more than {TRAIN}")
    order = torch.randperm(len(sentences), generator=torch.Generator().manual_seed(0))
    train, test = order[: options.train], order[TRAIN:]
    counts = Counter(word for i in order[:TRAIN].tolist() for word in sentences[i] if word)
    known = {word: n + 1 for n, (word, _) in enumerate(counts.most_common(options.words))}
    table = torch.zeros(len(sentences), LONGEST, dtype=torch.long)
    for row, sentence in enumerate(sentences):
        found = [known[word] for word in sentence if word in known][:LONGEST]
        table[row, : len(found)] = torch.tensor(found)
    return Task(
        name,
        train=(table[train], labels[train]),
        test=(table[test], labels[test]),
        model=partial(SumOfWords, len(known), options.width, options.init)
        if options.model == "sum"
        else partial(hf_model, options.model, len(known) + 1, LONGEST, 2),
        loss=classification_loss,
        metric=accuracy,
        metric_name="accuracy",
        recipe=FULL if options.preset == "full" else WORDS,
        trivial=50.0,
        habit=0.8,
        classes=2,
    )


ENTRY = BuiltIn(
    name="polarity",
    summary="sentences from film reviews, positive or negative; 8,000 for training, 2,662 for the test",
    options=PolarityOptions,
    build=build,
    recipe=dict(WORDS),
    trivial="one class for all, 50 %",
    files=FILES,
    source=SOURCE,
    presets={"reference": {}, "full": {"width": 256, "words": 15000, "init": 1.0}},
)
