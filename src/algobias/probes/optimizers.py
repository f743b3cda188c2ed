"""How a network is trained, read off a torch optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from algobias.probes.subject import Training


def training_from(
    optimizer: Optimizer,
    trained: Mapping[str, nn.Parameter],
    batch: int | None = None,
    examples: int | None = None,
) -> Training | None:
    """Learning rate, momentum and the rest as the optimizer has them now.

    Args:
        optimizer: ``SGD``, ``Adam`` or ``AdamW`` of torch.
        trained: Trained parameters by name, in the order of flat vectors.
        batch: Batch size.
        examples: Training examples.

    Returns:
        None where no single set of numbers describes it: another optimizer, groups with different settings,
        dampening, maximization. Adam's second moment is there once every parameter has been updated, and
        not with ``amsgrad``.
    """
    group = _common(optimizer, trained)
    if group is None or group.get("maximize"):
        return None
    told: dict[str, Any] = {
        "lr": float(group["lr"]),
        "weight_decay": float(group["weight_decay"]),
        "batch": batch,
        "examples": examples,
    }
    if isinstance(optimizer, SGD):
        if group["dampening"]:
            return None
        return Training(**told, momentum=float(group["momentum"]), nesterov=bool(group["nesterov"]))
    if not isinstance(optimizer, Adam | AdamW):
        return None
    decoupled = isinstance(optimizer, AdamW) or bool(group.get("decoupled_weight_decay"))
    beta1, beta2 = (float(beta) for beta in group["betas"])
    return Training(
        **told,
        name="adamw" if decoupled else "adam",
        beta1=beta1,
        beta2=beta2,
        eps=float(group["eps"]),
        second_moment=None if group["amsgrad"] else _second_moment(optimizer, trained, beta2),
    )


def _common(optimizer: Optimizer, trained: Mapping[str, nn.Parameter]) -> dict[str, Any] | None:
    """The settings of the groups that hold trained parameters, where they are the same for all."""
    ours = {id(p) for p in trained.values()}
    groups: list[dict[str, Any]] = []
    held: set[int] = set()
    for group in optimizer.param_groups:
        mine = ours & {id(p) for p in group["params"]}
        held |= mine
        if mine:
            groups.append({key: value for key, value in group.items() if key != "params"})
    if held != ours or not groups or any(group != groups[0] for group in groups):
        return None
    return groups[0]


def _second_moment(optimizer: Optimizer, trained: Mapping[str, nn.Parameter], beta2: float) -> Tensor | None:
    pieces = []
    for p in trained.values():
        state = optimizer.state.get(p, {})
        if "exp_avg_sq" not in state:
            return None
        corrected = 1 - beta2 ** float(state["step"])
        pieces.append((state["exp_avg_sq"].detach() / corrected).reshape(-1))
    return torch.cat(pieces)
