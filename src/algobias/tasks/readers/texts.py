"""What the tasks of text generation share: options, recipes, and a task from training and test text."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from algobias.models.choices import ActivationName, NormName, PositionName
from algobias.tasks.builtin import Options
from algobias.tasks.language import (
    BitsPerCharacter,
    Sample,
    minus_nats,
    perplexity,
    token_loss,
    unigram_nats,
)
from algobias.tasks.readers.vocabulary import Vocabulary, byte_pairs, characters
from algobias.tasks.readers.windows import Windows, random_starts
from algobias.tasks.task import Task

if TYPE_CHECKING:
    import torch

FIT_WINDOWS = 240
TEST_SEED = 30_001

SMALL: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 4e-3,
    "beta2": 0.95,
    "weight_decay": 0.1,
    "decay": "matrices",
    "clip": 1.0,
    "batch": 8,
    "schedule": "cosine",
    "warmup": 0.05,
    "updates": 800,
}
FULL: dict[str, Any] = {**SMALL, "lr": 1e-3, "batch": 64, "updates": 5000}
FULL_OPTIONS = {"layers": 6, "width": 384, "heads": 6, "hidden": 1024, "context": 256}


class TextOptions(Options):
    """``level``: ``char``, or ``bpe`` with ``vocabulary`` tokens. ``context``: tokens of a window.

    ``layers``, ``width``, ``heads``, ``hidden``: of the GPT. ``norm``: ``layer`` or ``rms``. ``activation``:
    ``gelu`` or ``swiglu``. ``positions``: ``learned`` or ``rotary``. ``tied``: head and embedding share
    weights.
    ``windows``: test windows, at random fixed places. ``model``: ``gpt``, or a model of the library
    transformers,
    ``hf:gpt2``.
    """

    level: Literal["char", "bpe"] = "char"
    vocabulary: int = Field(default=512, ge=256, le=65_536)
    context: int = Field(default=64, ge=2, le=4096)
    layers: int = Field(default=2, ge=1)
    width: int = Field(default=64, ge=2)
    heads: int = Field(default=4, ge=1)
    hidden: int = Field(default=160, ge=1)
    norm: NormName = "layer"
    activation: ActivationName = "swiglu"
    positions: PositionName = "learned"
    tied: bool = False
    windows: int = Field(default=480, ge=2)
    model: str = Field(default="gpt", pattern=r"^(gpt|hf:.+)$")


def text_task(
    name: str,
    options: TextOptions,
    train: str,
    test: str,
    *,
    validation: str | None = None,
    habit: float = 0.01,
) -> Task:
    """Predict the next token; the metric is minus nats per token, the trivial predictor knows their
    frequencies.

    Args:
        name: Of the task.
        options: Its options.
        train: Training text; byte pairs are learnt from it.
        test: Test text.
        validation: Validation text.
        habit: Tolerance in nats.
    """
    from algobias.models.hf import hf_model
    from algobias.models.transformer import GPT

    held = [text for text in (test, validation) if text is not None]
    vocabulary = _vocabulary(options, train, held)
    tokens, answers = vocabulary.encode(train), vocabulary.encode(test)
    length = options.context

    def windows(found: torch.Tensor, seed: int) -> Windows:
        return Windows(found, length, random_starts(len(found), length, options.windows, seed))

    seen = None if validation is None else windows(vocabulary.encode(validation), TEST_SEED + 1)
    also: dict[str, Any] = {"bits_per_character": BitsPerCharacter(len(test) / len(answers))}
    if options.level == "bpe":
        also["perplexity"] = perplexity
    return Task(
        name,
        train=Windows(tokens, length),
        test=windows(answers, TEST_SEED),
        validation=seen,
        model=partial(hf_model, options.model, vocabulary.size, length)
        if options.model != "gpt"
        else partial(
            GPT,
            vocabulary.size,
            length,
            options.layers,
            options.width,
            options.heads,
            options.hidden,
            options.norm,
            options.activation,
            options.positions,
            options.tied,
        ),
        loss=token_loss,
        metric=minus_nats,
        metric_name="minus nats per token",
        recipe=FULL if options.preset == "full" else SMALL,
        trivial=-unigram_nats(tokens, answers, vocabulary.size),
        habit=habit,
        also=also,
        sample=Sample(vocabulary.decode, tuple(answers[: min(8, length)].tolist()), length),
        fit_examples=FIT_WINDOWS,
    )


def _vocabulary(options: TextOptions, train: str, held: list[str]) -> Vocabulary:
    if options.level == "char":
        return characters(train, *held)
    return byte_pairs([train], options.vocabulary)[0]
