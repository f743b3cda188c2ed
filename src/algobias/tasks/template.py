"""The task file that ``algobias tasks --template`` prints: runnable as it is, commented for a newcomer."""

TEMPLATE = '''\
"""A task of your own for algobias.

Save this as my_task.py and ask whether a sixteen times larger batch costs accuracy:

    algobias audit my_task.py:task --change batch:x16,lr=sqrt

Then put in your own data, network, loss and metric. The file is executed as it is, and changing a line of
it makes algobias train again.
"""

import torch
from sklearn.datasets import make_classification
from torch import nn

from algobias import Task


def data():
    """4,048 points in 20 dimensions, 4 classes; one in twenty has a wrong label. Split by hand, and fixed."""
    x, y = make_classification(
        n_samples=4048, n_features=20, n_informative=10, n_classes=4, flip_y=0.05, random_state=0
    )
    x = torch.tensor(x, dtype=torch.float32)
    y = torch.tensor(y, dtype=torch.int64)
    return (x[:2048], y[:2048]), (x[2048:], y[2048:])


def model():
    """A freshly initialised network. The seed is set before this is called: do not set one here."""
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))


def loss(model, batch):
    """The mean over the batch, one number. For a regression: ((model(x) - y) ** 2).mean()."""
    x, y = batch
    return nn.functional.cross_entropy(model(x), y)


def metric(model, batch):
    """One value for each example, higher is better. For a regression: -(model(x) - y).abs()."""
    x, y = batch
    return 100.0 * (model(x).argmax(dim=-1) == y).float()


def task():
    """What the command line names after the colon: a Task, or a function that returns one."""
    train, test = data()
    return Task(
        name="my task",
        # a tuple or a dict of tensors, or any map-style dataset (torch.utils.data.Dataset); a batch has the
        # same form. Random augmentation inside a dataset is the same for the arms that are compared.
        train=train,
        test=test,
        # validation=...,  # what a search for controls may look at; a fifth of the test examples without it
        model=model,
        loss=loss,
        metric=metric,
        metric_name="accuracy",
        trivial=25.0,  # metric of a predictor that knows nothing; without it that of the untrained model
        # how you train today, in the words of the command line:
        # optimizer, lr, momentum, weight_decay, nesterov, schedule (constant, cosine), warmup (updates),
        # clip, batch, and one of epochs, updates, until (a training loss, with max_updates). An epoch is
        # whole batches: where the batch does not divide the examples, some wait for another epoch.
        recipe={"optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "batch": 16, "epochs": 12},
        # habit=0.5,  # differences below this do not matter in your field, in units of the metric
    )
'''
