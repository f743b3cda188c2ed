"""A training script of somebody's own, without torch: losses and accuracies by a formula, in no time."""

import argparse
import json
import os
import random
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--iters", type=int, default=64)
parser.add_argument("--speed", type=float, default=1.0)
parser.add_argument("--bias", type=float, default=0.0)
parser.add_argument("--cure", type=float, default=0.0)
parser.add_argument("--fail", type=float, default=0.0)
parser.add_argument("--out", default=None)
options = parser.parse_args()

# A private generator: what shifts seeds of the global ones does not reach it.
generator = random.Random(options.seed)
level = generator.gauss(0, 0.3)
own = generator.gauss(0, 0.05)
if generator.random() < options.fail:
    sys.exit("CUDA out of memory")
history = []
for update in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
    if update > options.iters:
        break
    loss = 1 / (options.speed * update)
    bias = options.bias * (1 - options.cure)
    accuracy = 60 + 4 * (options.speed * update) ** 0.5 - bias + level + own
    history.append({"step": update, "train_loss": loss, "accuracy": accuracy})
    print(f"update {update} train {loss!r} test {accuracy!r}")
    print(f"update {update} validation {accuracy - 40 * options.cure!r}")
if options.out:
    os.makedirs(options.out, exist_ok=True)
    with open(os.path.join(options.out, "log.json"), "w") as file:
        json.dump(history, file)
