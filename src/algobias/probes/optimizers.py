"""How a network is trained, read off a torch optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from algobias.lazy import torch
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Training

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

SETTINGS = ("lr", "momentum", "dampening", "nesterov", "betas", "eps", "amsgrad", "maximize")
"""What must be the same for all parameters; other entries of a group (names, schedules) change nothing."""


def training_from(
    optimizer: Optimizer,
    trained: Mapping[str, nn.Parameter],
    batch: int | None = None,
    examples: int | None = None,
) -> Training:
    """Learning rate, momentum and the rest as the optimizer has them now.

    Parameter groups may differ in their weight decay (none for biases, say). Adam's second moment is there
    once every parameter has been updated, and not with ``amsgrad``.

    Args:
        optimizer: ``SGD``, ``Adam`` or ``AdamW`` of torch.
        trained: Trained parameters by name, in the order of flat vectors.
        batch: Batch size.
        examples: Training examples.

    Raises:
        Unavailable: No single set of numbers describes it: another optimizer, groups with different
            settings, parameters that it does not hold, dampening, maximization.
    """
    if not isinstance(optimizer, torch.optim.SGD | torch.optim.Adam | torch.optim.AdamW):
        raise Unavailable(
            f"how {type(optimizer).__name__} trains is not known here, only SGD, Adam and AdamW of torch"
        )
    groups = _groups(optimizer, trained)
    group = next(iter(groups.values()))
    if group.get("maximize"):
        raise Unavailable("the optimizer maximizes: no threshold is known")
    decays = [float(one["weight_decay"]) for one in groups.values()]
    told: dict[str, Any] = {
        "lr": float(group["lr"]),
        "weight_decay": max(decays),
        "least_decay": None if max(decays) == min(decays) else min(decays),
        "batch": batch,
        "examples": examples,
    }
    if isinstance(optimizer, torch.optim.SGD):
        if group["dampening"]:
            raise Unavailable("the optimizer's momentum has dampening: no threshold is known")
        return Training(**told, momentum=float(group["momentum"]), nesterov=bool(group["nesterov"]))
    decoupled = isinstance(optimizer, torch.optim.AdamW) or bool(group.get("decoupled_weight_decay"))
    beta1, beta2 = (float(beta) for beta in group["betas"])
    return Training(
        **told,
        name="adamw" if decoupled else "adam",
        beta1=beta1,
        beta2=beta2,
        eps=float(group["eps"]),
        second_moment=None if group["amsgrad"] else _second_moment(optimizer, trained, beta2),
    )


def _groups(optimizer: Optimizer, trained: Mapping[str, nn.Parameter]) -> dict[int, dict[str, Any]]:
    """The groups that hold trained parameters, by their place; alike in all that counts."""
    ours = {id(p): name for name, p in trained.items()}
    groups: dict[int, dict[str, Any]] = {}
    for place, group in enumerate(optimizer.param_groups):
        mine = {id(p) for p in group["params"]} & ours.keys()
        if mine:
            groups[place] = group
        for held in mine:
            del ours[held]
    if ours:
        raise Unavailable(f"the optimizer does not hold {', '.join(sorted(ours.values())[:3])}")
    first, *others = groups
    for place in others:
        for key in SETTINGS:
            one, two = groups[first].get(key), groups[place].get(key)
            if one != two:
                raise Unavailable(
                    f"groups {first} and {place} of the optimizer differ in {key} ({one} and {two}): "
                    "measure one of them alone with parameters="
                )
    return groups


def _second_moment(optimizer: Optimizer, trained: Mapping[str, nn.Parameter], beta2: float) -> Tensor | None:
    pieces = []
    for p in trained.values():
        state = optimizer.state.get(p, {})
        if "exp_avg_sq" not in state:
            return None
        corrected = 1 - beta2 ** float(state["step"])
        pieces.append((state["exp_avg_sq"].detach() / corrected).reshape(-1))
    return torch.cat(pieces)
