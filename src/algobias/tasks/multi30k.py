"""``multi30k``: English to German captions of photographs (Elliott et al. 2016)."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.tasks.builtin import BuiltIn, Options
from algobias.tasks.readers.files import find_files
from algobias.tasks.readers.lines import read_lines
from algobias.tasks.readers.texts import SMALL
from algobias.tasks.readers.vocabulary import byte_pairs
from algobias.tasks.task import Task
from algobias.tasks.translation import PAD, Decoder, Examples, target_loss, target_nats, target_tokens

if TYPE_CHECKING:
    from torch import Tensor

    from algobias.models.seq2seq import PrefixTranslator

FILES = tuple(
    f"multi30k/{part}.{side}.gz" for part in ("train", "val", "test_2016_flickr") for side in ("en", "de")
)
SOURCE = "github.com/multi30k/dataset (data/task1/raw)"
SHOWN = 200
"""Test pairs that are translated for BLEU and chrF."""

REFERENCE_WORDS, REFERENCE_LENGTH = 800, 14
REFERENCE: dict[str, Any] = {**SMALL, "batch": 32, "updates": 600}
DEFAULT: dict[str, Any] = {**SMALL, "lr": 2e-3, "batch": 32, "updates": 600}
FULL: dict[str, Any] = {**SMALL, "lr": 5e-4, "batch": 128, "updates": 20_000}


class Multi30kOptions(Options):
    """``vocabulary``: byte-pair tokens of both languages together. ``length``: longest source and target in
    tokens; longer training pairs are left out, longer test pairs cut. ``layers``, ``width``, ``heads``,
    ``hidden``: of encoder and decoder. ``beams``: of the search. ``metric``: ``nats``, ``bleu`` or ``chrf``.
    """

    vocabulary: int = Field(default=1000, ge=260, le=65_536)
    length: int = Field(default=32, ge=4, le=512)
    layers: int = Field(default=2, ge=1)
    width: int = Field(default=96, ge=2)
    heads: int = Field(default=4, ge=1)
    hidden: int = Field(default=192, ge=1)
    beams: int = Field(default=4, ge=1, le=64)
    metric: Literal["nats", "bleu", "chrf"] = "nats"


def build(options: Multi30kOptions, name: str, data_dir: Path | None) -> Task:
    """All training pairs; test set of 2016. ``reference`` has its own vocabularies and model."""
    paths = find_files(data_dir, list(FILES), "multi30k", SOURCE)
    texts = [read_lines(path, "multi30k") for path in paths]
    for (one, two), path in zip(zip(texts[::2], texts[1::2], strict=True), paths[1::2], strict=True):
        if len(one) != len(two):
            told = f"{len(two)} lines in {path}"
            raise BadInput("data of multi30k", told, f"{len(one)}, as many as the other language has")
    pairs = [list(zip(*texts[start : start + 2], strict=True)) for start in (0, 2, 4)]
    if options.preset == "reference":
        return _reference(name, pairs[0], pairs[2])
    return _subwords(name, options, *pairs)


def _subwords(
    name: str,
    options: Multi30kOptions,
    train: list[tuple[str, str]],
    validation: list[tuple[str, str]],
    test: list[tuple[str, str]],
) -> Task:
    from algobias.models.seq2seq import Translator

    special = ("<pad>", "<s>", "</s>")
    vocabulary, _ = byte_pairs([text for pair in train for text in pair], options.vocabulary, special)
    length = options.length

    def table(pairs: list[tuple[str, str]], drop: bool) -> tuple[Tensor, Tensor]:
        rows = [tuple(vocabulary.encode(text).tolist() for text in pair) for pair in pairs]
        if drop:
            rows = [row for row in rows if len(row[0]) <= length and len(row[1]) < length]
        sources = torch.full((len(rows), length), PAD)
        targets = torch.full((len(rows), length + 1), PAD)
        for place, (source, target) in enumerate(rows):
            source, target = source[:length], [1, *target[: length - 1], 2]
            sources[place, : len(source)] = torch.tensor(source, dtype=torch.long)
            targets[place, : len(target)] = torch.tensor(target)
        return sources, targets

    tables = table(train, True), table(validation, False), table(test, False)
    decoder = Decoder(
        vocabulary.decode,
        1,
        2,
        length,
        tuple(target for _, target in test[:SHOWN]),
        tuple(source for source, _ in test[:SHOWN]),
        options.beams,
    )
    model = partial(
        Translator, vocabulary.size, length, options.layers, options.width, options.heads, options.hidden
    )
    return _task(name, tables[0], tables[2], tables[1], model, decoder, options, 5)


def _task(
    name: str,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor] | None,
    model: Any,
    decoder: Decoder,
    options: Multi30kOptions | None,
    shown: int,
) -> Task:
    metric = "nats" if options is None else options.metric
    words = REFERENCE if options is None else FULL if options.preset == "full" else DEFAULT
    corpus = {"bleu": decoder.bleu, "chrf": decoder.chrf}
    return Task(
        name,
        train=train,
        test=test,
        validation=validation,
        model=model,
        loss=target_loss,
        metric=target_nats if metric == "nats" else corpus[metric],
        metric_name="minus nats per token" if metric == "nats" else {"bleu": "BLEU", "chrf": "chrF"}[metric],
        corpus=metric != "nats",
        recipe=words,
        trivial=-unigram(train[1], test[1]) if metric == "nats" else 0.0,
        habit=0.01 if metric == "nats" else 0.5,
        weight=target_tokens,
        also={key: function for key, function in corpus.items() if key != metric},
        sample=Examples(decoder, test[0][:shown]),
        fit_examples=400,
    )


def unigram(train: Tensor, test: Tensor) -> float:
    """Nats per target token of a model that knows how often each comes (one added to each count)."""
    size = int(max(train.max(), test.max())) + 1
    counts = torch.bincount(train[:, 1:].flatten(), minlength=size).double() + 1
    counts[PAD] = 0
    logs = (counts / counts.sum()).log()
    targets = test[:, 1:].flatten()
    return float(-logs[targets[targets != PAD]].mean())


# The recipe with published figures: words, a prefix language model


def words_of(line: str) -> list[str]:
    """Lower-cased words and punctuation marks."""
    return re.findall(r"\w+|[^\w\s]", line.lower())


def short_pairs(pairs: list[tuple[str, str]]) -> list[tuple[list[str], list[str]]]:
    """Pairs with at most 14 words on each side."""
    cut = [(words_of(source), words_of(target)) for source, target in pairs]
    return [pair for pair in cut if max(map(len, pair)) <= REFERENCE_LENGTH]


def _reference(name: str, train: list[tuple[str, str]], test: list[tuple[str, str]]) -> Task:
    known, asked = short_pairs(train), short_pairs(test)
    lists = [
        [word for word, _ in Counter(w for pair in known for w in pair[side]).most_common(REFERENCE_WORDS)]
        for side in (0, 1)
    ]
    # 0 padding, 1 <s>, 2 </s>, 3 and 4 the unknown word of each language, then the words
    numbers = [
        {word: 5 + side * REFERENCE_WORDS + n for n, word in enumerate(lists[side])} for side in (0, 1)
    ]
    length = REFERENCE_LENGTH

    def table(pairs: list[tuple[list[str], list[str]]]) -> tuple[Tensor, Tensor]:
        sources = torch.full((len(pairs), length), PAD)
        targets = torch.full((len(pairs), length + 2), PAD)
        for row, (source, target) in enumerate(pairs):
            found = [numbers[0].get(word, 3) for word in source]
            sources[row, length - len(found) :] = torch.tensor(found)
            answer = [1, *(numbers[1].get(word, 4) for word in target), 2]
            targets[row, : len(answer)] = torch.tensor(answer)
        return sources, targets

    back = {number: word for side in numbers for word, number in side.items()}
    decoder = Decoder(
        partial(_spoken, back),
        1,
        2,
        length,
        tuple(" ".join(target) for _, target in asked[:SHOWN]),
        tuple(" ".join(source) for source, _ in asked[:SHOWN]),
        beams=1,
        forbidden=(3, 4),
        tokenize="none",
        smooth="none",
    )
    return _task(name, table(known), table(asked), None, _prefix_model, decoder, None, 5)


def _prefix_model() -> PrefixTranslator:
    from algobias.models.seq2seq import PrefixTranslator
    from algobias.models.transformer import GPT

    return PrefixTranslator(GPT(5 + 2 * REFERENCE_WORDS, 2 * REFERENCE_LENGTH + 1))


def _spoken(back: dict[int, str], tokens: Any) -> str:
    return " ".join(back.get(token, "?") for token in tokens)


ENTRY = BuiltIn(
    name="multi30k",
    summary="translation of captions from English to German, 29,000 pairs",
    options=Multi30kOptions,
    build=build,
    recipe=dict(DEFAULT),
    trivial="frequencies of the target tokens (unigram); copying the source has BLEU about 0",
    files=FILES,
    source=SOURCE,
    presets={
        "reference": {},
        "full": {"vocabulary": 8000, "length": 64, "layers": 6, "width": 512, "heads": 8, "hidden": 1366},
    },
)
