"""Train on the handwritten digits with a loop of one's own and accelerate."""

import argparse

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from algobias.integrations.accelerate import Tracker  # algobias

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--out", default="runs/accelerate")
options = parser.parse_args()

set_seed(options.seed)
log = f"{options.out}/seed={options.seed}.csv"  # algobias
tracker = Tracker("accuracy", log=log, fit_set="runs/digits.pt", examples=1000)  # algobias
accelerator = Accelerator(cpu=True, log_with=tracker)  # algobias
accelerator.init_trackers("digits", config=vars(options))
digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32) / 16
y = torch.tensor(digits.target)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
batches = DataLoader(TensorDataset(x[:1000], y[:1000]), options.batch, shuffle=True)
model, optimizer, batches = accelerator.prepare(model, optimizer, batches)
for epoch in range(options.epochs):
    model.train()
    for inputs, targets in batches:
        loss = torch.nn.functional.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = (model(x[1000:]).argmax(1) == y[1000:]).float().mean()
    accelerator.log({"accuracy": 100 * right.item()}, step=epoch)
accelerator.end_training()
