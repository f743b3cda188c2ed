"""Class labels: where they are in a batch, and subsets that keep the classes' shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

LABEL_KEYS = ("label", "labels", "y", "target", "targets")


def label_key(batch: Any) -> str | int | None:
    """Where a batch has its class labels: the last item of a tuple, or one of :data:`LABEL_KEYS`.

    Class labels are integers, one for each example ([B]). None where there are none.
    """
    key: str | int | None = None
    if isinstance(batch, tuple | list) and len(batch) >= 2:
        key = len(batch) - 1
    elif hasattr(batch, "keys"):
        key = next((name for name in LABEL_KEYS if name in batch), None)
    return key if key is not None and _is_class_labels(batch[key]) else None


def with_labels(batch: Any, key: str | int, labels: Tensor) -> Any:
    """The batch with other labels; nothing else is copied, the batch given is unchanged."""
    labels = labels.to(batch[key].dtype)
    if isinstance(batch, tuple | list):
        items = [labels if place == key else item for place, item in enumerate(batch)]
        return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)
    if type(batch) is dict:
        return {**batch, key: labels}
    changed = batch.copy()
    changed[key] = labels
    return changed


def known_targets(dataset: Any) -> Tensor | None:
    """All labels of a dataset that keeps them as ``targets`` or ``labels``, [n], without loading an item."""
    if isinstance(dataset, torch.utils.data.Subset):
        whole = known_targets(dataset.dataset)
        return None if whole is None else whole[torch.as_tensor(list(dataset.indices), dtype=torch.long)]
    for name in ("targets", "labels"):
        kept = getattr(dataset, name, None)
        if kept is None:
            continue
        try:
            tensor = torch.as_tensor(np.asarray(kept))
        except (TypeError, ValueError):
            continue
        if _is_class_labels(tensor) and len(tensor) == len(dataset):
            return tensor.long()
    return None


def stratified(examples: Tensor, labels: Tensor | None, count: int, seed: int) -> Tensor:
    """A fixed random subset with the classes' shares kept, sorted.

    Each class gets its share of ``count`` rounded down; what is left goes to the largest remainders
    (ties to the smaller label). Without labels it is a plain random subset.

    Args:
        examples: Candidates, [M].
        labels: Their labels, [M], or None.
        count: Size of the subset, at most M.
        seed: Which fixed subset.
    """
    if count >= len(examples):
        return examples.sort().values
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(examples), generator=generator)
    if labels is None:
        return examples[order[:count]].sort().values
    found, sizes = np.unique(labels.numpy(), return_counts=True)
    exact = torch.from_numpy(sizes).double() * count / len(examples)
    share = exact.floor().long()
    short = count - int(share.sum())
    share[torch.argsort(exact - share, descending=True, stable=True)[:short]] += 1
    shuffled = labels[order]
    picked = [order[shuffled == label][:n] for label, n in zip(found.tolist(), share.tolist(), strict=True)]
    return examples[torch.cat(picked)].sort().values


def _is_class_labels(value: Any) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.ndim == 1
        and not value.is_floating_point()
        and not value.is_complex()
        and value.dtype != torch.bool
    )
