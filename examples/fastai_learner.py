"""Train on the handwritten digits with fastai's Learner."""

import argparse
from functools import partial

import torch
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.metrics import accuracy
from fastai.optimizer import OptimWrapper
from fastai.torch_core import set_seed
from sklearn.datasets import load_digits

from algobias.integrations.fastai import Callback  # algobias

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--out", default="runs/fastai")
options = parser.parse_args()

set_seed(options.seed)
digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32) / 16
rows = list(zip(x, torch.tensor(digits.target), strict=True))
data = DataLoaders(DataLoader(rows[:1000], bs=options.batch, shuffle=True), DataLoader(rows[1000:], bs=797))
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
log = f"{options.out}/seed={options.seed}.csv"  # algobias
watch = Callback("accuracy", log=log, fit_set="runs/digits.pt", examples=1000)  # algobias
learner = Learner(
    data,
    model,
    loss_func=torch.nn.functional.cross_entropy,
    metrics=accuracy,
    opt_func=partial(OptimWrapper, opt=torch.optim.AdamW),
    cbs=watch,  # algobias
)
learner.fit(options.epochs, lr=0.01)
