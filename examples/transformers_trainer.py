"""Train on the handwritten digits with the Trainer of transformers."""

import argparse

import torch
from sklearn.datasets import load_digits
from transformers import Trainer, TrainingArguments

from algobias.integrations.transformers import Callback  # algobias

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--out", default="runs/transformers")
options = parser.parse_args()


class Classifier(torch.nn.Module):
    """Two layers that return loss and logits, as models of the library do."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))

    def forward(self, pixels, labels):
        """Return the loss, and the logits of each class."""
        logits = self.layers(pixels)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def accuracy(prediction):
    """Return the percentage of right answers."""
    right = prediction.predictions.argmax(1) == prediction.label_ids
    return {"accuracy": 100 * float(right.mean())}


digits = load_digits()
pixels = torch.tensor(digits.data, dtype=torch.float32) / 16
rows = [{"pixels": x, "labels": int(y)} for x, y in zip(pixels, digits.target, strict=True)]
torch.manual_seed(options.seed)
arguments = TrainingArguments(
    output_dir=f"{options.out}/files",
    seed=options.seed,
    max_steps=options.steps,
    per_device_train_batch_size=options.batch,
    per_device_eval_batch_size=797,
    learning_rate=0.01,
    lr_scheduler_type="constant",
    eval_strategy="steps",
    eval_steps=options.steps // 4,
    save_strategy="no",
    report_to=[],
    use_cpu=True,
    disable_tqdm=True,
)
log = f"{options.out}/seed={options.seed}.csv"  # algobias
watch = Callback("accuracy", log=log, fit_set="runs/digits.pt", examples=1000)  # algobias
trainer = Trainer(
    Classifier(),
    arguments,
    train_dataset=rows[:1000],
    eval_dataset=rows[1000:],
    compute_metrics=accuracy,
    callbacks=[watch],  # algobias
)
trainer.train()
