"""The six small tasks on which changes to the model (fewer bits, fewer multiplications) are measured.

    algobias audit cases/model/tasks.py:fmnist --change budget:x0.5

Data and splits are those of the built-in presets ``:reference``, read below ``ALGOBIAS_DATA``. Networks and
recipes stand here, so that every setting of the reference is in one place and layers have names by which they
can be picked: ``conv1``, ``conv2``, ``fc1``, ``fc2``; ``token``, ``blocks.0.attention.query``, ...,
``blocks.1.feed.down``, ``head``; ``embedding``, ``hidden``, ``head``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from algobias import Task
from algobias.models.seq2seq import PrefixTranslator
from algobias.models.sum_of_words import SumOfWords
from algobias.models.transformer import GPT
from algobias.tasks.registry import load_task

DECAYING: dict[str, Any] = {"schedule": "cosine", "warmup": 0.05}
"""Linear warm-up over the first twentieth of the updates, then half a cosine to 0."""

SGD: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.9, "batch": 32, **DECAYING}
ADAMW: dict[str, Any] = {
    "optimizer": "adamw", "beta1": 0.9, "beta2": 0.95, "weight_decay": 0.1, "decay": "matrices",
    "clip": 1.0, "lr": 4e-3, **DECAYING,
}  # fmt: skip
HIDDEN = 64
"""Width of the conv nets' first linear layer."""


class ConvNet(nn.Module):
    """conv3x3-BN-ReLU-max2 twice, then linear 64-BN-ReLU and a linear layer.

    Weights are normal with deviation ``sqrt(2 / fan_in)``; layers before BatchNorm have no bias, the last
    bias begins at 0.

    Args:
        channels: Channels of an image.
        height: Its height, a multiple of 4.
        width: Its width, a multiple of 4.
        outputs: Number of classes.
        filters: Channels of the first convolution, half of the second's.
    """

    def __init__(self, channels: int, height: int, width: int, outputs: int, filters: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, 2 * filters, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * filters)
        self.fc1 = nn.Linear(2 * filters * (height // 4) * (width // 4), HIDDEN, bias=False)
        self.norm3 = nn.BatchNorm1d(HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, outputs)
        self.pool = nn.MaxPool2d(2)
        with torch.no_grad():
            for layer in (self.conv1, self.conv2, self.fc1, self.fc2):
                layer.weight.normal_(0.0, math.sqrt(2 / layer.weight[0].numel()))
            self.fc2.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        """[B, channels, height, width] -> [B, outputs]."""
        x = self.pool(torch.relu(self.norm1(self.conv1(images))))
        x = self.pool(torch.relu(self.norm2(self.conv2(x))))
        x = torch.relu(self.norm3(self.fc1(x.flatten(1))))
        return self.fc2(x)


def characters_model(tokens: int, context: int) -> nn.Module:
    """Two pre-normalised blocks of width 64 with 4 heads and SwiGLU 160; every tensor normal at 0.02."""
    return GPT(tokens, context, layers=2, width=64, heads=4, hidden=160, std=0.02)


def translation_model(tokens: int, context: int) -> nn.Module:
    """The same network over ``english <s> german``."""
    return PrefixTranslator(characters_model(tokens, context))


def fmnist() -> Task:
    """FashionMNIST: 4,000 and 5,000 images, pooled to 14x14, standardised by one mean and deviation."""
    model = partial(ConvNet, 1, 14, 14, 10, 16)
    return on_data_of("fashion_mnist:reference", "fmnist", model, {**SGD, "lr": 0.05, "updates": 600})


def gtsrb() -> Task:
    """Traffic signs: 16x16 RGB standardised by channel, every second training frame, every third test one."""
    model = partial(ConvNet, 3, 16, 16, 43, 12)
    return on_data_of("gtsrb:reference", "gtsrb", model, {**SGD, "lr": 0.1, "updates": 800})


def driving() -> Task:
    """Left, straight or right from 16x48 grey frames; balanced accuracy."""
    model = partial(ConvNet, 1, 16, 48, 3, 8)
    return on_data_of("steering:reference", "driving", model, {**SGD, "lr": 0.05, "updates": 300})


def shakes() -> Task:
    """The next of 65 characters in Shakespeare's plays; 480 test windows of 64 at fixed random starts."""
    words = {**ADAMW, "batch": 8, "updates": 800}
    return on_data_of("shakespeare:reference", "shakes", partial(characters_model, 65, 64), words, 480)


def m30k() -> Task:
    """English to German captions as a prefix language model; the loss is on the German words only.

    Two vocabularies of 800 words, padding, start, end, two unknown words: 1,605 tokens in 14 + 1 + 14 places.
    """
    words = {**ADAMW, "batch": 32, "updates": 600}
    return on_data_of("multi30k:reference", "m30k", partial(translation_model, 1605, 29), words, 800)


def senti() -> Task:
    """Positive or negative sentences from film reviews; all initial weights times 0.1.

    Weight decay is 0; where a lever raises it, it acts on the embedding and the matrices.
    """
    words = {"optimizer": "adam", "lr": 3e-3, "decay": "matrices", "batch": 32, "updates": 800, **DECAYING}
    return on_data_of("polarity:reference", "senti", partial(SumOfWords, 5000, 32, 0.1), words)


def on_data_of(
    preset: str,
    name: str,
    model: Callable[[], nn.Module],
    recipe: dict[str, Any],
    fit_examples: int = 2000,
) -> Task:
    """A task with the examples, the loss and the metrics of a built-in one, and its own network and recipe.

    Args:
        preset: The built-in task.
        name: Of this one.
        model: Builds the network.
        recipe: In the words of the command line.
        fit_examples: Training examples on which the training loss is taken.
    """
    known = load_task(preset)
    return Task(
        name,
        train=known.train,
        test=known.test,
        model=model,
        loss=known.loss,
        metric=known.metric,
        recipe=recipe,
        metric_name=known.metric_name,
        trivial=known.trivial,
        habit=known.habit,
        classes=known.classes,
        weight=known.weight,
        also=known.also,
        sample=known.sample,
        fit_examples=fit_examples,
    )
