"""Train a small BERT from scratch to tell good reviews from bad, with the Trainer of transformers.

    python polarity_trainer.py --data_dir=sentence_polarity --output_dir=out --max_steps=400

The data are the sentence polarity data of Pang and Lee (2005): ``rt-polarity.pos`` and ``rt-polarity.neg``.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    set_seed,
)

PADDING, UNKNOWN = 0, 1


@dataclass
class DataArguments:
    """What is trained on.

    Attributes:
        data_dir: Folder of the two files.
        train_size: Sentences to train on.
        test_size: Sentences to test on.
        length: Words of a sentence; what comes after is cut off.
        words: Words that are told apart.
    """

    data_dir: str
    train_size: int = 1000
    test_size: int = 2000
    length: int = 24
    words: int = 3000


@dataclass
class ModelArguments:
    """How large the network is."""

    hidden: int = 32
    layers: int = 1
    heads: int = 2


class Sentences(torch.utils.data.Dataset):
    """Sentences as numbers of words."""

    def __init__(self, sentences, labels, numbers, length):
        self.sentences, self.labels, self.numbers, self.length = sentences, labels, numbers, length

    def __len__(self):
        return len(self.sentences)

    def __getitem__(self, place):
        words = [self.numbers.get(word, UNKNOWN) for word in self.sentences[place][: self.length]]
        left = self.length - len(words)
        return {
            "input_ids": torch.tensor(words + [PADDING] * left),
            "attention_mask": torch.tensor([1] * len(words) + [0] * left),
            "labels": self.labels[place],
        }


def read(data: DataArguments) -> tuple[Sentences, Sentences]:
    """Read the data; the same sentences whatever the seed."""
    folder = Path(data.data_dir)
    pairs = [
        (line.split(), label)
        for label, name in enumerate(("rt-polarity.neg", "rt-polarity.pos"))
        for line in (folder / name).read_text(encoding="latin-1").splitlines()
    ]
    order = np.random.default_rng(0).permutation(len(pairs))
    parts = order[: data.train_size], order[-data.test_size :]
    counts = Counter(word for place in parts[0] for word in pairs[place][0])
    numbers = {word: number for number, (word, _) in enumerate(counts.most_common(data.words), UNKNOWN + 1)}
    train, test = (
        Sentences([pairs[i][0] for i in part], [pairs[i][1] for i in part], numbers, data.length)
        for part in parts
    )
    return train, test


def accuracy(predicted):
    """Percentage of sentences told right."""
    return {"accuracy": 100 * float((predicted.predictions.argmax(-1) == predicted.label_ids).mean())}


def main():
    """Train and test."""
    data, model, training = HfArgumentParser(
        (DataArguments, ModelArguments, TrainingArguments)
    ).parse_args_into_dataclasses()
    set_seed(training.seed)
    train, test = read(data)
    config = BertConfig(
        vocab_size=UNKNOWN + 1 + data.words,
        hidden_size=model.hidden,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        intermediate_size=2 * model.hidden,
        max_position_embeddings=data.length,
    )
    trainer = Trainer(
        model=BertForSequenceClassification(config),
        args=training,
        train_dataset=train,
        eval_dataset=test,
        compute_metrics=accuracy,
    )
    trainer.train()


if __name__ == "__main__":
    main()
