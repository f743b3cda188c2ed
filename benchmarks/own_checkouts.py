# ruff: noqa: E501
"""The scripts of other people that are looked at, how each is run for a while, and SAM edited into some."""

from __future__ import annotations

import own_data
from own_sources import Edits, Source

NANOGPT, EXAMPLES, TIMM = "3adf61e", "77f55b9", "aa4b585"
"""Commits that were looked at."""

SEVERAL = "several optimizers, each with a loss of its own"
NO_OPTIMIZER = "gradient controls need torch.optim"

SHARP_NANOGPT: Edits = (
    ("# training loop\n", "from by_hand import climb, noted\n# training loop\n"),
    (
        "    for micro_step in range(gradient_accumulation_steps):\n        if ddp:",
        "    passes = []\n    for micro_step in range(gradient_accumulation_steps):\n        if ddp:",
    ),
    (
        "        with ctx:\n            logits, loss = model(X, Y)\n            loss = loss / gradient",
        "        passes.append((X, Y, noted(model)))\n"
        "        with ctx:\n            logits, loss = model(X, Y)\n            loss = loss / gradient",
    ),
    (
        "    # clip the gradient\n",
        "    after, down = noted(model), climb(model.parameters(), 0.05)\n"
        "    for x, y, back in passes:\n"
        "        back()\n"
        "        with ctx:\n            again = model(x, y)[1] / gradient_accumulation_steps\n"
        "        scaler.scale(again).backward()\n"
        "    down()\n    after()\n"
        "    # clip the gradient\n",
    ),
)


def sharp_loop(loss: str, model: str = "model") -> Edits:
    """SAM in a loop with one pass a step: the loss of the script's own names once more at other weights."""
    return (
        ("import torch\nimport torch.nn as nn", "from by_hand import climb, noted\nimport torch\nimport torch.nn as nn"),
        ("        optimizer.zero_grad()\n", f"        optimizer.zero_grad()\n        back = noted({model})\n"),
        (
            "        loss.backward()\n",
            "        loss.backward()\n"
            f"        after, down = noted({model}), climb({model}.parameters(), 0.05)\n"
            f"        back()\n        ({loss}).backward()\n        down()\n        after()\n",
        ),
    )  # fmt: skip


SHARP_MNIST = sharp_loop("F.nll_loss(model(data), target)")
SHARP_VAE: Edits = (
    ("from torch import nn, optim\n", "from torch import nn, optim\nfrom by_hand import climb, noted\n"),
    *sharp_loop("loss_function(*(lambda r, m, v: (r, data, m, v))(*model(data)))")[1:],
)
SHARP_SIAMESE: Edits = (
    ("import torch\n", "import torch\nfrom by_hand import climb, noted\n"),
    *sharp_loop("criterion(model(images_1, images_2).squeeze(), targets)")[1:],
)
SHARP_WORDS: Edits = (
    ("import torch\nimport torch.nn as nn\n", "import torch\nimport torch.nn as nn\nfrom by_hand import climb, noted\n"),
    ("            optimizer.zero_grad()\n", "            optimizer.zero_grad()\n            back = noted(model)\n"),
    (
        "        loss.backward()\n",
        "        loss.backward()\n"
        "        after, down = noted(model), climb(model.parameters(), 0.05)\n"
        "        back()\n        criterion(model(data).view(-1, ntokens), targets).backward()\n"
        "        down()\n        after()\n",
    ),
)  # fmt: skip
SHARP_TIMM: Edits = (
    ("    optimizer.zero_grad()\n    update_sample_count = 0\n", "    optimizer.zero_grad()\n    passes = []\n    update_sample_count = 0\n"),
    ("        def _forward():\n", "        passes.append((input, target, accum_steps, noted(task)))\n\n        def _forward():\n"),
    (
        "                _loss.backward(create_graph=second_order)\n                if need_update:\n",
        "                _loss.backward(create_graph=second_order)\n"
        "                if need_update:\n"
        "                    after, down = noted(task), climb(trainable_module.parameters(), 0.05)\n"
        "                    for x, y, parts, back in passes:\n"
        "                        back()\n"
        "                        again = task(x, y)['loss']\n"
        "                        if parts > 1: again = again / parts\n"
        "                        again.backward()\n"
        "                    down()\n"
        "                    after()\n"
        "                    passes.clear()\n",
    ),
    ("import argparse\n", "import argparse\nfrom by_hand import climb, noted\n"),
)  # fmt: skip

