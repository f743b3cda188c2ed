"""Train on the handwritten digits with Lightning."""

import argparse

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from algobias.integrations.lightning import Callback  # algobias

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--out", default="runs/lightning")
options = parser.parse_args()


class Classifier(pl.LightningModule):
    """Two layers, and how they are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))

    def training_step(self, batch, batch_idx):
        """Return the loss of a batch."""
        return torch.nn.functional.cross_entropy(self.layers(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        """Log the percentage of right answers."""
        right = self.layers(batch[0]).argmax(1) == batch[1]
        self.log("val_acc", 100 * right.float().mean())

    def configure_optimizers(self):
        """Return the optimizer."""
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


pl.seed_everything(options.seed)
digits = load_digits()
data = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target))
train, validation = data[:1000], data[1000:]
log = f"{options.out}/seed={options.seed}.csv"  # algobias
watch = Callback("val_acc", log=log, fit_set="runs/digits.pt", examples=1000)  # algobias
trainer = pl.Trainer(
    accelerator="cpu",
    max_epochs=options.epochs,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    callbacks=[watch],  # algobias
)
trainer.fit(
    Classifier(),
    DataLoader(TensorDataset(*train), options.batch, shuffle=True),
    DataLoader(TensorDataset(*validation), 797),
)