GPT = Source(
    name="nanoGPT (accumulation 2, clip, dropout)",
    checkout="nanoGPT",
    expected=NANOGPT,
    script="train.py",
    options=(
        *("config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--out_dir={out}"),
        *("--max_iters=20", "--eval_interval=7", "--eval_iters=2", "--batch_size=4", "--block_size=32"),
        *("--n_layer=2", "--n_head=2", "--n_embd=32", "--gradient_accumulation_steps=2", "--warmup_iters=4"),
    ),
    data=("tinyshakespeare",),
    prepare=own_data.characters,
    sharp=SHARP_NANOGPT,
)


def _example(name: str, inside: str, *options: str, sharp: Edits = (), refusal: str | None = None) -> Source:
    return Source(
        name=f"examples: {name}",
        checkout="examples",
        expected=EXAMPLES,
        inside=inside,
        script="main.py",
        options=options,
        needs=("torchvision",),
        data=("MNIST",),
        prepare=own_data.digits,
        sharp=sharp,
        refusal=refusal,
    )


MNIST = _example("mnist", "mnist", "--epochs", "2", "--no-accel", sharp=SHARP_MNIST)

_TINY = (
    *("--epochs", "2", "--emsize", "16", "--nhid", "16", "--nlayers", "1", "--batch_size", "4"),
    *("--bptt", "16", "--save", "{out}.pt"),
)


def _words(name: str, *options: str, sharp: Edits = (), refusal: str | None = None) -> Source:
    return Source(
        name=f"examples: word language model, {name}",
        checkout="examples",
        expected=EXAMPLES,
        inside="word_language_model",
        script="main.py",
        options=(*_TINY, *options),
        data=("wikitext-2",),
        prepare=own_data.words,
        sharp=sharp,
        refusal=refusal,
    )


TRANSFORMER = _words(
    "Transformer with AdamW",
    *("--model", "Transformer", "--nhead", "2", "--use-optimizer", "--lr", "0.001"),
    sharp=SHARP_WORDS,
)

PICTURES = Source(
    name="timm train.py (BatchNorm, mixup, accumulation 2, clip)",
    checkout="pytorch-image-models",
    expected=TIMM,
    script="train.py",
    options=(
        *("--data-dir", "pictures", "--model", "resnet10t", "--num-classes", "2", "--img-size", "32"),
        *("--batch-size", "4", "--epochs", "2", "--grad-accum-steps", "2", "--clip-grad", "1.0"),
        *("--mixup", "0.2", "--device", "cpu", "--workers", "1", "--output", "{out}", "--no-prefetcher"),
    ),
    needs=("torchvision", "PIL"),
    prepare=own_data.pictures,
    sharp=SHARP_TIMM,
)

SOURCES = (
    GPT,
    PICTURES,
    MNIST,
    _example("vae", "vae", "--epochs", "2", "--no-accel", "--batch-size", "64", sharp=SHARP_VAE),
    _example("mnist_rnn", "mnist_rnn", "--epochs", "2", sharp=SHARP_MNIST),
    _example(
        "siamese",
        "siamese_network",
        *("--epochs", "1", "--no-accel", "--batch-size", "128"),
        sharp=SHARP_SIAMESE,
    ),
    _example(
        "dcgan (3 losses, 2 optimizers)",
        "dcgan",
        *("--dataset", "fake", "--niter", "1", "--batchSize", "200", "--ngf", "4", "--ndf", "4", "--nz", "8"),
        *("--workers", "0", "--manualSeed", "1", "--outf", "{out}"),
        refusal=SEVERAL,
    ),
    TRANSFORMER,
    _words("LSTM with a hand-written update", refusal=NO_OPTIMIZER),
)
